"""Exact neighbours that follow an update: the same lists as a search made anew, for less.

A user's k nearest are others only if somebody who came, changed or left is, or was, no further than the
k-th of them. So each search keeps how far the k-th is, compares the few with everybody by the lower
bounds of :mod:`rvdlib.neighbors.spaces`, and passes on for whom a list no longer holds.

With a limit on in-degrees (:mod:`rvdlib.neighbors.balanced`) any list may change, however far from the
update, so the matching itself is done again at every update. What it begins with is kept: everybody's
next candidates, of which an update replaces those it concerns, and the scales that distances are
divided by.
"""

import copy
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices
from rvdlib.defenses.vicinal_defense import VicinityConfig
from rvdlib.neighbors import NeighborSearch
from rvdlib.neighbors.balanced import BalancedSearch
from rvdlib.neighbors.balanced_kernels import match, signatures
from rvdlib.neighbors.spaces import Profiles, Vectors, checked_factors, directions
from rvdlib.serving.change import Change

LISTED = 98  # candidates that are kept of a user, beside the k that are looked for
AGAIN = 512  # users whose lists are made anew together
MOST = 8  # if more than one in so many has changed, everything is made anew
_NUMBERS = 2**22  # bounds in memory at once
_BY_ROW = ("_vectors", "_left", "_gain", "_absent", "_slack", "_own_slack", "_reach")


class Table(NamedTuple):
    """Everybody's nearest by rising distance: all who are nearer than a horizon."""

    listed: np.ndarray  # (users, size), the first ``count`` of each
    distances: np.ndarray
    count: np.ndarray  # (users,)
    horizon: np.ndarray


class FollowingSearch(NeighborSearch):
    """The k nearest, of nearest neighbours with ``hubness_reduction`` none or local_scaling."""

    def __init__(self, user_factors: np.ndarray | None, k: int, distance: str, **choices):
        super().__init__(user_factors, k, distance, **choices)
        self._cosine = distance == "cosine"
        self._radius, self._furthest = (np.full(len(self._space), np.inf) for _ in range(2))
        if isinstance(self._space, Vectors):  # which are the given ones times a power of two
            self._unit = _exponent(self._space._vectors)
            self._shift = self._unit - _exponent(self._direct(checked_factors(user_factors)))

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """As :class:`rvdlib.neighbors.NeighborSearch`."""
        users = as_indices("users", users, len(self._space))
        found, values = self._searched.nearest(users, self.k)
        self._radius[users] = values[:, -1]
        return found

    def after(
        self, change: Change, factors: np.ndarray | None, train: sp.csr_matrix
    ) -> tuple[Self, np.ndarray] | None:
        """The search of everybody now, and (users,) whose neighbours it no longer vouches for.

        None: it has to be made anew.
        """
        moved = self._moved(change, factors, train)
        if moved is None:
            return None
        made, wide = moved
        made._radius = wide.rows(self._radius, np.inf)
        lost = _reached(self._searched, wide.left, self._radius)
        return made, wide.rows(lost, True) | _reached(made._searched, wide.came, made._radius)

    def _moved(self, change, factors, train) -> tuple[Self, Change] | None:
        """With everybody's places, and the change as neighbours see it: those among it whose scale
        is another."""
        if len(change.came) * MOST > len(change.source):
            return None
        space, came = self._space, change.came
        vectors = (
            isinstance(space, Vectors) and len(self._centre) > 0
        )  # found once, for all to come
        made = copy.copy(self)
        for name in ("_searched", "_scale", "_graph", "_table"):
            vars(made).pop(name, None)
        if not vectors:
            made._space = Profiles(train)
        else:
            own = np.ldexp(self._direct(checked_factors(factors[came])), self._shift)
            if _exponent(own) > self._unit:
                return None
            absent = np.diff(train.indptr)[came] == 0
            made._space = self._spliced(space, change, own, absent)
            if _exponent(made._space._vectors) < self._unit:
                return None  # in another unit, square roots are rounded otherwise
        if self.hubness_reduction == "none":
            return made, change
        before = change.rows(self._scale, -1.0)
        made._furthest = change.rows(self._furthest, np.inf)
        near = change.rows(_reached(space, change.left, self._furthest), True)
        near = np.flatnonzero(near | _reached(made._space, came, made._furthest))
        scale = before.copy()
        scale[near] = made._scale_of(near)
        wide = change.and_of(np.flatnonzero(scale != before))
        vars(made)["_scale"] = scale
        if vectors:
            rows = wide.came
            own, absent = made._space._vectors[rows], made._space._absent[rows]
            vars(made)["_searched"] = self._spliced(self._searched, wide, own, absent, scale[rows])
        return made, wide

    def _spliced(self, space, change, vectors, absent, scale=None) -> Vectors:
        """``space`` with the rows of those who came; their bounds are made by the library.

        Bounds go together if they are rounded about one centre and in one unit: most of the rows here
        stand at the centre, so it is their median, and one is as long as the unit wants the longest.
        """
        n = len(vectors)
        longest = np.full((1, vectors.shape[1]), np.ldexp(0.5, self._unit))
        around = np.vstack([vectors, np.tile(self._centre, (n + 3, 1)), longest])
        kind = "euclidean" if space._euclidean else "inner_product"
        came = Vectors(around, kind, absent=np.append(absent, np.zeros(n + 4, dtype=bool)))
        if scale is not None:
            came = came.scaled(np.append(scale, np.ones(n + 4)))
        first = SimpleNamespace(**{name: getattr(came, name)[:n] for name in _BY_ROW})
        made = change.spliced(space, first, _BY_ROW)
        made._right = np.ascontiguousarray(change.rows(space._right.T, came._right.T[:n]).T)
        return made

    def _direct(self, factors: np.ndarray) -> np.ndarray:
        return directions(factors) if self._cosine else factors

    @cached_property
    def _centre(self) -> np.ndarray:
        """Of the vectors that the search was made with: bounds are rounded about it."""
        return np.median(self._space._vectors, axis=0)

    @cached_property
    def _scale(self) -> np.ndarray:
        return self._scale_of(np.arange(len(self._space)))

    def _scale_of(self, users: np.ndarray) -> np.ndarray:
        """As the library has it, for some users, whose k-th distance is noted."""
        values = self._space.nearest(users, self.k)[1]
        self._furthest[users] = values[:, -1]
        distances = np.sqrt(values)
        finite = np.isfinite(distances)
        return np.where(finite, distances, 0).sum(axis=1) / np.maximum(1, finite.sum(axis=1))


