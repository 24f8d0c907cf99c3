"""From one version to the next: whose row is as before, and how arrays by row follow.

What is computed for everybody is computed anew for those who came or have changed, and copied for the
others: :meth:`Change.spliced` puts an object of the former alone into one of everybody before.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Change:
    """Where each row of now comes from.

    Attributes:
        n_before: rows before.
        source: (users,) the row before of who is as before; ``n_before`` + j: the j-th of those who
            came or have changed, in the order of rows.
    """

    n_before: int
    source: np.ndarray

    @cached_property
    def came(self) -> np.ndarray:
        """Rows now of those who came or have changed."""
        return np.flatnonzero(self.source >= self.n_before)

    @cached_property
    def now(self) -> np.ndarray:
        """(users before,) the row now; −1 for who has changed or is gone."""
        found = np.full(self.n_before + len(self.came), -1)
        found[self.source] = np.arange(len(self.source))
        return found[: self.n_before]

    @property
    def left(self) -> np.ndarray:
        """Rows before of those who have changed or are gone."""
        return np.flatnonzero(self.now < 0)

    def and_of(self, rows: np.ndarray) -> "Change":
        """The same, as if those who are in ``rows`` now had changed too."""
        source, come = self.source.copy(), np.union1d(self.came, rows)
        source[come] = self.n_before + np.arange(len(come))
        return Change(self.n_before, source)

    @cached_property
    def runs(self) -> list[tuple[bool, slice]]:
        """Whether they come from before, and which: rows that stand beside each other there too."""
        goes_on = (np.diff(self.source, prepend=-2) == 1) & (self.source != self.n_before)
        starts = np.flatnonzero(~goes_on)
        lengths = np.diff(starts, append=len(self.source))
        runs = []
        for first, length in zip(self.source[starts].tolist(), lengths.tolist(), strict=True):
            own = first < self.n_before
            start = first if own else first - self.n_before
            runs.append((own, slice(start, start + length)))
        return runs

    def rows(self, before: np.ndarray, came: Any) -> np.ndarray:
        """By row now, from (users before, …) and what those who came have; or one number for all."""
        came = np.broadcast_to(came, (len(self.came), *before.shape[1:]))
        parts = [(before if own else came)[run] for own, run in self.runs]
        return np.concatenate([before[:0], *parts], dtype=before.dtype, casting="unsafe")

    def csr(self, before: sp.csr_matrix, came: sp.csr_matrix) -> sp.csr_matrix:
        """The same of matrices."""
        lengths = self.rows(np.diff(before.indptr), np.diff(came.indptr))
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(before.indptr.dtype)
        parts: list[list[np.ndarray]] = [[before.data[:0]], [before.indices[:0]]]
        for own, run in self.runs:
            matrix = before if own else came
            cells = slice(matrix.indptr[run.start], matrix.indptr[run.stop])
            for found, values in zip(parts, (matrix.data, matrix.indices), strict=True):
                found.append(values[cells])
        data, indices = map(np.concatenate, parts)
        made = sp.csr_matrix((data, indices, indptr), shape=(len(self.source), before.shape[1]))
        made.has_canonical_format = before.has_canonical_format and came.has_canonical_format
        return made

    def spliced(self, before: T, came: T, names: Iterable[str]) -> T:
        """A copy of ``before`` whose arrays of these names are by row now."""
        made = copy.copy(before)
        for name in names:
            object.__setattr__(made, name, self.rows(getattr(before, name), getattr(came, name)))
        return made
