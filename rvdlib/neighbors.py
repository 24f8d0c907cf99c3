"""Whom RVD learns from: the k nearest users, exactly, at the price of a float32 matrix product.

Distances (smaller is nearer): ``euclidean``, ``cosine`` and ``inner_product`` between latent
vectors, ``profile_overlap`` between the sets of rated items (one minus the Jaccard index). A user
is never their own neighbour; ties go to the lower row number.

**Exact.** The order is that of distances summed directly in float64, in which equal users tie. A
matrix product only finds out who may be near: for vectors c, centred at the median (which changes
no difference) and rounded to float32, whatever the order of summation,

    ‖c_u‖² + ‖c_v‖² − 2 c_u · c_v − 2κ (‖c_u‖² + ‖c_v‖²)  ≤  ‖x_u − x_v‖²,    κ = 2⁻²³ (d + 16)

since a dot product of n terms is off by less than n 2⁻²⁴ / (1 − n 2⁻²⁴) of the product of the norms
(Higham 2002, section 3.1), of which κ is twice as much and room for the rounding of the vectors.
4κ (‖c_u‖² + ‖c_v‖²) more, and it is an upper bound. Whoever's lower bound is not above the k-th
least upper bound is measured directly. Products likewise, with κ ‖x_v‖ once u has length one.

**Hubs** are users who stand in very many lists, as happens in many dimensions (Radovanović,
Nanopoulos and Ivanović 2010). Who copies a handful of them reaches everybody. Two reductions:

- ``local_scaling``: the order of d(u, v) / √(s_u s_v), s the mean distance to the k nearest
  (Schnitzer, Flexer, Schedl and Widmer 2012). d is the plain distance, Euclidean or Jaccard; for
  ``cosine`` it is the chord between directions, √(2 − 2 cos). Whose k nearest are copies, so that
  s = 0, is near to nobody else.
- ``mutual``: the order of the worse of two ranks, v's among u's nearest and u's among v's, as far
  as the 10k nearest of either reach; then the others, nearest first. Equal ranks go to who is
  nearer. A hub has far more followers than places near the top of its own list. (Of mutual
  proximity, Schnitzer et al. 2012, the form that needs lists and no n × n table.)
"""

from functools import cached_property

import numba
import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices, check_one_of
from rvdlib.threads import for_blocks

DISTANCES = ("euclidean", "cosine", "inner_product", "profile_overlap")
HUBNESS_REDUCTIONS = ("none", "local_scaling", "mutual")
MUTUAL_REACH = 10  # times k: how long the lists are that are held against each other

_BLOCK_NUMBERS = 2**21  # distances in memory at once, float32: 8 MiB
_BLOCK_USERS = 32  # that a thread takes at a time
_LANES = 64  # bounds looked at together
_LARGEST = 40  # exponent of the largest coordinate: float32 holds its square times any gain
_SMALLEST = 2.0**-20  # below this length a bound stops shrinking: safe from underflow
_SMALLEST_SCALE = 2.0**-500  # in place of zero; squared distances over it are finite
_LARGEST_GAIN = 2.0**20  # in bounds; whoever has more has no upper bound


class NeighborSearch:
    """The k nearest among fixed users: prepared once, then finds those of whomever is asked for.

    Everyone may be a neighbour, fakes included: a defender cannot tell them apart.

    Args:
        user_factors: (users, d) latent vectors; not read by ``profile_overlap``.
        k: neighbours of a user.
        distance: one of ``DISTANCES``.
        hubness_reduction: one of ``HUBNESS_REDUCTIONS``; what it needs to know of everybody is
            found at the first call.
        ratings: (users, items) CSR for ``profile_overlap``; what is stored is rated.

    Raises:
        ValueError: for an unknown choice, k not below the number of users, factors that are not
            finite, ``profile_overlap`` without ratings, or ``local_scaling`` of inner products.
    """

    def __init__(
        self,
        user_factors: np.ndarray | None,
        k: int,
        distance: str = "euclidean",
        *,
        hubness_reduction: str = "none",
        ratings: sp.csr_matrix | None = None,
    ):
        check_one_of("distance", distance, DISTANCES)
        check_one_of("hubness_reduction", hubness_reduction, HUBNESS_REDUCTIONS)
        if (distance, hubness_reduction) == ("inner_product", "local_scaling"):
            raise ValueError(
                "hubness_reduction local_scaling needs a distance, and inner_product is none (it "
                "may be negative); take mutual, or distance cosine"
            )
        if distance == "profile_overlap":
            self._space = _Profiles(ratings)
        elif distance == "cosine":
            chords = hubness_reduction == "local_scaling"
            directions = _directions(_checked(user_factors))
            self._space = _Vectors(directions, "euclidean" if chords else "inner_product")
        else:
            self._space = _Vectors(_checked(user_factors), distance)
        if not 1 <= k < len(self._space):
            most = len(self._space) - 1
            raise ValueError(f"k must be between 1 and {most} (the other users), got {k}")
        self.k, self.hubness_reduction = k, hubness_reduction

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """(B, k) int64 row numbers of the neighbours of ``users`` (B,), nearest first.

        Raises:
            ValueError: for ``users`` that are not row numbers.
        """
        users = as_indices("users", users, len(self._space))
        if self.hubness_reduction == "mutual":
            return self._mutual[users]
        return self._searched.nearest(users, self.k)[0]

    @cached_property
    def _searched(self) -> "_Vectors | _Profiles":
        if self.hubness_reduction == "none":
            return self._space
        squares = self._space.nearest(np.arange(len(self._space)), self.k)[1]
        return self._space.scaled(np.sqrt(squares).mean(axis=1))

    @cached_property
    def _mutual(self) -> np.ndarray:
        n_users = len(self._space)
        reach = min(MUTUAL_REACH * self.k, n_users - 1)
        return _mutual_first(self._space.nearest(np.arange(n_users), reach)[0], self.k)


