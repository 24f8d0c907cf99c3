"""Whether neighbours mean anything: do two trainings, of two seeds, find the same ones?

If latent vectors say who is like whom, two trainings on the same ratings find much the same
neighbours. If they are hardly more than their random initialisation, the lists agree no more than by
chance, a vicinity is a random sample of users, and RVD should not be used on it.

    one, other = (MF(**chosen).fit(train, validation, levels, stream(seed)) for seed in (0, 1))
    lists = [ClosedFormRVD(victim, k=30).vicinity(np.arange(n_users)) for victim in (one, other)]
    warn_if_by_chance(neighbor_agreement(*lists))

Agreement is the mean over users of the Jaccard index of their two lists. **Chance** is that of lists of
different users, one of each training: two lists share hubs, and users without ratings, whoever's
they are. For lists without hubs it is near k / (2n − k). The verdict is on the share of what
chance leaves open, (agreement − chance) / (1 − chance): 0 by chance, 1 where lists are the same.
"""

import warnings
from dataclasses import dataclass

import numpy as np

LEAST_ABOVE_CHANCE = 0.1  # below, neighbours are taken to agree by chance
_SHIFTS = 10  # other users whose lists each user's is held against
REMEDY = (
    "a vicinity is then hardly more than a random sample of users, and no defence by neighbours "
    "means anything. Do not use RVD with these latent vectors: take distance='profile_overlap', "
    "which needs none, train in the ranking regime (unobserved_weight above 0), take a victim that "
    "reads profiles (AutoRec), or a defence without neighbours (least_support)"
)


class NeighborsByChanceWarning(UserWarning):
    """Two trainings agree on who is near to whom no more than by chance."""


@dataclass(frozen=True)
class Agreement:
    """How far the neighbours of the same users agree between two trainings.

    Attributes:
        measured: mean Jaccard index of a user's two lists.
        chance: the same of lists of two different users.
        k: length of the lists.
    """

    measured: float
    chance: float
    k: int

    @property
    def above_chance(self) -> float:
        """(measured − chance) / (1 − chance)."""
        return (self.measured - self.chance) / (1 - self.chance) if self.chance < 1 else 0.0

    @property
    def by_chance(self) -> bool:
        """The verdict: whether the neighbours carry nothing."""
        return self.above_chance < LEAST_ABOVE_CHANCE

    def __str__(self) -> str:
        found = (
            f"the {self.k} neighbours of a user agree between two trainings by {self.measured:.3f} "
            f"(mean Jaccard index), by chance by {self.chance:.3f}"
        )
        return f"{found}: {REMEDY}" if self.by_chance else found


def neighbor_agreement(one: np.ndarray, other: np.ndarray) -> Agreement:
    """Agreement of two trainings' lists (B, k) of the same users, in the same order.

    Args:
        one: row numbers of neighbours, −1 where a list is shorter; best of all users, at least two.
        other: of the other training, as many of the same users.

    Raises:
        ValueError: for lists that are no row numbers, or of other users.
    """
    one, other = np.asarray(one), np.asarray(other)
    for lists in (one, other):
        if lists.ndim != 2 or lists.dtype.kind not in "iu" or (lists < -1).any():
            raise ValueError("lists must be (users, k) row numbers, or −1 where a list is shorter")
    if one.shape != other.shape or one.shape[0] < 2 or not one.shape[1]:
        raise ValueError(
            "the two trainings must have lists of one length, of the same users, at least two: got "
            f"{one.shape} and {other.shape}"
        )
    n_lists = len(one)
    shifts = np.unique(np.linspace(0, n_lists, _SHIFTS + 2).astype(int)[1:-1])
    by_chance = [_jaccard(one, np.roll(other, s, axis=0)) for s in shifts if s]
    return Agreement(_jaccard(one, other), float(np.mean(by_chance)), one.shape[1])


def warn_if_by_chance(agreement: Agreement) -> None:
    """Warn those who would use RVD on neighbours that carry nothing, and say what to do instead.

    Warns:
        NeighborsByChanceWarning: if the neighbours agree no more than by chance.
    """
    if agreement.by_chance:
        warnings.warn(NeighborsByChanceWarning(str(agreement)), stacklevel=2)


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Mean over rows, those without any neighbour left out."""
    rows = np.arange(len(one))[:, None] * (1 + int(max(one.max(), other.max(), 0)))
    common = np.isin(one + rows, (other + rows)[other >= 0]) & (one >= 0)
    sizes = (one >= 0).sum(axis=1) + (other >= 0).sum(axis=1)
    unions = sizes - common.sum(axis=1)
    counted = unions > 0
    return float((common.sum(axis=1)[counted] / unions[counted]).mean()) if counted.any() else 0.0
