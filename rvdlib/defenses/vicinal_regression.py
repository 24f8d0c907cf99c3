"""The vicinal correction in closed form, for any arrays that a linear decoder turns into scores.

    s_vi = a_v + h_v · w_i + b_i

Freeze the users and let item i's decoder row move by Δ = (Δw, Δb) to fit the k users of the
vicinity N, held to where training left it:

    min_Δ  Σ_{v ∈ N} c_vi (y_vi − s_vi − z_v · Δ)² + λ ‖Δ‖²,        z_v = (h_v, 1)

with c_vi = 1 and y_vi the rating where v rated i, c_vi = ω and y_vi = y⁰_v elsewhere. That is
Gaussian process regression on the vicinity's residuals with the kernel z_v · z_x, and the user's
score moves by κᵀ (K + λ C⁻¹)⁻¹ (y_i − s_Ni): K = Z Zᵀ over N, κ = Z z_u, C = diag(c_vi).

A Gaussian process may hear its evidence in parts, and here only the second depends on the item:

1. Silence. As if nobody had rated anything: y⁰ everywhere, with weight ω. Each x ∈ N ∪ {u} becomes
   another user of the same decoder,

       R = (ωK + λI)⁻¹ Z Z_xᵀ,   z̃_x = z_x − ω R_xᵀ Z,   ã_x = a_x − ω R_xᵀ (a − y⁰)_N

   so u's scores for the whole catalogue are one matrix product, and λR is the covariance that is
   left between N and x.
2. Ratings. Where a set O of neighbours rated i, their cells add the rest of their weight, 1 − ω:

       s_ui += R_Ouᵀ (I + (1 − ω) R_OO)⁻¹ (r_O − ω y⁰_O − (1 − ω) s̃_Oi),   s̃_oi = ã_o + z̃_o · (w_i, b_i)

No system here has an eigenvalue below 1 (or λ), whatever the rank of K: neighbours may be
identical or more than d + 1, and ω may be 0 (the paper's loss: step 1 changes nothing) or 1
(step 2 uses no score). K itself is rounded, to about 10⁻¹⁶ max ‖z‖², and that must stay small
beside λ: hence a least λ.
"""

import numba
import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices, check_csr
from rvdlib.threads import for_blocks

_BLOCK_NUMBERS = 2**17  # float64 in the working set of a block of users: 1 MiB, for the cache
_BLOCKS_AT_ONCE = 16  # for the threads to share
_PRODUCT_USERS = 128  # at least, in one product with the catalogue: fewer run below its speed
_LEAST_PULL = 1e-8  # λ over max ‖z‖²: scores are then off by about 10⁻⁶ of the largest at worst
_LANES = 8  # items whose systems are solved side by side: their sums do not wait for each other


