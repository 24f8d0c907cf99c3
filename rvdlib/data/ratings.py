"""The one data type: sparse ratings, immutable, with their raw ids, scale and hash."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from rvdlib.data.ids import Ids


class HeldOut(NamedTuple):
    """Ratings kept out of training, one row each: user and item indices, rating in stars."""

    users: np.ndarray
    items: np.ndarray
    stars: np.ndarray


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings of users for items.

    Attributes:
        name: what tables call the data set.
        matrix: (users, items) CSR of stars, float32, sorted indices, arrays write-protected.
        user_ids, item_ids: raw ids, by row and by column.
        levels: the rating scale, ascending: every value that a rating may take.
        sha256: hash of the canonical form (:func:`rvdlib.data.readers.canonical_bytes`).
        source: where it was read from, for people.
    """

    name: str
    matrix: sp.csr_matrix
    user_ids: np.ndarray
    item_ids: np.ndarray
    levels: np.ndarray
    sha256: str
    source: str = ""

    @classmethod
    def from_triples(
        cls,
        users: Sequence,
        items: Sequence,
        stars: Sequence[float],
        *,
        name: str,
        levels: Sequence[float] | None = None,
        sha256: str = "",
        source: str = "",
    ) -> "Ratings":
        """Build from parallel columns; memory grows with the rows, never with the largest id.

        ``levels`` defaults to the distinct ratings present. Repeated pairs, and ratings that are
        not finite and above 0 (0 is how "no rating" is stored), are the reader's business and
        raise ``ValueError`` here.
        """
        rows, user_ids = pd.factorize(np.asarray(users), sort=True)
        columns, item_ids = pd.factorize(np.asarray(items), sort=True)
        values = np.asarray(stars, dtype=np.float32)
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{name}: ratings must be finite and above 0")
        matrix = sp.csr_matrix(
            (values, (rows, columns)), shape=(len(user_ids), len(item_ids)), dtype=np.float32
        )
        if matrix.nnz != len(values):
            raise ValueError(f"{name}: {len(values) - matrix.nnz} (user, item) pairs are repeated")
        matrix.sort_indices()
        levels = np.unique(values if levels is None else np.asarray(levels, dtype=np.float32))
        for array in (matrix.data, matrix.indices, matrix.indptr, user_ids, item_ids, levels):
            array.setflags(write=False)
        return cls(name, matrix, user_ids, item_ids, levels, sha256, source)

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


def round_to_levels(stars: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The nearest value of the rating scale, so clipped to its range; halves go up."""
    middles = (levels[1:] + levels[:-1]) / 2
    return levels[np.searchsorted(middles, stars, side="right")]
