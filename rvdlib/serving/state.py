"""Who is served at one moment, and how one moment follows from another.

A state is a function of two things alone: the base, a model with the ratings that it came with, and
who has rated what by now. Whatever the order of the updates was, the state is the same: users of the
base in their order, then the others in order of their ids; who rates as in the base has the base's
vector, anybody else the one that the model folds in. Users who are removed are gone, their rows too.
"""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from rvdlib.serving.alarm import Alarm
from rvdlib.serving.arrays import Arrays
from rvdlib.serving.change import Change
from rvdlib.serving.errors import (
    CannotFoldIn,
    UnknownUser,
    UnusableModel,
    UnusableRating,
    shortened,
)
from rvdlib.serving.folding import Folding

MOST_STARS = 2**53  # of a scale that has no end: up to here floats hold every whole number
Changes = Mapping[Any, Mapping[int, float]]  # user id → column → stars


class Names:
    """Raw ids by row or column. The number 3 is not the text "3"."""

    def __init__(self, ids: Iterable, what: str):
        self.ids = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        self.kind = type(self.ids[0]) if self.ids else str
        self.places = {raw: place for place, raw in enumerate(self.ids)}
        if len(self.places) < len(self.ids) or any(type(raw) is not self.kind for raw in self.ids):
            raise UnusableModel(f"{what} ids must be of one type and distinct")

    @property
    def description(self) -> str:
        return f"like {self.ids[0]!r}" if self.ids else "none"

    def fits(self, raw: object) -> bool:
        return type(raw) is self.kind and raw == raw

    def place(self, raw: Any) -> int:
        """Where an id stands, −1 for one that does not."""
        return self.places.get(raw, -1) if self.fits(raw) else -1

    def parse(self, text: str) -> object:
        """The id that a text means, as in an address; the text where it means none."""
        if self.kind is int:
            with suppress(ValueError):
                if str(number := int(text)) == text:
                    return number
        return text


@dataclass(frozen=True, eq=False)
class Base:
    """A model, and the ratings that it came with; ``reference``: of those before any were folded in."""

    users: Names
    items: Names
    arrays: Arrays
    folding: Folding | None = None
    levels: np.ndarray | None = None
    reference: Alarm | None = None

    def __post_init__(self):
        found = len(self.users.ids), len(self.items.ids)
        if found != self.arrays.train.shape:
            raise UnusableModel(
                f"there must be an id for each of {self.arrays.train.shape} users and items, got "
                f"{found}"
            )

    def checked(self, user: object, item: object, stars: Any) -> tuple[Any, int, float]:
        """User id, column and stars of a rating; UnusableRating names what is wrong with it."""
        user, item = _plain(user), _plain(item)
        if not self.users.fits(user):
            kind = self.users.kind.__name__
            raise UnusableRating(
                f"user {shortened(user)} must be of the type {kind}, as ids are: {self.users.description}"
            )
        column = self.items.place(item)
        if column < 0:
            raise UnusableRating(
                f"there is no item {shortened(item)}; ids are {self.items.description}: an item that the model "
                "was not trained with needs a new training"
            )
        number = _plain(stars)
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise UnusableRating(
                f"the rating of {shortened(user)} for {shortened(item)} must be a number, got {shortened(stars)}"
            )
        low, high = (0.0, np.inf) if self.levels is None else (self.levels[0], self.levels[-1])
        # The bound comes first: what no float can hold cannot be compared with one.
        if not (0 < number < MOST_STARS and low <= number <= high):
            raise UnusableRating(
                f"the rating of {shortened(user)} for {shortened(item)} must be from {low:g} to {high:g}, got {shortened(stars)}"
            )
        return user, column, float(np.float32(number))


