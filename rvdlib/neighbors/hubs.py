"""Hubs among users: how many lists each stands in, and lists in which hubs stand less often.

**Hubs** are users who stand in very many lists, as happens in many dimensions (Radovanović,
Nanopoulos and Ivanović 2010). Who copies a handful of them reaches everybody. Two reductions:

- ``local_scaling``: the order of d(u, v) / √(s_u s_v), s the mean distance to the k nearest
  (Schnitzer, Flexer, Schedl and Widmer 2012). d is the plain distance, Euclidean or Jaccard; for
  ``cosine`` it is the chord between directions, √(2 − 2 cos). Whose k nearest are copies, so that
  s = 0, is near to nobody else.
- ``mutual``: the order of the worse of two ranks, v's among u's nearest and u's among v's, as far
  as the 10k nearest of either reach; then the others, nearest first. Equal ranks go to who is
  nearer. A hub has far more followers than places near the top of its own list. (Of mutual
  proximity, Schnitzer et al. 2012, the form that needs lists and no n × n table.)
"""

import numba
import numpy as np

from rvdlib.arguments import as_indices

MUTUAL_REACH = 10  # times k: how long the lists are that are held against each other


def k_occurrence(neighbors: np.ndarray, n_users: int) -> np.ndarray:
    """N_k (n_users,): in how many of the lists ``neighbors`` (B, k) each user stands."""
    lists = as_indices("neighbors", np.ravel(neighbors), n_users)
    return np.bincount(lists, minlength=n_users)


def hubness_skewness(neighbors: np.ndarray, n_users: int) -> float:
    """Skewness E(N_k − mean)³ / sd³ of the k-occurrences (Radovanović et al. 2010), 0 if all agree.

    0 is no hubs; above 1 few users stand in most lists. ``neighbors`` are everybody's lists.
    """
    deviations = k_occurrence(neighbors, n_users) - np.size(neighbors) / n_users
    spread = np.sqrt(np.mean(deviations**2))
    return float(np.mean((deviations / spread) ** 3)) if spread else 0.0


@numba.njit(cache=True, nogil=True)
def mutual_first(lists, k):
    """The k of each list with the least worse rank: theirs in it, or its owner's in theirs."""
    n_users, reach = lists.shape
    found, order = np.empty((n_users, k), dtype=np.int64), np.empty(reach, dtype=np.int64)
    for u in range(n_users):
        for rank in range(reach):
            returned = 0
            for w in lists[lists[u, rank]]:
                if w == u:
                    break
                returned += 1
            order[rank] = max(rank, returned) * reach + rank
        order.sort()
        for place in range(k):
            found[u, place] = lists[u, order[place] % reach]
    return found
