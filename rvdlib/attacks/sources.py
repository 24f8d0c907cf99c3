"""Whom to clone, for fakes that shall stand among many users' neighbours.

``neighbors`` are everybody's lists, (visible users, k), ``users`` the rows of those who may be cloned.
A clone enters the lists that hold its source, and its source's own.
"""

import numpy as np

from rvdlib.neighbors import k_occurrence
from rvdlib.threat_model import ThreatModel


def long_enough(threat: ThreatModel, size: int) -> np.ndarray:
    """Visible users with ``size`` ratings at least, the targets not counted; all if there is none."""
    rated = threat.visible.getnnz(axis=1) - threat.visible[:, threat.targets].getnnz(axis=1)
    enough = rated >= size
    return np.flatnonzero(enough | ~enough.any())


def hubs(neighbors: np.ndarray, users: np.ndarray, n: int) -> np.ndarray:
    """The n of ``users`` who stand in most lists ``neighbors`` (everybody, k); fewer if there are."""
    counts = k_occurrence(neighbors, len(neighbors))
    return users[np.argsort(-counts[users], kind="stable")][:n]


def cover(neighbors: np.ndarray, users: np.ndarray, n: int) -> np.ndarray:
    """The n of ``users`` whose clones enter most lists, one after the other; fewer if there are.

    Lists that hold a clone do not count, until all do.
    """
    n_users = len(neighbors)
    lists = _entered(neighbors)
    free, without = np.isin(np.arange(n_users), users), np.ones(n_users, dtype=bool)
    chosen = np.empty(min(n, len(users)), dtype=np.intp)
    for fake in range(len(chosen)):
        if not without.any():
            without[:] = True
        entered = k_occurrence(lists[without], n_users)
        chosen[fake] = np.argmax(np.where(free, entered, -1))
        free[chosen[fake]] = False
        without &= (lists != chosen[fake]).all(axis=1)
    return chosen


def beside(neighbors: np.ndarray, users: np.ndarray) -> np.ndarray:
    """``users``, then the nearest of each, the second nearest of each, ...; nobody twice."""
    ranked = np.column_stack([users, neighbors[users]]).T.ravel()
    return ranked[np.sort(np.unique(ranked, return_index=True)[1])]


def allotted(
    neighbors: np.ndarray, users: np.ndarray, n: int, rated: np.ndarray, quorum: int
) -> np.ndarray:
    """The sources of n fakes, one after the other, that buy most pairs of a user and a target.

    A pair is won when the user's list holds ``quorum`` raters of the target, who are the user's
    neighbours that rated it or are fakes, which rate all targets. Each time as many fakes as win the
    most pairs for each of them go to one of ``users``, rather few than many. When all pairs are won,
    each needs one fake more. What can win no pair any more goes to hubs.

    Args:
        rated: (visible users, targets) bool, who rated which; they are served it no more.

    Returns:
        At most n rows, in which users repeat; fewer only where hubs are fewer.
    """
    lists = _entered(neighbors)
    contested = ~rated & np.isin(lists, users).any(axis=1, keepdims=True)
    missing = np.where(contested, quorum - rated[neighbors].sum(axis=1), 0)
    chosen: list[int] = []
    while len(chosen) < n and contested.any():
        if missing.max() <= 0:
            missing = contested.astype(missing.dtype)
        sizes = np.arange(1, 1 + min(missing.max(), n - len(chosen)))
        won = [((missing > 0) & (missing <= size)).sum(axis=1) for size in sizes]
        gains = [
            np.bincount(lists.ravel(), np.repeat(each, lists.shape[1]), len(lists)) for each in won
        ]
        worth = np.array(gains)[:, users] / sizes[:, None]
        if not worth.any():
            break
        row, place = divmod(int(np.argmax(worth)), len(users))
        chosen += [users[place]] * sizes[row]
        missing[(lists == users[place]).any(axis=1)] -= sizes[row]
    return np.array([*chosen, *hubs(neighbors, users, n - len(chosen))], dtype=np.intp)


def _entered(neighbors: np.ndarray) -> np.ndarray:
    """(visible users, 1 + k): by whose clones each user's list is entered."""
    return np.column_stack([np.arange(len(neighbors)), neighbors])
