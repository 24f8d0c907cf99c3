"""What an attacker knows and may do. An attack gets this, a random stream, and nothing else."""

import math
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices, check_csr, check_one_of
from rvdlib.data import Split
from rvdlib.data.ratings import WriteProtected
from rvdlib.seeding import check_generator


class Catalogue(NamedTuple):
    """What is public of a data set: its name, its SHA-256, and (items,) raw ids by column."""

    name: str
    sha256: str
    item_ids: np.ndarray


@dataclass(frozen=True, eq=False)
class ThreatModel(WriteProtected):
    """A promotion attack's knowledge and budget. The catalogue is public.

    Attributes:
        visible: (visible users, items) CSR of stars: the training rows that the attacker sees.
        targets: item indices to promote; each stands in every fake profile at the top rating.
        n_fakes: m = ⌊attack_size · real users⌋ profiles.
        filler_size: F, further ratings in each fake profile.
        levels: the rating scale, ascending.
        catalogue: which data set and which items these are; None if that does not matter, and then
            no frozen profiles are taken for it (:mod:`rvdlib.attacks.from_file`).

    Raises:
        ValueError: if any of them does not fit the others; the message names which.
    """

    visible: sp.csr_matrix
    targets: np.ndarray
    n_fakes: int
    filler_size: int
    levels: np.ndarray
    catalogue: Catalogue | None = None

    def __post_init__(self):
        super().__post_init__()
        check_csr("visible", self.visible)
        for name in ("n_fakes", "filler_size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
        n_items = self.visible.shape[1]
        if not self.visible.shape[0]:
            raise ValueError("visible has no rows: the attacker must see at least one user")
        if not self.visible.has_canonical_format:
            raise ValueError("visible must have sorted indices and no repeated entries")
        if not as_indices("targets", self.targets, n_items, of="items", distinct=True).size:
            raise ValueError("targets must be one item index or more, got none")
        if not 0 <= self.filler_size <= n_items - len(self.targets):
            raise ValueError(
                f"filler_size must be between 0 and {n_items - len(self.targets)} "
                f"(the items that are not targets), got {self.filler_size}"
            )
        if self.n_fakes < 0:
            raise ValueError(f"n_fakes must not be negative, got {self.n_fakes}")
        if not len(self.levels) or (np.diff(self.levels, prepend=0) <= 0).any():
            raise ValueError(f"levels must be above 0 and ascending, got {self.levels}")
        if self.catalogue is not None and len(self.catalogue.item_ids) != n_items:
            raise ValueError(
                f"catalogue must name the {n_items} items, got {len(self.catalogue.item_ids)}"
            )

    @property
    def n_items(self) -> int:
        return self.visible.shape[1]

    @property
    def max_rating(self) -> float:
        return float(self.levels[-1])

    @property
    def rating_range(self) -> float:
        """The top of the scale less its bottom, in stars."""
        return float(self.levels[-1] - self.levels[0])


def build_threat_model(
    split: Split,
    targets: np.ndarray,
    rng: np.random.Generator,
    *,
    attack_size: float = 0.03,
    filler_size: int | None = None,
    visible_share: float = 0.4,
) -> ThreatModel:
    """The protocol's attacker: sees a random share of the training users, adds ``attack_size`` fakes.

    Args:
        attack_size: fakes as a share of real users, 0 to 1.
        filler_size: ratings in a fake profile besides the targets; by default the mean profile
            size of the data set, ⌊ratings / users⌋.
        visible_share: share of users whose training rows the attacker sees, in (0, 1].

    Raises:
        ValueError: if a share is out of range, or ``attack_size`` is above 0 and yet buys no fake.
    """
    check_generator(rng)
    if not 0 <= attack_size <= 1:
        raise ValueError(f"attack_size must be between 0 and 1, got {attack_size}")
    if not 0 < visible_share <= 1:
        raise ValueError(f"visible_share must be in (0, 1], got {visible_share}")
    n_users = split.train.shape[0]
    # Rounded first, because 0.29 · 100 is 28.999999999999996.
    n_fakes = math.floor(round(attack_size * n_users, 9))
    if attack_size > 0 and not n_fakes:
        raise ValueError(
            f"attack_size {attack_size} of {n_users} users is less than one fake profile; "
            f"use {1 / n_users:.2g} or more, or 0 for no attack"
        )
    n_visible = max(1, round(visible_share * n_users))
    seen = np.sort(rng.choice(n_users, size=n_visible, replace=False))
    targets = np.sort(as_indices("targets", targets, split.train.shape[1], of="items"))
    visible = split.train[seen]
    return ThreatModel(
        visible=visible,
        targets=targets,
        n_fakes=n_fakes,
        filler_size=split.ratings.mean_profile_size if filler_size is None else filler_size,
        levels=split.ratings.levels,
        catalogue=Catalogue(split.ratings.name, split.ratings.sha256, split.ratings.item_ids),
    )


def draw_targets(
    split: Split, target_set: str, rng: np.random.Generator, n_targets: int = 5
) -> np.ndarray:
    """Target items by the protocol.

    ``unpopular`` have 1 to 5 training ratings; ``middling`` stand between the 40th and the 60th
    percentile of the rated items by training ratings; ``random`` are any that are rated.

    Raises:
        ValueError: for an unknown ``target_set`` or one with too few items.
    """
    check_generator(rng)
    counts = np.bincount(split.train.indices, minlength=split.train.shape[1])
    low, high = np.quantile(counts[counts > 0], [0.4, 0.6]) if counts.any() else (0, 0)
    candidates = {
        "unpopular": np.flatnonzero((counts >= 1) & (counts <= 5)),
        "middling": np.flatnonzero((counts >= 1) & (counts >= low) & (counts <= high)),
        "random": np.flatnonzero(counts >= 1),
    }
    check_one_of("target_set", target_set, candidates)
    if len(candidates[target_set]) < n_targets:
        raise ValueError(
            f"{split.ratings.name} has only {len(candidates[target_set])} {target_set} items, "
            f"{n_targets} targets were asked for"
        )
    return np.sort(rng.choice(candidates[target_set], size=n_targets, replace=False))
