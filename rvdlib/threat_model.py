"""What an attacker knows and may do. An attack gets this, a random stream, and nothing else."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from rvdlib.data import Split


@dataclass(frozen=True, eq=False)
class ThreatModel:
    """A promotion attack's knowledge and budget.

    Attributes:
        visible: (visible users, items) CSR of stars: the training rows that the attacker sees.
        targets: item indices to promote; each stands in every fake profile at the top rating.
        n_fakes: m = ⌊attack_size · real users⌋ profiles.
        filler_size: F, further ratings in each fake profile.
        levels: the rating scale, ascending.
    """

    visible: sp.csr_matrix
    targets: np.ndarray
    n_fakes: int
    filler_size: int
    levels: np.ndarray

    def __post_init__(self):
        n_items = self.visible.shape[1]
        if len(np.unique(self.targets)) != len(self.targets):
            raise ValueError(f"targets repeat: {sorted(self.targets)}")
        if len(self.targets) and not 0 <= self.targets.min() <= self.targets.max() < n_items:
            raise ValueError(f"targets must be item indices below {n_items}")
        if not 0 <= self.filler_size <= n_items - len(self.targets):
            raise ValueError(
                f"filler_size must be between 0 and {n_items - len(self.targets)} "
                f"(the items that are not targets), got {self.filler_size}"
            )
        if self.n_fakes < 0:
            raise ValueError(f"n_fakes must not be negative, got {self.n_fakes}")

    @property
    def max_rating(self) -> float:
        return float(self.levels[-1])


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
    """
    if not 0 <= attack_size <= 1:
        raise ValueError(f"attack_size must be between 0 and 1, got {attack_size}")
    if not 0 < visible_share <= 1:
        raise ValueError(f"visible_share must be in (0, 1], got {visible_share}")
    n_users = split.train.shape[0]
    n_visible = max(1, round(visible_share * n_users))
    seen = np.sort(rng.choice(n_users, size=n_visible, replace=False))
    return ThreatModel(
        visible=split.train[seen],
        targets=np.sort(np.asarray(targets)),
        n_fakes=int(attack_size * n_users),
        filler_size=split.ratings.mean_profile_size if filler_size is None else filler_size,
        levels=split.ratings.levels,
    )


def draw_targets(
    split: Split, target_set: str, rng: np.random.Generator, n_targets: int = 5
) -> np.ndarray:
    """Target items by the protocol: ``unpopular`` (1 to 5 training ratings) or ``random`` items.

    Raises:
        ValueError: for an unknown ``target_set`` or one with too few items.
    """
    counts = np.bincount(split.train.indices, minlength=split.train.shape[1])
    candidates = {
        "unpopular": np.flatnonzero((counts >= 1) & (counts <= 5)),
        "random": np.flatnonzero(counts >= 1),
    }
    if target_set not in candidates:
        raise ValueError(f"target_set must be one of {sorted(candidates)}, got {target_set!r}")
    if len(candidates[target_set]) < n_targets:
        raise ValueError(
            f"{split.ratings.name} has only {len(candidates[target_set])} {target_set} items, "
            f"{n_targets} targets were asked for"
        )
    return np.sort(rng.choice(candidates[target_set], size=n_targets, replace=False))