class FollowingBalanced(FollowingSearch, BalancedSearch):
    """The same with a limit on in-degrees; everybody's lists are found when it is made."""

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
        listed, distances, count, horizon = table
        n_users = len(listed)
        nobody, places = np.full((n_users, 1), -1), np.zeros(n_users, dtype=np.int64)
        ranks, n_listed = np.empty(listed.shape), np.empty(n_users, dtype=np.int64)
        self._list(users, places, nobody, listed, ranks, distances, n_listed)
        horizon[users] = distances[users, -1]  # behind it there may be others as far
        count[users] = (distances[users] < horizon[users, None]).sum(axis=1)

    def _followed_table(self, table: Table, change: Change) -> Table:
        listed, distances, count, horizon = table
        kept = np.flatnonzero(change.source < change.n_before)
        before, size = change.source[kept], listed.shape[1]
        rows, far, end = change.now[listed[before]], distances[before], horizon[before]
        far[(rows < 0) | (np.arange(size) >= count[before, None])] = np.inf
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
        wrong[kept] |= tied.any(axis=1) | (made.count[kept] <= self.k)
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
        listed, distances, count, _ = self._table
        # A list is read to its last column, and then made anew.
        turned = (np.arange(size) - (size - count)[:, None]) % size
        listed, distances = (
            np.take_along_axis(each, turned, axis=1) for each in (listed, distances)
        )
        ranks, position = np.zeros((n_users, size)), size - count
        n_listed = np.full(n_users, size)
        members = np.full((n_users, self.k), -1, dtype=np.int64)
        n_members, in_degree = np.zeros(n_users, np.int64), np.zeros(n_users, np.int64)
        due = np.flatnonzero(count == 0)
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


def _exponent(vectors: np.ndarray) -> int:
    return int(np.frexp(max(vectors.max(initial=0), -vectors.min(initial=0)))[1])


def _reached(space: Vectors | Profiles, columns: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """(users,) whether one of ``columns`` may be within a user's radius."""
    found, everyone = np.zeros(len(space), dtype=bool), np.arange(len(space))
    if isinstance(space, Vectors) and not space._euclidean:  # bounds are of users of length one
        lengths = np.sqrt(np.einsum("ud,ud->u", space._vectors, space._vectors))
        radius = np.divide(radius, lengths, out=np.full(len(space), np.inf), where=lengths > 0)
    step = max(1, _NUMBERS // max(1, len(space)))
    for start in range(0, len(columns), step):
        some = columns[start : start + step]
        if isinstance(space, Vectors):  # a lower bound is enough
            values = space._left @ space._right[:, some]
        else:
            values = space.measure(some)(everyone)
        found |= (values <= radius[:, None]).any(axis=1)
    return found