@dataclass(frozen=True, eq=False)
class State:
    """Everybody who is served now.

    Attributes:
        arrays: their vectors and ratings, by row.
        known: (users,) the row in the base, −1 for who came later; these are the last rows.
        later: ids of the latter, ascending.
    """

    base: Base
    arrays: Arrays
    known: np.ndarray
    later: tuple = ()

    @classmethod
    def first(cls, base: Base) -> "State":
        return cls(base, base.arrays, np.arange(len(base.users.ids)))

    @property
    def n_users(self) -> int:
        return len(self.known)

    def id_of(self, row: int) -> Any:
        at = self.known[row]
        return self.base.users.ids[at] if at >= 0 else self.later[row - self._n_known]

    def find(self, user: object) -> int:
        """The row of a raw id, −1 for one who is not there, or no more."""
        user = _plain(user)
        if not self.base.users.fits(user):
            return -1
        at = self.base.users.place(user)
        return int(self._place_of_base[at] if at >= 0 else self._place_of_later.get(user, -1))

    def row_of(self, user: object) -> int:
        """The same; UnknownUser in place of −1."""
        row = self.find(user)
        if row < 0:
            raise UnknownUser(_plain(user), self.base.users.description)
        return row

    @property
    def _n_known(self) -> int:
        return len(self.known) - len(self.later)

    @cached_property
    def _place_of_base(self) -> np.ndarray:
        places = np.full(len(self.base.users.ids), -1, dtype=np.int64)
        places[self.known[: self._n_known]] = np.arange(self._n_known)
        return places

    @cached_property
    def _place_of_later(self) -> dict:
        return {user: self._n_known + place for place, user in enumerate(self.later)}

    def changed(self, ratings: Changes, gone: Collection[int] = ()) -> tuple["State", Change]:
        """After these rows were removed, and then these ratings came. The state itself stays.

        Raises:
            CannotFoldIn: for ratings of whom the model has no vector.
        """
        places = {user: self.base.users.place(user) for user in ratings}
        names = sorted(places, key=lambda user: (places[user] < 0, places[user], user))
        known = np.array([places[user] for user in names], dtype=np.int64)
        rows = [self.find(user) for user in names]
        rated = [
            _stored(self.arrays.train, -1 if row in gone else row) | dict(ratings[user])
            for user, row in zip(names, rows, strict=True)
        ]
        stays = np.ones(self.n_users, dtype=bool)
        stays[[*gone, *(row for row in rows if row >= 0)]] = False
        stay = np.flatnonzero(stays)
        # In the one order that there is: those of the base, then the others by their ids.
        later = [self.later[row - self._n_known] for row in stay[self.known[stay] < 0]]
        later += [user for user in names if places[user] < 0]
        by_name = sorted(range(len(later)), key=later.__getitem__)
        source = np.concatenate([stay, self.n_users + np.arange(len(names))])
        of_all = np.concatenate([self.known[stay], known])
        of_base, others = np.flatnonzero(of_all >= 0), np.flatnonzero(of_all < 0)
        order = np.concatenate([of_base[np.argsort(of_all[of_base])], others[by_name]])
        change = Change(self.n_users, source[order.astype(np.int64)])
        arrays = self.arrays.after(change, self._came(rated, known))
        now = change.rows(self.known, known)
        return State(self.base, arrays, now, tuple(later[n] for n in by_name)), change

    def _came(self, rated: list[dict[int, float]], known: np.ndarray) -> Arrays:
        """Of those who have rated so; who has rated as in the base has the base's vector."""
        base = self.base.arrays
        train = _csr(rated, base.train.shape[1])
        own = [each[known] for each in (base.offsets, base.factors, base.silence)]
        places = zip(known.tolist(), rated, strict=True)
        same = [at >= 0 and row == _stored(base.train, at) for at, row in places]
        other = np.flatnonzero(~np.array(same, dtype=bool))
        if len(other):
            if self.base.folding is None:
                raise CannotFoldIn(
                    "a vector of this user is not to be had: these are arrays, and no model says how "
                    "to make one; give a victim of rvdlib.models, or make another defender of arrays "
                    "that hold the user"
                )
            found = self.base.folding.encode(train[other], known[other])
            for array, values in zip(own, found, strict=True):
                array[other] = values
        names = ("offsets", "factors", "silence")
        return base.with_rows(**dict(zip(names, own, strict=True)), train=train)


def _plain(raw: Any) -> Any:
    return raw.item() if isinstance(raw, np.generic) else raw


def _stored(matrix: sp.csr_matrix, row: int) -> dict[int, float]:
    """Column → what is stored; nothing in the row −1."""
    own = slice(matrix.indptr[row], matrix.indptr[row + 1]) if row >= 0 else slice(0)
    return dict(zip(matrix.indices[own].tolist(), matrix.data[own].tolist(), strict=True))


def _csr(rows: list[dict[int, float]], n_items: int) -> sp.csr_matrix:
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.array([item for row in rows for item in sorted(row)], dtype=np.int32)
    data = np.array([row[item] for row in rows for item in sorted(row)], dtype=np.float32)
    return sp.csr_matrix((data, indices, indptr), shape=(len(rows), n_items))