def k_occurrence(neighbors: np.ndarray, n_users: int) -> np.ndarray:
    """N_k (n_users,): in how many of the lists ``neighbors`` (B, k) each user stands."""
    lists = as_indices("neighbors", np.ravel(neighbors), n_users)
    return np.bincount(lists, minlength=n_users)


def hubness_skewness(neighbors: np.ndarray, n_users: int) -> float:
    """Skewness E(N_k − mean)³ / sd³ of the k-occurrences (Radovanović et al. 2010), 0 if all agree.

    0 is no hubs; above 1 few users stand in most lists. ``neighbors`` are everybody's lists.
    """
    deviations = k_occurrence(neighbors, n_users) - np.size(neighbors) / n_users
    spread = np.sqrt(np.mean(deviations**2))
    return float(np.mean((deviations / spread) ** 3)) if spread else 0.0


class _Vectors:
    """Squared Euclidean distances, or negative products, between rows of float64 vectors.

    ``gain`` multiplies whatever is measured from a neighbour.
    """

    def __init__(self, vectors: np.ndarray, distance: str, gain: np.ndarray | None = None):
        # Powers of two change no order, and keep squares from over- and underflow.
        exponent = np.frexp(np.abs(vectors).max(initial=0))[1]
        self._vectors = np.ldexp(vectors, _LARGEST - exponent)
        self._euclidean = distance == "euclidean"
        self._gain = np.ones(len(vectors)) if gain is None else gain
        self._prepare_bounds()

    def __len__(self) -> int:
        return len(self._vectors)

    def scaled(self, scale: np.ndarray) -> "_Vectors":
        """The same with squared distances divided by the neighbour's ``scale``."""
        return _Vectors(self._vectors, "euclidean", 1 / np.maximum(scale, _SMALLEST_SCALE))

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
            left, right = [-_directions(vectors), ones, 0 * ones], [vectors, -slack, ones]
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

    def _search(self, users: np.ndarray, found: np.ndarray, values: np.ndarray):
        lower = self._left[users] @ self._right

        def search(part):
            _nearest_vectors(
                users[part],
                lower[part],
                self._reach,
                self._slack,
                self._own_slack,
                self._vectors,
                self._gain,
                self._euclidean,
                found[part],
                values[part],
            )

        for_blocks(search, len(users), _BLOCK_USERS)


