"""Neighbours of whom nobody stands in more than so many lists: a balanced neighbour graph.

Without a limit, a fake among the nearest of very many users has a say in all their lists. With
``max_in_degree`` = B, m fakes fill at most m B places, whatever the geometry is.

**The graph.** All ordered pairs (u, v) of different users are looked at by rising distance; v joins
the list of u if u has fewer than k members and v stands in fewer than B lists. That is the greedy
b-matching, of at least half the weight of the best one for any weights that fall with the distance
(Korte and Hausmann 1978; Jebara and Shchogolev 2006 solve for the best). Distances of different
users are compared as they are, with

- ``local_scaling``: d(u, v) / √(s_u s_v);
- ``mutual``: the worse of the two ranks, then the distance.

**Ties.** Fakes are often the last rows, so a tie that goes to the lower row would defend by itself.
Equal pairs are ordered by a hash of the two users' ratings, which says nothing about rows; between
users with the same ratings the lower row comes first.

**Short lists.** B ≥ k leaves places enough for everybody, but greedy may end with free places at
users who stand in the list already, or at the user itself. The list is then shorter, and ends in
−1: to fill it would break the limit, or make others give up near neighbours for far ones. At most k
users can have free places then, so at most k² of the n k places stay empty.

**Large n.** Pairs are never held at once. Each user has a short list of the next candidates, those
without a free place left out, and a heap holds the head of each list. A list that runs out is made
anew, together with those that will run out next. This is the same order of the same pairs.

When a user comes or goes, any list may change, so the graph is computed anew: a pair's place may
pass to another user, whose place passes on, and with ``local_scaling`` the distances change too.
"""

from functools import cached_property

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices
from rvdlib.neighbors.balanced_kernels import match, nearest_listed, signatures
from rvdlib.neighbors.hubs import MUTUAL_REACH
from rvdlib.neighbors.search import NeighborSearch
from rvdlib.threads import for_blocks

_LISTED = 16  # candidates of a user beside the k that are looked for
_USERS_AT_ONCE = 512  # whose lists are made anew together
_BLOCK_NUMBERS = 2**18  # distances that a thread holds


class BalancedSearch(NeighborSearch):
    """The k nearest with a limit on everybody's in-degree, by greedy over all pairs.

    The graph is computed at the first call, for all users; calls then read it. Memory is about
    users × k, time users² × d.

    Args:
        max_in_degree: B, the most lists that a user may stand in, at least k.

    Raises:
        ValueError: as ``NeighborSearch`` does, or for a ``max_in_degree`` below k.
    """

    def __init__(
        self,
        user_factors: np.ndarray | None,
        k: int,
        distance: str = "euclidean",
        *,
        max_in_degree: int,
        hubness_reduction: str = "none",
        ratings: sp.csr_matrix | None = None,
    ):
        super().__init__(
            user_factors, k, distance, hubness_reduction=hubness_reduction, ratings=ratings
        )
        if max_in_degree < k:
            raise ValueError(
                f"max_in_degree must be at least k = {k}, or there are not enough places for "
                f"everybody; got {max_in_degree}"
            )
        self.max_in_degree = max_in_degree
        rows = sp.csr_matrix(user_factors if ratings is None else ratings, copy=True)
        rows.sum_duplicates()
        bits = rows.data.astype(np.float64).view(np.uint64)
        self._signatures = signatures(rows.indptr, rows.indices, bits)

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """(B, k) int64 row numbers of the neighbours of ``users`` (B,), nearest first, then −1.

        Raises:
            ValueError: for ``users`` that are not row numbers.
        """
        return self._graph[as_indices("users", users, len(self._space))]

    @cached_property
    def _graph(self) -> np.ndarray:
        n_users, size = len(self._space), self.k + _LISTED
        members = np.full((n_users, self.k), -1, dtype=np.int64)
        n_members, in_degree = np.zeros(n_users, np.int64), np.zeros(n_users, np.int64)
        listed = np.empty((n_users, size), dtype=np.int64)
        ranks, distances = np.empty((n_users, size)), np.empty((n_users, size))
        n_listed, position = np.zeros(n_users, np.int64), np.zeros(n_users, np.int64)
        due = np.arange(n_users)
        while len(due):
            self._list(due, in_degree, members, listed, ranks, distances, n_listed)
            position[due] = 0
            waiting = np.flatnonzero((n_members < self.k) & (position < n_listed))
            out = match(
                waiting, self._signatures, listed, ranks, distances, n_listed, position,
                members, n_members, in_degree, self.max_in_degree,
            )  # fmt: skip
            due = np.empty(0, dtype=np.int64)
            if out >= 0:  # lists shorter than ``size`` hold all that there is
                others = waiting[(n_members[waiting] < self.k) & (n_listed[waiting] == size)]
                others = others[others != out]
                order = np.lexsort((distances[others, -1], ranks[others, -1]))
                due = np.append(out, others[order[: _USERS_AT_ONCE - 1]])
        return members

    def _list(self, users, in_degree, members, listed, ranks, distances, n_listed):
        """The next candidates of ``users`` among those with a free place, nearest first."""
        free = np.flatnonzero(in_degree < self.max_in_degree)
        scaled = self.hubness_reduction == "local_scaling"
        measure = (self._searched if scaled else self._space).measure(free)

        def fill(block):
            some = users[block]
            values, worse = measure(some), np.zeros((len(some), 0))
            if scaled:
                own = np.maximum(self._scale[some], np.finfo(np.float64).tiny)
                values = np.sqrt(values) / np.sqrt(own)[:, None]
            elif self.hubness_reduction == "mutual":
                worse = self._worse_ranks[some][:, free].toarray()
                worse[worse == 0] = np.inf
            nearest_listed(
                some, free, self._signatures, worse, values, members,
                listed, ranks, distances, n_listed,
            )  # fmt: skip

        for_blocks(fill, len(users), max(1, _BLOCK_NUMBERS // max(1, len(free))))

    @cached_property
    def _worse_ranks(self) -> sp.csr_matrix:
        """(users, users) the worse of both ranks, from 1, where each is in reach of the other."""
        n_users = len(self._space)
        reach = min(MUTUAL_REACH * self.k, n_users - 1)
        lists = self._space.nearest(np.arange(n_users), reach)[0]
        own = sp.csr_matrix(
            (
                np.tile(np.arange(1.0, reach + 1), n_users),
                lists.ravel(),
                np.arange(0, lists.size + 1, reach),
            ),
            shape=(n_users, n_users),
        )
        own.sort_indices()
        theirs = own.T.tocsr()
        return own.maximum(theirs).multiply((own > 0).multiply(theirs > 0)).tocsr()
