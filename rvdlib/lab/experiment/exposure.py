"""Which users have fakes among their neighbours, and what that does to their lists."""

import numpy as np

from rvdlib.evaluation import Evaluation
from rvdlib.models import Victim
from rvdlib.neighbors import NeighborSearch

PLAIN_K = 10
MOST = 3  # users with as many fakes or more are one group
SHARES = [f"users_with_{n}_fakes" for n in range(MOST + 1)]
TARGET_HIT_RATIOS = [f"target_hit_ratio_with_{n}_fakes" for n in range(MOST + 1)]


def plain_vicinity(victim: Victim) -> NeighborSearch:
    """The ten nearest in the latent space of a victim that nobody defends."""
    factors = victim.user_factors()
    return NeighborSearch(factors, min(PLAIN_K, len(factors) - 1))


def exposure(fakes: np.ndarray, evaluation: Evaluation) -> dict[str, float]:
    """How fakes stand among the neighbours of the evaluated users.

    Args:
        fakes: (U, k) whether each neighbour is one.

    Returns:
        ``fake_neighbor_share`` of all neighbours; and of users with 0, 1, 2 and 3 or more fakes
        among theirs, their share of all (:data:`SHARES`) and the target hit ratio among them
        (:data:`TARGET_HIT_RATIOS`), NaN where there is nobody to count.
    """
    counts = np.minimum(fakes.sum(axis=1), MOST)
    groups = [np.flatnonzero(counts == n) for n in range(MOST + 1)]
    hit = [evaluation.take(g).target_hit_ratio if len(g) else float("nan") for g in groups]
    return {
        "fake_neighbor_share": float(fakes.mean()) if fakes.size else float("nan"),
        **{name: len(group) / len(counts) for name, group in zip(SHARES, groups, strict=True)},
        **dict(zip(TARGET_HIT_RATIOS, hit, strict=True)),
    }
