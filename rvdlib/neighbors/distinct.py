"""Neighbours with profiles of their own: the nearest users, near-duplicates left out.

Copies of a user who stands in many lists stand in them too, all of them. With a limit on the overlap
of two neighbours, only one does. Users are looked at nearest first, and v joins the vicinity N unless

    |I_v ∩ I_w| / |I_v ∪ I_w|  >  max_overlap    for some w in N,

I being the sets of rated items; two empty ones overlap by 0, as in :mod:`rvdlib.neighbors`. Nothing
else tells an original from its copy: the nearer of them stays, whoever that is, and of two equally
near the lower row number, as in every search. (Sets alike are always equally near by
``profile_overlap``: there the order of the rows must not say who is fake.)
"""

from functools import cached_property

import numba
import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices
from rvdlib.neighbors import MUTUAL_REACH, NeighborSearch
from rvdlib.neighbors.hubs import mutual_first
from rvdlib.threads import for_blocks

_USERS_AT_ONCE = 256  # whose lists are lengthened together, if need be to all users
_BLOCK_USERS = 16  # that a thread takes at a time


class DistinctSearch(NeighborSearch):
    """The k nearest of whom no two overlap by more than ``max_overlap``.

    The order is that of :class:`~rvdlib.neighbors.NeighborSearch`, with k as the ``k`` of its
    hubness reductions, however far the search has to go.

    Args:
        max_overlap: in (0, 1]; at 1 the neighbours are those of ``NeighborSearch``.
        ratings: (users, items) CSR; what is stored is rated.

    Raises:
        ValueError: as ``NeighborSearch`` does, or for ``ratings`` of other users.
    """

    def __init__(
        self,
        user_factors: np.ndarray | None,
        k: int,
        distance: str = "euclidean",
        *,
        max_overlap: float,
        ratings: sp.csr_matrix,
        hubness_reduction: str = "none",
    ):
        super().__init__(
            user_factors, k, distance, hubness_reduction=hubness_reduction, ratings=ratings
        )
        self._rated = sp.csr_matrix(ratings, copy=True)
        self._rated.sum_duplicates()
        if self._rated.shape[0] != len(self._space):
            raise ValueError(
                f"ratings must have a row for each of the {len(self._space)} users, got "
                f"{self._rated.shape[0]}"
            )
        self.max_overlap = max_overlap

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """(B, k) int64 row numbers of the neighbours of ``users`` (B,), nearest first.

        Where fewer than k are distinct among all users, the others follow, nearest first.

        Raises:
            ValueError: for ``users`` that are not row numbers.
        """
        users = as_indices("users", users, len(self._space))
        lists = super().__call__(users)
        found = np.empty((len(users), self.k), dtype=np.int64)
        for start in range(0, len(users), _USERS_AT_ONCE):
            block = slice(start, start + _USERS_AT_ONCE)
            self._fill(users[block], lists[block], found[block])
        return found

    def _fill(self, users: np.ndarray, lists: np.ndarray, found: np.ndarray) -> None:
        """Lengthen the lists of those who lack distinct neighbours, until nobody is left."""
        lacking, longest = np.arange(len(users)), len(self._space) - 1
        while len(lacking):
            found[lacking], n_distinct = self._distinct_first(lists)
            if lists.shape[1] == longest:
                return
            lacking = lacking[n_distinct < self.k]
            lists = self._longer(users[lacking], min(2 * lists.shape[1], longest))

    def _distinct_first(self, lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = np.empty((len(lists), self.k), dtype=np.int64)
        n_distinct = np.empty(len(lists), dtype=np.int64)

        def choose(part):
            _distinct_first(
                lists[part],
                self._rated.indptr,
                self._rated.indices,
                self._rated.shape[1],
                self.max_overlap,
                found[part],
                n_distinct[part],
            )

        for_blocks(choose, len(lists), _BLOCK_USERS)
        return found, n_distinct

    def _longer(self, users: np.ndarray, length: int) -> np.ndarray:
        if self.hubness_reduction != "mutual":
            return self._searched.nearest(users, length)[0]
        lists, reordered = self._space.nearest(users, length)[0], self._mutual[users]
        lists[:, : reordered.shape[1]] = reordered
        return lists

    @cached_property
    def _mutual(self) -> np.ndarray:
        """As far as ranks are held against each other, not only the first k."""
        n_users = len(self._space)
        reach = min(MUTUAL_REACH * self.k, n_users - 1)
        return mutual_first(self._space.nearest(np.arange(n_users), reach)[0], reach)


@numba.njit(cache=True, nogil=True)
def _distinct_first(lists, indptr, items, n_items, max_overlap, found, n_distinct):
    """k of each list: who overlaps nobody chosen before by more than that; then the others."""
    k = found.shape[1]
    others, common = np.empty(k, dtype=np.int64), np.empty(k, dtype=np.int32)
    rated = np.zeros((n_items, k), dtype=np.uint8)  # by the chosen
    for row in range(len(lists)):
        chosen, n_chosen, n_others = found[row], 0, 0
        for v in lists[row]:
            profile = items[indptr[v] : indptr[v + 1]]
            common[:n_chosen] = 0
            for item in profile:
                for place in range(n_chosen):
                    common[place] += rated[item, place]
            alike = False
            for place in range(n_chosen):
                w = chosen[place]
                union = len(profile) + indptr[w + 1] - indptr[w] - common[place]
                alike |= common[place] / max(union, 1) > max_overlap
            if not alike:
                rated[profile, n_chosen] = 1
                chosen[n_chosen] = v
                n_chosen += 1
                if n_chosen == k:
                    break
            elif n_others < k:
                others[n_others] = v
                n_others += 1
        for place in range(n_chosen):
            w = chosen[place]
            rated[items[indptr[w] : indptr[w + 1]], place] = 0
        chosen[n_chosen:] = others[: k - n_chosen]
        n_distinct[row] = n_chosen
