"""Which users have fakes among their neighbours, and what that does to their lists."""

from collections.abc import Callable

import numpy as np

from rvdlib import metrics
from rvdlib.evaluation import Evaluation, Recommender
from rvdlib.models import Victim
from rvdlib.neighbors import NeighborSearch

PLAIN_K = 10
MOST = 3  # users with as many fakes or more are one group
SHARES = [f"users_with_{n}_fakes" for n in range(MOST + 1)]
TARGET_HIT_RATIOS = [f"target_hit_ratio_with_{n}_fakes" for n in range(MOST + 1)]


def vicinity_of(recommender: Recommender) -> Callable[[np.ndarray], np.ndarray]:
    """Users (B,) → row numbers (B, k) of those who count as their neighbours.

    Of a victim that is served as it is: the ten nearest in its latent space; of a defence: its
    own vicinity, and one NaN for each user where it has none.
    """
    if isinstance(recommender, Victim):
        factors = recommender.user_factors()
        k = min(PLAIN_K, len(factors) - 1)
        return NeighborSearch(factors, k, ratings=recommender.train)
    return getattr(recommender, "vicinity", lambda users: np.full((len(users), 1), np.nan))


def exposure(neighbors: np.ndarray, n_real: int, evaluation: Evaluation) -> dict[str, float]:
    """How fakes stand among the neighbours of the evaluated users.

    Args:
        neighbors: (U, k) row numbers, −1 where a list is shorter; NaN where there are none.
        n_real: rows below this are real users.

    Returns:
        ``fake_neighbor_share`` of all neighbours; and of users with 0, 1, 2 and 3 or more fakes
        among theirs, their share of all (:data:`SHARES`) and the target hit ratio among them
        (:data:`TARGET_HIT_RATIOS`), NaN where there is nobody to count, all NaN without neighbours.
    """
    if np.isnan(neighbors).any():
        return dict.fromkeys(("fake_neighbor_share", *SHARES, *TARGET_HIT_RATIOS), np.nan)
    counts = np.minimum((neighbors >= n_real).sum(axis=1), MOST)
    groups = [np.flatnonzero(counts == n) for n in range(MOST + 1)]
    hit = [evaluation.take(g).target_hit_ratio if len(g) else float("nan") for g in groups]
    return {
        "fake_neighbor_share": fake_share(neighbors, n_real),
        **{name: len(group) / len(counts) for name, group in zip(SHARES, groups, strict=True)},
        **dict(zip(TARGET_HIT_RATIOS, hit, strict=True)),
    }


def fake_share(neighbors: np.ndarray, n_real: int) -> float:
    """The share of fakes among neighbours (U, k), −1 is nobody; NaN where there are none."""
    somebody = neighbors >= 0  # NaN is not
    return metrics.mean(np.where(somebody, neighbors >= n_real, np.nan))
