"""Exact neighbours that follow an update: the same lists as a search made anew, for less.

A user's k nearest are others only if somebody who came, changed or left is, or was, no further than the
k-th of them. So each search keeps the lists that it has found and how far the k-th is, compares the few
with everybody by the lower bounds of :mod:`rvdlib.neighbors.spaces`, and gives up whatever may no
longer hold.

Neighbours with a limit on in-degrees are in :mod:`rvdlib.serving.matching`.
"""

import copy
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices
from rvdlib.neighbors import NeighborSearch
from rvdlib.neighbors.spaces import Profiles, Vectors, checked_factors, directions
from rvdlib.serving.change import Change

MOST = 8  # if more than one in so many has changed, everything is made anew
_NUMBERS = 2**22  # bounds in memory at once
_BY_ROW = ("_vectors", "_left", "_gain", "_absent", "_slack", "_own_slack", "_reach")


class FollowingSearch(NeighborSearch):
    """The k nearest, of nearest neighbours with ``hubness_reduction`` none or local_scaling."""

    _space: Any

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
        rows = self._lists[users].astype(np.int64)
        if len(missing := np.flatnonzero(rows[:, 0] < 0)):
            some = users[missing]
            rows[missing], values = self._searched.nearest(some, self.k)
            self._radius[some] = values[:, -1]
            self._lists[some, 1:] = rows[missing, 1:]
            self._lists[some, 0] = rows[
                missing, 0
            ]  # the last, for it says that the others are there
        return rows

    @cached_property
    def _lists(self) -> np.ndarray:
        """(users, k) the neighbours of those who have been asked for, −1 of others."""
        return np.full((len(self._space), self.k), -1, dtype=np.int32)

    def after(
        self, change: Change, factors: np.ndarray | None, train: sp.csr_matrix
    ) -> tuple[Self, np.ndarray] | None:
        """The search of everybody now, and (users,) whose neighbours may be others.

        None: it has to be made anew.
        """
        moved = self._moved(change, factors, train)
        if moved is None:
            return None
        made, wide = moved
        made._radius = wide.rows(self._radius, np.inf)
        lost = wide.rows(_reached(self._searched, wide.left, self._radius), True)
        lost |= _reached(made._searched, wide.came, made._radius)
        made._lists = wide.rows(np.append(change.now, -1)[self._lists], -1).astype(np.int32)
        made._lists[lost] = -1
        return made, lost

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
        columns = [(space if own else came)._right[:, run] for own, run in change.runs]
        made._right = np.concatenate(columns, axis=1)
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
