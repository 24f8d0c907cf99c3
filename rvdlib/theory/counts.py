"""Who in a vicinity rated which item: the counts that certificates are made of.

A table of neighbours is (U, k) row numbers, nearest first, -1 where there are fewer, last.
"""

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import check_csr


def rated_by_neighbors(
    neighbors: np.ndarray, ratings: sp.csr_matrix, items: np.ndarray
) -> np.ndarray:
    """Which neighbours rated which items: (U, k, L) bool.

    Args:
        neighbors: (U, k) rows of ``ratings``.
        ratings: (users, items) CSR; what is stored is rated.
        items: (U, L) item indices of each user, or (L,) of all; -1: no item, which nobody rated.

    Raises:
        ValueError: for ``ratings`` that are no CSR matrix, or neighbours that are none of its rows.
    """
    check_csr("ratings", ratings)
    n_rows, n_items = ratings.shape
    missing = _missing(neighbors, n_rows)
    items = np.broadcast_to(items, (len(neighbors), np.shape(items)[-1]))
    rows = np.repeat(np.arange(n_rows, dtype=np.int64), np.diff(ratings.indptr))
    cells = np.sort(rows * n_items + ratings.indices, kind="stable")
    asked = np.asarray(neighbors, dtype=np.int64)[:, :, None] * n_items + items[:, None]
    places = np.searchsorted(cells, asked)
    found = np.append(cells, -1)[places] == asked  # what is behind the last cell is none
    return found & ~missing[:, :, None] & (items >= 0)[:, None]


def counts_of_nearest(votes: np.ndarray) -> np.ndarray:
    """c^(j), j = 0 to k: how many of each user's j nearest rated an item.

    Args:
        votes: (U, k, L) as :func:`rated_by_neighbors` gives them, or (U, k) of one item.

    Returns:
        (U, k + 1, L), or (U, k + 1).
    """
    counts = np.zeros((votes.shape[0], votes.shape[1] + 1, *votes.shape[2:]), dtype=np.int64)
    np.cumsum(votes, axis=1, out=counts[:, 1:])
    return counts


def _missing(neighbors: np.ndarray, n_rows: int) -> np.ndarray:
    """Where nobody stands."""
    neighbors = np.asarray(neighbors)
    if neighbors.ndim != 2 or neighbors.dtype.kind not in "iu" or (neighbors >= n_rows).any():
        raise ValueError(f"neighbors must be (users, k) row numbers below {n_rows}, or -1")
    missing = neighbors < 0
    if (missing[:, :-1] & ~missing[:, 1:]).any():
        raise ValueError("neighbors must be nearest first: -1, nobody, comes last")
    return missing