class VicinalRegression:
    """The closed form over fixed arrays: prepared once, then scores whomever is asked for.

    Everything is in the unit of ``ratings``. Small systems are solved in float64; products with
    the catalogue are done in the dtype of the factors, which is that of the result.

    Args:
        user_factors: (users, d) h; ``offsets`` (users,) a.
        item_factors: (items, d) w; ``item_bias`` (items,) b.
        ratings: (users, items) CSR; what is stored is observed, zeros too.
        unobserved_target: (users,) y⁰, what an unobserved cell is taken to be.
        unobserved_weight: ω in [0, 1].
        proximal_weight: λ, at least 10⁻⁸ (1 + max ‖h_v‖²); the larger, the nearer to the
            undefended scores.

    Raises:
        ValueError: for weights or shapes out of range, numbers that are not finite, or repeated
            cells in ``ratings``.
    """

    def __init__(
        self,
        *,
        user_factors: np.ndarray,
        offsets: np.ndarray,
        item_factors: np.ndarray,
        item_bias: np.ndarray,
        ratings: sp.csr_matrix,
        unobserved_target: np.ndarray,
        unobserved_weight: float,
        proximal_weight: float,
    ):
        arrays = {
            "user_factors": np.asarray(user_factors),
            "offsets": np.asarray(offsets, dtype=np.float64),
            "item_factors": np.asarray(item_factors),
            "item_bias": np.asarray(item_bias),
            "unobserved_target": np.asarray(unobserved_target, dtype=np.float64),
        }
        _check(arrays, ratings, unobserved_weight, proximal_weight)
        dtype = np.result_type(arrays["user_factors"], arrays["item_factors"], np.float32)
        factors = arrays["user_factors"].astype(np.float64)
        self._latent = np.column_stack([factors, np.ones(len(factors))])
        self._offsets, self._silence = arrays["offsets"], arrays["unobserved_target"]
        self._decoder = np.column_stack([arrays["item_factors"], arrays["item_bias"]]).astype(dtype)
        self._ratings = ratings
        self._omega, self._lambda = float(unobserved_weight), float(proximal_weight)

    def score(
        self, users: np.ndarray, vicinities: np.ndarray, *, return_variance: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Scores (B, items) after each user's decoder was fitted to the vicinity, exactly.

        Args:
            users: (B,) row numbers.
            vicinities: (B, k) row numbers of the users whose ratings count for each of ``users``.
            return_variance: also return the posterior variance (B, items) of the scores, in units
                of the noise variance of one rating.

        Raises:
            ValueError: for row numbers out of range, or that are not integers.
        """
        users = as_indices("users", users, len(self._latent))
        vicinities = as_indices("vicinities", vicinities, len(self._latent), ndim=2)
        if len(users) != len(vicinities):
            raise ValueError(
                f"vicinities must have a row for each of the {len(users)} users, got "
                f"{len(vicinities)}"
            )
        shape = len(users), len(self._decoder)
        scores = np.empty(shape, dtype=self._decoder.dtype)
        variance = np.empty(shape if return_variance else (0, shape[1]), dtype=scores.dtype)
        members, size = vicinities.shape[1] + 1, self._latent.shape[1]
        # Beside the scores, memory must not grow with the users.
        step = max(1, _BLOCK_NUMBERS // (members * (members + size)))
        for start in range(0, len(users), _BLOCKS_AT_ONCE * step):
            part = slice(start, start + _BLOCKS_AT_ONCE * step)
            self._fill(users[part], vicinities[part], step, scores[part], variance[part])
        np.maximum(variance, 0, out=variance)  # rounding may leave it a hair below
        return (scores, variance) if return_variance else scores

    def _fill(self, users, vicinities, step, scores, variance):
        """Scores, and the variance where it has rows, of users in blocks of ``step``."""
        rows = np.column_stack([vicinities, users])
        members, size = rows.shape[1], self._latent.shape[1]
        gain = np.empty((len(users), members - 1, members))
        factors = np.empty((len(users), members, size), dtype=scores.dtype)
        constants = np.empty((len(users), members))

        def hear_silence(block):
            latent = self._latent[rows[block]]
            gain[block], heard = _hear_silence(latent, self._omega, self._lambda)
            factors[block] = heard
            surplus = (self._offsets - self._silence)[vicinities[block]]
            correction = np.einsum("bvx,bv->bx", gain[block], surplus)
            constants[block] = self._offsets[rows[block]] - self._omega * correction
            if len(variance):
                left = np.einsum("bd,bd->b", latent[:, -1], heard[:, -1])
                variance[block] = left[:, None] / self._lambda

        def decode(block):
            np.matmul(factors[block, -1], self._decoder.T, out=scores[block])

        def hear_ratings(block):
            _hear_ratings(
                vicinities[block],
                self._ratings.indptr,
                self._ratings.indices,
                self._ratings.data,
                self._silence,
                self._omega,
                gain[block],
                factors[block],
                constants[block],
                self._decoder,
                scores[block],
                variance[block],
            )

        for_blocks(hear_silence, len(users), step)
        for_blocks(decode, len(users), max(step, _PRODUCT_USERS))
        for_blocks(hear_ratings, len(users), step)


def _hear_silence(
    latent: np.ndarray, unobserved_weight: float, proximal_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """R (B, k, k + 1) and z̃ (B, k + 1, d + 1) from z (B, k + 1, d + 1), the user's own row last.

    The system has k rows, or d + 1 where that is fewer: z̃ = λ (ω ZᵀZ + λI)⁻¹ z, R = Z z̃ᵀ / λ.
    """
    vicinity = latent[:, :-1]
    size = min(vicinity.shape[1:])
    ridge = proximal_weight * np.eye(size)
    if unobserved_weight == 0:
        return vicinity @ latent.swapaxes(1, 2) / proximal_weight, latent
    if vicinity.shape[1] > size:
        gram = vicinity.swapaxes(1, 2) @ vicinity
        factors = np.linalg.solve(
            unobserved_weight * gram + ridge, proximal_weight * latent.swapaxes(1, 2)
        ).swapaxes(1, 2)
        return vicinity @ factors.swapaxes(1, 2) / proximal_weight, factors
    kernel = vicinity @ latent.swapaxes(1, 2)
    gain = np.linalg.solve(unobserved_weight * kernel[:, :, :-1] + ridge, kernel)
    return gain, latent - unobserved_weight * gain.swapaxes(1, 2) @ vicinity


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _hear_ratings(
    vicinities, indptr, indices, values, silence, omega, gain, factors, constants, decoder,
    scores, variance,
):  # fmt: skip
    """Step 2, added to ``scores`` (and taken from ``variance``, where it has rows) in place.

    The items are sorted by how many neighbours rated them and solved in groups of that order, one
    item a lane. Lanes with fewer raters than the last are filled up with one who says nothing. Where
    there are more raters than lanes, a system has work enough of its own.
    """
    n_items, size = decoder.shape
    k, rest = vicinities.shape[1], 1 - omega
    raters_of = np.zeros(n_items, dtype=np.int32)
    free = np.empty(n_items, dtype=np.int32)  # where an item's next rater is written
    touched, order = np.empty(n_items + 1, dtype=np.int32), np.empty(n_items, dtype=np.int32)
    kernel, own = np.zeros((k + 1, k + 1)), np.zeros(k + 1)
    raters, residuals = np.empty(0, dtype=np.int32), np.empty(0)
    lower, scaled = np.empty((_LANES, _LANES, _LANES)), np.empty((_LANES, _LANES))
    x, y = np.empty((_LANES, _LANES)), np.empty((_LANES, _LANES))
    inverse = np.empty((_LANES, _LANES))
    moved, heard = np.empty(_LANES), np.empty(_LANES)
    system, pivots = np.empty((k, k + 2)), np.empty(k)
    for b in range(len(vicinities)):
        n_touched = 0
        for v in vicinities[b]:
            for position in range(indptr[v], indptr[v + 1]):
                item = np.uintp(indices[position])  # an index that is never negative
                touched[n_touched] = item
                n_touched += raters_of[item] == 0
                raters_of[item] += 1
        length = _place(touched[:n_touched], raters_of, k, order, free)
        if length > len(raters):
            raters, residuals = np.empty(2 * length, dtype=np.int32), np.empty(2 * length)
        raters[:length], residuals[:length] = k, 0
        for o in range(k):
            v = vicinities[b, o]
            shift = omega * silence[v] + rest * constants[b, o]
            for position in range(indptr[v], indptr[v + 1]):
                item = np.uintp(indices[position])
                product = decoder.dtype.type(0)
                for f in range(size):
                    product += factors[b, o, f] * decoder[item, f]
                raters[free[item]] = o
                residuals[free[item]] = values[position] - shift - rest * product
                free[item] += _LANES
        own_constant = decoder.dtype.type(constants[b, k])
        for item in range(n_items):
            scores[b, item] += own_constant
        kernel[:k, :k], own[:k] = rest * gain[b, :, :k], gain[b, :, k]
        start = 0
        for first in range(0, n_touched, _LANES):
            last = min(first + _LANES, n_touched)
            n_raters = raters_of[order[last - 1]]
            if n_raters <= _LANES:
                _solve_group(
                    kernel, own, raters, residuals, start, n_raters,
                    lower, scaled, inverse, x, y, moved, heard,
                )  # fmt: skip
            else:
                for lane in range(last - first):
                    moved[lane], heard[lane] = _solve_large(
                        kernel, own, raters, residuals, start + lane,
                        raters_of[order[first + lane]], system, pivots,
                    )  # fmt: skip
            start += n_raters * _LANES
            for place in range(first, last):
                scores[b, order[place]] += moved[place - first]
                if len(variance):
                    variance[b, order[place]] -= rest * heard[place - first]
        for item in touched[:n_touched]:
            raters_of[item] = 0


@numba.njit(cache=True, nogil=True)
def _place(touched, raters_of, most, order, free):
    """Sort items by raters, fewest first, into ``order``, and give each its lane.

    Returns how many numbers the groups hold, each one (raters of its last item, lanes).
    """
    ends = np.zeros(most + 1, dtype=np.int64)
    for item in touched:
        ends[raters_of[item]] += 1
    ends = np.cumsum(ends)
    for item in touched[::-1]:
        ends[raters_of[item]] -= 1
        order[ends[raters_of[item]]] = item
    start = 0
    for first in range(0, len(touched), _LANES):
        end = min(first + _LANES, len(touched))
        for lane in range(end - first):
            free[order[first + lane]] = start + lane
        start += raters_of[order[end - 1]] * _LANES
    return start


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _solve_group(
    kernel, own, raters, residuals, start, n_raters, lower, scaled, inverse, x, y, moved, heard
):
    """R_Ouᵀ (I + kernel_OO)⁻¹ of the residuals and of R_Ou, each lane into ``moved``, ``heard``.

    I + kernel_OO = L D Lᵀ, row by row, with x = L⁻¹ R_Ou and y = L⁻¹ residuals.
    """
    # Views would be counted references, and those cost more than a small system.
    for lane in range(_LANES):
        moved[lane] = heard[lane] = 0
    for c in range(n_raters):
        row = start + c * _LANES
        for lane in range(_LANES):
            o = raters[row + lane]
            x[c, lane], y[c, lane] = own[o], residuals[row + lane]
            inverse[c, lane] = 1 + kernel[o, o]
        for p in range(c):
            for lane in range(_LANES):
                scaled[p, lane] = kernel[raters[row + lane], raters[start + p * _LANES + lane]]
            for q in range(p):
                for lane in range(_LANES):
                    scaled[p, lane] -= scaled[q, lane] * lower[p, q, lane]
            for lane in range(_LANES):
                entry = scaled[p, lane] * inverse[p, lane]
                lower[c, p, lane] = entry
                inverse[c, lane] -= entry * scaled[p, lane]
                x[c, lane] -= entry * x[p, lane]
                y[c, lane] -= entry * y[p, lane]
        for lane in range(_LANES):
            inverse[c, lane] = 1 / inverse[c, lane]
            weighted = x[c, lane] * inverse[c, lane]
            moved[lane] += weighted * y[c, lane]
            heard[lane] += weighted * x[c, lane]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _solve_large(kernel, own, raters, residuals, start, n_raters, system, inverse):
    """The same for the item whose lane begins at ``start``, its upper half row by row.

    R_Ou and the residuals are two columns more. Rows above are taken from one four at a time, or it
    would be written as often as they are read.
    """
    n, moved, heard = np.uintp(n_raters), 0.0, 0.0
    for c in range(n):
        o = np.uintp(raters[start + c * _LANES])
        for q in range(c, n):
            system[c, q] = kernel[o, np.uintp(raters[start + q * _LANES])]
        system[c, c] += 1
        system[c, n], system[c, n + 1] = own[o], residuals[start + c * _LANES]
        for p in range(0, c - c % 4, 4):
            f0, f1 = system[p, c] * inverse[p], system[p + 1, c] * inverse[p + 1]
            f2, f3 = system[p + 2, c] * inverse[p + 2], system[p + 3, c] * inverse[p + 3]
            for q in range(c, n + 2):
                system[c, q] -= (
                    f0 * system[p, q]
                    + f1 * system[p + 1, q]
                    + f2 * system[p + 2, q]
                    + f3 * system[p + 3, q]
                )
        for p in range(c - c % 4, c):
            factor = system[p, c] * inverse[p]
            for q in range(c, n + 2):
                system[c, q] -= factor * system[p, q]
        inverse[c] = 1 / system[c, c]
        weighted = system[c, n] * inverse[c]
        moved += weighted * system[c, n + 1]
        heard += weighted * system[c, n]
    return moved, heard


def _check(arrays, ratings, unobserved_weight, proximal_weight):
    if not 0 <= unobserved_weight <= 1:
        raise ValueError(f"unobserved_weight must be between 0 and 1, got {unobserved_weight}")
    check_csr("ratings", ratings)
    n_users, n_items = ratings.shape
    size = arrays["user_factors"].shape[-1] if arrays["user_factors"].ndim else 0
    expected = {
        "user_factors": (n_users, size),
        "offsets": (n_users,),
        "unobserved_target": (n_users,),
        "item_factors": (n_items, size),
        "item_bias": (n_items,),
    }
    for name, array in arrays.items():
        if array.shape != expected[name]:
            raise ValueError(f"{name} must have the shape {expected[name]}, got {array.shape}")
    for name, numbers in {**arrays, "ratings": ratings.data}.items():
        if not np.isfinite(numbers).all():
            raise ValueError(f"{name} must be finite: there is a NaN or an infinity")
    longest = (1 + (arrays["user_factors"].astype(np.float64) ** 2).sum(1)).max(initial=1)
    if not _LEAST_PULL * longest <= proximal_weight < np.inf:
        raise ValueError(
            f"proximal_weight must be finite and at least {_LEAST_PULL * longest:.3g} for these "
            f"user_factors, got {proximal_weight}: below, rounding decides"
        )
    if not (ratings.has_canonical_format or ratings.sorted_indices().has_canonical_format):
        raise ValueError("ratings hold the same cell twice; sum_duplicates() would add them up")
