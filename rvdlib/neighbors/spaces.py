"""Where neighbours are looked for: latent vectors, or the sets of items that users rated.

The order is that of distances summed directly in float64, in which equal users tie. A
matrix product only finds out who may be near: for vectors c, centred at the median (which changes
no difference) and rounded to float32, whatever the order of summation,

    ‖c_u‖² + ‖c_v‖² − 2 c_u · c_v − 2κ (‖c_u‖² + ‖c_v‖²)  ≤  ‖x_u − x_v‖²,    κ = 2⁻²³ (d + 16)

since a dot product of n terms is off by less than n 2⁻²⁴ / (1 − n 2⁻²⁴) of the product of the norms
(Higham 2002, section 3.1), of which κ is twice as much and room for the rounding of the vectors.
4κ (‖c_u‖² + ‖c_v‖²) more, and it is an upper bound. Whoever's lower bound is not above the k-th
least upper bound is measured directly. Products likewise, with κ ‖x_v‖ once u has length one.
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from rvdlib.neighbors.kernels import measure_vectors, nearest_profiles, nearest_vectors
from rvdlib.threads import for_blocks

_BLOCK_NUMBERS = 2**21  # distances in memory at once, float32: 8 MiB
_BLOCK_USERS = 32  # that a thread takes at a time
_LARGEST = 40  # exponent of the largest coordinate: float32 holds its square times any gain
_SMALLEST = 2.0**-20  # below this length a bound stops shrinking: safe from underflow
_SMALLEST_SCALE = 2.0**-500  # in place of zero; squared distances over it are finite
_LARGEST_GAIN = 2.0**20  # in bounds; whoever has more has no upper bound

Measure = Callable[[np.ndarray], np.ndarray]


class Vectors:
    """Squared Euclidean distances, or negative products, between rows of float64 vectors.

    ``gain`` multiplies whatever is measured from a neighbour; the ``absent`` are behind all others.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        distance: str,
        gain: np.ndarray | None = None,
        absent: np.ndarray | None = None,
    ):
        # Powers of two change no order, and keep squares from over- and underflow.
        exponent = np.frexp(np.abs(vectors).max(initial=0))[1]
        self._vectors = np.ldexp(vectors, _LARGEST - exponent)
        self._euclidean = distance == "euclidean"
        self._gain = np.ones(len(vectors)) if gain is None else gain
        self._absent = np.zeros(len(vectors), dtype=bool) if absent is None else absent
        self._prepare_bounds()

    def __len__(self) -> int:
        return len(self._vectors)

    def scaled(self, scale: np.ndarray) -> "Vectors":
        """The same with squared distances divided by the neighbour's ``scale``."""
        gain = 1 / np.maximum(scale, _SMALLEST_SCALE)
        return Vectors(self._vectors, "euclidean", gain, self._absent)

    def _prepare_bounds(self):
        """Left (n, d + 2) and right (d + 2, n), float32, whose product is the lower bound."""
        vectors, ones = self._vectors, np.ones(len(self))
        kappa = 2.0**-23 * (vectors.shape[1] + 16)
        if self._euclidean:
            vectors = (vectors - np.median(vectors, axis=0)).astype(np.float32).astype(np.float64)
            squares = np.einsum("ud,ud->u", vectors, vectors)
            slack = 2 * kappa * np.maximum(squares, _SMALLEST**2)
            own = squares - slack
            left, right = [-2 * vectors, ones, own], [vectors, own, ones]
            own_slack = slack
        else:
            lengths = np.sqrt(np.einsum("ud,ud->u", vectors, vectors))
            slack = kappa * np.maximum(lengths, _SMALLEST)
            left, right = [-directions(vectors), ones, 0 * ones], [vectors, -slack, ones]
            own_slack = 0 * ones
        bounded = np.minimum(self._gain, _LARGEST_GAIN)
        self._left = np.column_stack(left).astype(np.float32)
        right = np.column_stack(right) * bounded[:, None]
        self._right = np.ascontiguousarray(right.T, dtype=np.float32)
        # From a lower to an upper bound: reach × (own slack + slack).
        self._slack = (2 * slack).astype(np.float32)
        self._own_slack = (2 * own_slack).astype(np.float32)
        self._reach = np.where(self._gain > bounded, np.inf, bounded).astype(np.float32)

    def nearest(self, users: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of each of ``users`` (B, k), and how far they are."""
        found, values = np.empty((len(users), k), dtype=np.int64), np.empty((len(users), k))
        step = max(1, _BLOCK_NUMBERS // len(self))
        for start in range(0, len(users), step):
            block = slice(start, start + step)
            self._search(users[block], found[block], values[block])
        return found, values

    def measure(self, others: np.ndarray) -> Measure:
        """Users (B,) → (B, len(others)) how far each of the ``others`` is, as :meth:`nearest` has it."""
        columns = np.ascontiguousarray(self._vectors[others].T)
        gain, absent = self._gain[others], self._absent[others]

        def values(users: np.ndarray) -> np.ndarray:
            found = np.zeros((len(users), len(others)))
            measure_vectors(self._vectors[users], columns, self._euclidean, found)
            found *= gain
            found[:, absent] = np.inf
            return found

        return values

    def _search(self, users: np.ndarray, found: np.ndarray, values: np.ndarray):
        lower = self._left[users] @ self._right
        if self._absent.any():
            lower[:, self._absent] = np.inf

        def search(part):
            nearest_vectors(
                users[part],
                lower[part],
                self._reach,
                self._slack,
                self._own_slack,
                self._vectors,
                self._gain,
                self._absent,
                self._euclidean,
                found[part],
                values[part],
            )

        for_blocks(search, len(users), _BLOCK_USERS)


class Profiles:
    """Squared Jaccard distances between the sets of items that users rated; empty ones are last."""

    def __init__(self, ratings: sp.csr_matrix | None, gain: np.ndarray | None = None):
        if ratings is None:
            raise ValueError("profile_overlap needs ratings, the (users, items) training matrix")
        self._rated = sp.csr_matrix(ratings, copy=True)
        self._rated.sum_duplicates()
        self._raters = self._rated.tocsc()
        self._gain = np.ones(len(self)) if gain is None else gain

    def __len__(self) -> int:
        return self._rated.shape[0]

    def scaled(self, scale: np.ndarray) -> "Profiles":
        """The same with squared distances divided by the neighbour's ``scale``."""
        return Profiles(self._rated, 1 / np.maximum(scale, _SMALLEST_SCALE))

    def nearest(self, users: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of each of ``users`` (B, k), and how far they are."""
        found, values = np.empty((len(users), k), dtype=np.int64), np.empty((len(users), k))

        def search(part):
            nearest_profiles(
                users[part],
                self._rated.indptr,
                self._rated.indices,
                self._raters.indptr,
                self._raters.indices,
                self._gain,
                found[part],
                values[part],
            )

        for_blocks(search, len(users), _BLOCK_USERS)
        return found, values

    def measure(self, others: np.ndarray) -> Measure:
        """Users (B,) → (B, len(others)) how far each of the ``others`` is, as :meth:`nearest` has it."""
        ones = np.ones(self._rated.nnz, dtype=np.int32)
        pattern = sp.csr_matrix((ones, self._rated.indices, self._rated.indptr), self._rated.shape)
        sizes, gain, columns = (
            np.diff(pattern.indptr),
            self._gain[others],
            pattern[others].T.tocsr(),
        )

        def values(users: np.ndarray) -> np.ndarray:
            common = (pattern[users] @ columns).toarray()
            unions = sizes[users, None] + sizes[others] - common
            found = (1 - common / np.maximum(unions, 1)) ** 2 * gain
            found[:, sizes[others] == 0] = np.inf
            return found

        return values


def checked_factors(user_factors: np.ndarray | None) -> np.ndarray:
    factors = np.asarray(user_factors, dtype=np.float64)
    if factors.ndim != 2:
        raise ValueError(f"user_factors must be (users, d), got the shape {factors.shape}")
    if not np.isfinite(factors).all():
        raise ValueError("user_factors are not finite: the victim has diverged")
    return factors


def directions(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their lengths; zeros stay. Rows that differ by powers of two come out equal."""
    exponents = np.frexp(np.abs(vectors).max(axis=1, keepdims=True, initial=0))[1]
    vectors = np.ldexp(vectors, -exponents)
    lengths = np.sqrt(np.einsum("ud,ud->u", vectors, vectors))
    return vectors / np.where(lengths > 0, lengths, 1)[:, None]
