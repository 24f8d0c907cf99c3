"""A balanced neighbour graph that follows updates (:mod:`rvdlib.neighbors.balanced`).

With a limit on in-degrees any list may change, however far from the update: a place passes from user
to user. So the matching itself is done again at every update. What it begins with is kept: everybody's
next candidates, of which an update replaces those that it concerns, and the scales that distances are
divided by.
"""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from rvdlib.defenses.vicinal_defense import VicinityConfig
from rvdlib.neighbors.balanced import BalancedSearch
from rvdlib.neighbors.balanced_kernels import match, signatures
from rvdlib.serving.change import Change
from rvdlib.serving.searches import MOST, FollowingSearch

LISTED = 98  # candidates that are kept of a user, beside the k that are looked for
AGAIN = 512  # users whose lists are made anew together


class Table(NamedTuple):
    """Everybody's nearest by rising distance: all who are nearer than a horizon."""

    listed: np.ndarray  # (users, size), the first ``length`` of each
    distances: np.ndarray
    length: np.ndarray  # (users,)
    horizon: np.ndarray


class FollowingBalanced(FollowingSearch, BalancedSearch):
    """The k nearest with a limit on in-degrees; everybody's lists are found together."""

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """As :class:`rvdlib.neighbors.balanced.BalancedSearch`."""
        return BalancedSearch.__call__(self, users)

    def after(self, change, factors, train):
        moved = self._moved(change, factors, train)
        if moved is None:
            return None
        made, wide = moved
        rows = train[change.came]
        bits = rows.data.astype(np.float64).view(np.uint64)
        made._signatures = change.rows(
            self._signatures, signatures(rows.indptr, rows.indices, bits)
        )
        few = len(wide.came) * MOST <= len(wide.source)
        if few and "_table" in vars(self) and made._size == self._size:
            vars(made)["_table"] = made._followed_table(self._table, wide)
        row_now = np.append(np.where(change.now < 0, -2, change.now), -1)
        return made, (change.rows(row_now[self._graph], -2) != made._graph).any(axis=1)

    @property
    def _size(self) -> int:
        return min(self.k + LISTED, len(self._space) - 1)

    @cached_property
    def _table(self) -> Table:
        table = _empty_table(len(self._space), self._size)
        self._list_anew(np.arange(len(self._space)), table)
        return table

    def _list_anew(self, users: np.ndarray, table: Table) -> None:
        if not len(users):
            return
        listed, distances, length, horizon = table
        n_users = len(listed)
        nobody, places = np.full((n_users, 1), -1), np.zeros(n_users, dtype=np.int64)
        ranks, n_listed = np.empty(listed.shape), np.empty(n_users, dtype=np.int64)
        self._list(users, places, nobody, listed, ranks, distances, n_listed)
        horizon[users] = distances[users, -1]  # behind it there may be others as far
        length[users] = (distances[users] < horizon[users, None]).sum(axis=1)

    def _followed_table(self, table: Table, change: Change) -> Table:
        listed, distances, length, horizon = table
        kept = np.flatnonzero(change.source < change.n_before)
        before, size = change.source[kept], listed.shape[1]
        rows, far, end = change.now[listed[before]], distances[before], horizon[before]
        far[(rows < 0) | (np.arange(size) >= length[before, None])] = np.inf
        keys = self._keys(kept, change.came)
        keys[keys >= end[:, None]] = np.inf
        most = (keys < np.inf).sum(axis=1).max(initial=0)
        first = np.argsort(keys, axis=1)[:, :most]
        rows = np.column_stack([rows, change.came[first]])
        far = np.column_stack([far, np.take_along_axis(keys, first, axis=1)])
        order = np.argsort(far, axis=1, kind="stable")[:, : size + 1]
        rows, far = (np.take_along_axis(each, order, axis=1) for each in (rows, far))
        if most:
            end = np.minimum(end, far[:, size])
        # Equals are ordered by their ratings, and who came stands behind the others here.
        tied = (far[:, 1:] == far[:, :-1]) & (far[:, 1:] < np.inf)
        tied &= (order[:, 1:] >= size) | (order[:, :-1] >= size)
        n_users = len(change.source)
        made = _empty_table(n_users, size)
        own = rows[:, :size], far[:, :size], (far[:, :size] < end[:, None]).sum(axis=1), end
        for array, values in zip(made, own, strict=True):
            array[kept] = values
        wrong = np.zeros(n_users, dtype=bool)
        wrong[change.came] = True
        wrong[kept] |= tied.any(axis=1) | (made.length[kept] <= self.k)
        self._list_anew(np.flatnonzero(wrong), made)
        return made

    def _keys(self, users: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(B, O) what pairs are ordered by, as the library has it."""
        values = self._searched.measure(others)(users)
        if self.hubness_reduction == "local_scaling":
            own = np.maximum(self._scale[users], np.finfo(np.float64).tiny)
            values = np.sqrt(values) / np.sqrt(own)[:, None]
        return values

    @cached_property
    def _graph(self) -> np.ndarray:
        """As the library has it, from the lists that are there already."""
        n_users, size = len(self._space), self._size
        if size == n_users - 1:  # such lists hold everybody, and there is little to keep
            return BalancedSearch._graph.func(self)  # type: ignore[attr-defined]
        listed, distances, length, _ = self._table
        # A list is read to its last column, and then made anew.
        turned = (np.arange(size) - (size - length)[:, None]) % size
        listed, distances = (
            np.take_along_axis(each, turned, axis=1) for each in (listed, distances)
        )
        ranks, position = np.zeros((n_users, size)), size - length
        n_listed = np.full(n_users, size)
        members = np.full((n_users, self.k), -1, dtype=np.int64)
        n_members, in_degree = np.zeros(n_users, np.int64), np.zeros(n_users, np.int64)
        due = np.flatnonzero(length == 0)
        while True:
            if len(due):
                self._list(due, in_degree, members, listed, ranks, distances, n_listed)
                position[due] = 0
            waiting = np.flatnonzero((n_members < self.k) & (position < n_listed))
            out = match(
                waiting, self._signatures, listed, ranks, distances, n_listed, position,
                members, n_members, in_degree, self.max_in_degree,
            )  # fmt: skip
            if out < 0:
                return members
            others = waiting[(n_members[waiting] < self.k) & (n_listed[waiting] == size)]
            others = others[others != out]
            due = np.append(out, others[np.argsort(distances[others, -1])[: AGAIN - 1]])


def following(config: VicinityConfig, factors: np.ndarray, train: sp.csr_matrix) -> Any:
    """The search of these choices; None where none follows an update: it is made anew each time."""
    if (
        config.neighbors != "nearest"
        or config.max_overlap < 1
        or config.hubness_reduction == "mutual"
    ):
        return None
    choices = {"hubness_reduction": config.hubness_reduction, "ratings": train}
    kind = FollowingSearch
    if config.max_in_degree is not None:
        kind, choices = FollowingBalanced, choices | {"max_in_degree": config.max_in_degree}
    return kind(
        None if config.distance == "profile_overlap" else factors,
        config.k,
        config.distance,
        **choices,
    )


def _empty_table(n_users: int, size: int) -> Table:
    places, distances = np.empty((n_users, size), dtype=np.int64), np.empty((n_users, size))
    return Table(places, distances, np.zeros(n_users, dtype=np.int64), np.empty(n_users))
