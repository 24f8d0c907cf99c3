"""The one data type: sparse ratings, immutable, with their raw ids, scale and hash."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from rvdlib.data.ids import Ids


class WriteProtected:
    """What a dataclass holds cannot be written to; nor can its copies, pickled or not.

    Arrays and the arrays of CSR matrices are protected, also those inside of tuples.
    """

    def __post_init__(self):
        _write_protect(vars(self).values())

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        _write_protect(state.values())


def _write_protect(values: Iterable) -> None:
    for value in values:
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        elif sp.issparse(value):
            _write_protect([value.data, value.indices, value.indptr])
        elif isinstance(value, tuple):
            _write_protect(value)


class HeldOut(NamedTuple):
    """Ratings kept out of training, one row each: user and item indices, rating in stars."""

    users: np.ndarray
    items: np.ndarray
    stars: np.ndarray


@dataclass(frozen=True, eq=False)
class Ratings(WriteProtected):
    """Ratings of users for items.

    Attributes:
        name: what tables call the data set.
        matrix: (users, items) CSR of stars, float32, sorted indices, arrays write-protected.
        user_ids, item_ids: raw ids, by row and by column.
        levels: the rating scale, ascending: every value that a rating may take.
        sha256: hash of the canonical form (:func:`rvdlib.data.readers.canonical_bytes`).
        source: where it was read from, for people.
        times: (ratings,) when each of ``matrix.data`` was made, in any one unit; None: not known.
    """

    name: str
    matrix: sp.csr_matrix
    user_ids: np.ndarray
    item_ids: np.ndarray
    levels: np.ndarray
    sha256: str
    source: str = ""
    times: np.ndarray | None = None

    @classmethod
    def from_triples(
        cls,
        users: Sequence | np.ndarray,
        items: Sequence | np.ndarray,
        stars: Sequence[float] | np.ndarray,
        *,
        name: str,
        levels: Sequence[float] | np.ndarray | None = None,
        sha256: str = "",
        source: str = "",
        times: np.ndarray | None = None,
    ) -> "Ratings":
        """Build from parallel columns; memory grows with the rows, never with the largest id.

        ``levels`` defaults to the distinct ratings present. Ids of a column are all of one type.

        Raises:
            ValueError: for columns of unequal lengths or without rows, ids that are missing (None,
                NaN, NaT) or of mixed types, repeated pairs, and ratings that are not finite and
                above 0 (0 is how "no rating" is stored).
        """
        lengths = {"users": len(users), "items": len(items), "stars": len(stars)}
        if len(set(lengths.values())) > 1 or not len(users):
            raise ValueError(f"{name}: one rating or more is needed, a row each, got {lengths}")
        rows, user_ids = pd.factorize(_ids(users, f"{name}: users"), sort=True)
        columns, item_ids = pd.factorize(_ids(items, f"{name}: items"), sort=True)
        values = np.asarray(stars, dtype=np.float32)
        if values.shape != (len(users),) or not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{name}: ratings must be one column, finite and above 0")
        matrix = sp.csr_matrix(
            (values, (rows, columns)), shape=(len(user_ids), len(item_ids)), dtype=np.float32
        )
        if matrix.nnz != len(values):
            raise ValueError(f"{name}: {len(values) - matrix.nnz} (user, item) pairs are repeated")
        matrix.sort_indices()
        if (
            times is not None
        ):  # stored zeros stay, so that these are the same cells in the same order
            when = np.asarray(times, dtype=np.float64)
            times = sp.csr_matrix((when, (rows, columns)), shape=matrix.shape).sorted_indices().data
        levels = np.unique(values if levels is None else np.asarray(levels, dtype=np.float32))
        if not (len(levels) and 0 < levels[0] <= values.min() and values.max() <= levels[-1]):
            raise ValueError(f"{name}: levels must be above 0 and span the ratings, got {levels}")
        return cls(name, matrix, user_ids, item_ids, levels, sha256, source, times)

    def user_index(self, raw: object) -> int | np.ndarray:
        """The row of a raw user id; of a list, tuple, array or Series of ids the rows (B,).

        Raises:
            ValueError: for an id that there is not, with what may have been meant. The text "3" is
                not the number 3.
        """
        return self._users.index(raw)

    def item_index(self, raw: object) -> int | np.ndarray:
        """The column of a raw item id, or of several, as :meth:`user_index` has it for users."""
        return self._items.index(raw)

    @cached_property
    def _users(self) -> Ids:
        return Ids(self.name, "user", self.user_ids)

    @cached_property
    def _items(self) -> Ids:
        return Ids(self.name, "item", self.item_ids)

    @property
    def n_users(self) -> int:
        return self.matrix.shape[0]

    @property
    def n_items(self) -> int:
        return self.matrix.shape[1]

    @property
    def n_ratings(self) -> int:
        return self.matrix.nnz

    @property
    def density(self) -> float:
        return self.n_ratings / (self.n_users * self.n_items)

    @property
    def max_rating(self) -> float:
        """The top of the scale, in stars; models work on ratings divided by it."""
        return float(self.levels[-1])

    @property
    def mean_profile_size(self) -> int:
        """⌊ratings / users⌋: the protocol's filler size."""
        return self.n_ratings // self.n_users

    def __repr__(self) -> str:
        return (
            f"Ratings({self.name!r}, {self.n_users:,} users × {self.n_items:,} items, "
            f"{self.n_ratings:,} ratings, {self.density:.2%} dense)"
        )


def _ids(raw: Sequence | np.ndarray, what: str) -> np.ndarray:
    """Raw ids as an array; NumPy alone would make text of what is missing or of another type."""
    ids = np.asarray(raw)
    if ids.ndim != 1:
        raise ValueError(f"{what}: ids must be one column, got the shape {ids.shape}")
    missing = np.flatnonzero(pd.isna(pd.Series(raw)))
    if len(missing):
        raise ValueError(f"{what}: {len(missing)} ids are missing, the first in row {missing[0]}")
    if not isinstance(raw, np.ndarray) or raw.dtype.hasobject:
        kinds = {type(_without_numpy(each)) for each in raw}
        if len(kinds) > 1:
            names = sorted(kind.__name__ for kind in kinds)
            raise ValueError(f"{what}: ids must all be of one type, got {', '.join(names)}")
        if ids.dtype.kind in "USf" and kinds <= {str, bytes, int}:
            # NumPy drops a text's last NULs, and makes floats of integers beyond 64 bits.
            ids = np.array([*map(_without_numpy, raw), None], dtype=object)[:-1]
    return ids


def _without_numpy(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def round_to_levels(stars: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The nearest value of the rating scale, so clipped to its range; halves go up."""
    middles = (levels[1:] + levels[:-1]) / 2
    return levels[np.searchsorted(middles, stars, side="right")]