class _Profiles:
    """Squared Jaccard distances between the sets of items that users rated."""

    def __init__(self, ratings: sp.csr_matrix | None, gain: np.ndarray | None = None):
        if ratings is None:
            raise ValueError("profile_overlap needs ratings, the (users, items) training matrix")
        self._rated = sp.csr_matrix(ratings, copy=True)
        self._rated.sum_duplicates()
        self._raters = self._rated.tocsc()
        self._gain = np.ones(len(self)) if gain is None else gain

    def __len__(self) -> int:
        return self._rated.shape[0]

    def scaled(self, scale: np.ndarray) -> "_Profiles":
        """The same with squared distances divided by the neighbour's ``scale``."""
        return _Profiles(self._rated, 1 / np.maximum(scale, _SMALLEST_SCALE))

    def nearest(self, users: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of each of ``users`` (B, k), and how far they are."""
        found, values = np.empty((len(users), k), dtype=np.int64), np.empty((len(users), k))

        def search(part):
            _nearest_profiles(
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


def _checked(user_factors: np.ndarray | None) -> np.ndarray:
    factors = np.asarray(user_factors, dtype=np.float64)
    if factors.ndim != 2:
        raise ValueError(f"user_factors must be (users, d), got the shape {factors.shape}")
    if not np.isfinite(factors).all():
        raise ValueError("user_factors are not finite: the victim has diverged")
    return factors


def _directions(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their lengths; zeros stay. Rows that differ by powers of two come out equal."""
    exponents = np.frexp(np.abs(vectors).max(axis=1, keepdims=True, initial=0))[1]
    vectors = np.ldexp(vectors, -exponents)
    lengths = np.sqrt(np.einsum("ud,ud->u", vectors, vectors))
    return vectors / np.where(lengths > 0, lengths, 1)[:, None]


@numba.njit(cache=True, nogil=True)
def _nearest_vectors(
    users, lower, reach, slack, own_slack, vectors, gain, euclidean, found, values
):  # fmt: skip
    listed, measured = np.empty(len(vectors), dtype=np.int64), np.empty(len(vectors))
    least = np.empty(_hands(found.shape[1]), dtype=np.float32)
    for row in range(len(users)):
        own = vectors[users[row]]
        n_listed = _shortlist(
            lower[row],
            users[row],
            own_slack[users[row]],
            reach,
            slack,
            found.shape[1],
            least,
            listed,
        )
        for place in range(n_listed):
            other, total = vectors[listed[place]], 0.0
            if euclidean:
                for f in range(len(own)):
                    total += (own[f] - other[f]) ** 2
            else:
                for f in range(len(own)):
                    total -= own[f] * other[f]
            measured[place] = total * gain[listed[place]]
        _keep_least(measured[:n_listed], listed, found[row], values[row])


@numba.njit(cache=True, nogil=True)
def _nearest_profiles(
    users, indptr, items, rater_indptr, raters, gain, found, values
):  # fmt: skip
    n_users = len(gain)
    common, distances = np.empty(n_users, dtype=np.int32), np.empty(n_users)
    least, listed = np.empty(_hands(found.shape[1])), np.empty(n_users, dtype=np.int64)
    reach, slack = np.ones(n_users), np.zeros(n_users)
    for row in range(len(users)):
        u = users[row]
        common[:] = 0
        for item in items[indptr[u] : indptr[u + 1]]:
            for v in raters[rater_indptr[item] : rater_indptr[item + 1]]:
                common[v] += 1
        size = indptr[u + 1] - indptr[u]
        for v in range(n_users):
            union = size + indptr[v + 1] - indptr[v] - common[v]
            distances[v] = (1 - common[v] / max(union, 1)) ** 2 * gain[v]
        n_listed = _shortlist(distances, u, 0.0, reach, slack, found.shape[1], least, listed)
        _keep_least(distances[listed[:n_listed]], listed, found[row], values[row])


@numba.njit(cache=True, nogil=True)
def _hands(k):
    """More than k, in whole vector registers."""
    return -(-4 * k // 16) * 16


@numba.njit(cache=True, nogil=True)
def _shortlist(lower, user, own_slack, reach, slack, k, least, listed):
    """Columns, but ``user``, that may be among the k with the least values; returns how many.

    They are written to ``listed``, ascending. The columns are dealt into more than k hands: the
    best of k hands are k users, and whose lower bound is above all their upper bounds is not needed.
    """
    n_columns, hands = len(lower), len(least)
    lower[user] = np.inf
    least[:] = np.inf
    for start in range(0, n_columns, hands):
        dealt = slice(start, start + min(hands, n_columns - start))
        low, far, wide = lower[dealt], reach[dealt], slack[dealt]
        for hand in range(len(low)):
            upper = low[hand] + far[hand] * (own_slack + wide[hand])
            least[hand] = upper if upper < least[hand] else least[hand]
    limit, n_listed = _kth_least(least, k), 0
    for start in range(0, n_columns, _LANES):
        if start + _LANES <= n_columns:
            some = np.int32(0)  # compiled to vector instructions, unlike a bool or an early exit
            block = lower[start : start + _LANES]
            for lane in range(_LANES):
                some |= np.int32(block[lane] <= limit)
            if not some:
                continue
        for column in range(start, min(start + _LANES, n_columns)):
            if lower[column] <= limit and column != user:
                listed[n_listed] = column
                n_listed += 1
    return n_listed


@numba.njit(cache=True, nogil=True)
def _kth_least(values, k):
    """As np.partition would find it, which takes seconds to compile."""
    heap = values[:k].copy()
    heap[:] = np.inf  # the k least so far, the largest of them first
    for value in values:
        if value < heap[0]:
            place, child = 0, 1
            while child < k:
                if child + 1 < k and heap[child + 1] > heap[child]:
                    child += 1
                if not heap[child] > value:
                    break
                heap[place] = heap[child]
                place, child = child, 2 * child + 1
            heap[place] = value
    return heap[0]


@numba.njit(cache=True, nogil=True)
def _keep_least(measured, listed, found, values):
    """The first of both in ascending order, ties as they are listed."""
    order = np.argsort(measured, kind="mergesort")
    for place in range(len(found)):
        found[place], values[place] = listed[order[place]], measured[order[place]]


@numba.njit(cache=True, nogil=True)
def _mutual_first(lists, k):
    """The k of each list with the least worse rank: theirs in it, or its owner's in theirs."""
    n_users, reach = lists.shape
    found, order = np.empty((n_users, k), dtype=np.int64), np.empty(reach, dtype=np.int64)
    for u in range(n_users):
        for rank in range(reach):
            returned = 0
            for w in lists[lists[u, rank]]:
                if w == u:
                    break
                returned += 1
            order[rank] = max(rank, returned) * reach + rank
        order.sort()
        for place in range(k):
            found[u, place] = lists[u, order[place] % reach]
    return found
