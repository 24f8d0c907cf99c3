"""Fakes among the neighbours of users."""

from collections.abc import Callable

import numpy as np

from rvdlib import metrics
from rvdlib.evaluation import Recommender
from rvdlib.models import Victim
from rvdlib.neighbors import NeighborSearch

PLAIN_K = 10


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


def fake_share(neighbors: np.ndarray, n_real: int) -> float:
    """The share of fakes among neighbours (U, k).

    Args:
        neighbors: row numbers, −1 where a list is shorter; NaN where there are none.
        n_real: rows below this are real users.
    """
    somebody = neighbors >= 0  # NaN is not
    return metrics.mean(np.where(somebody, neighbors >= n_real, np.nan))
