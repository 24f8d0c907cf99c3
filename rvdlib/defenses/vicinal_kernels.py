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
(step 2 uses no score).
"""

import numba
import numpy as np
import scipy.sparse as sp

_BLOCK_NUMBERS = 2**17  # float64 in the working set of a block of users: 1 MiB, for the cache


def vicinal_scores(
    users: np.ndarray,
    vicinities: np.ndarray,
    *,
    user_factors: np.ndarray,
    offsets: np.ndarray,
    item_factors: np.ndarray,
    item_bias: np.ndarray,
    ratings: sp.csr_matrix,
    unobserved_target: np.ndarray,
    unobserved_weight: float,
    proximal_weight: float,
    return_variance: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Scores (B, items) after each user's decoder was fitted to her vicinity, exactly.

    Everything is in the unit of ``ratings``. Small systems are solved in float64; products with
    the catalogue are done in the dtype of the factors, which is that of the result.

    Args:
        users: (B,) row numbers.
        vicinities: (B, k) row numbers of the users whose ratings count for each of ``users``.
        user_factors: (users, d) h; ``offsets`` (users,) a.
        item_factors: (items, d) w; ``item_bias`` (items,) b.
        ratings: (users, items) CSR; what is stored is observed, zeros too.
        unobserved_target: (users,) y⁰, what an unobserved cell is taken to be.
        unobserved_weight: ω in [0, 1].
        proximal_weight: λ > 0; the larger, the nearer to the undefended scores.
        return_variance: also return the posterior variance (B, items) of the scores, in units of
            the noise variance of one rating.

    Raises:
        ValueError: for weights, shapes or row numbers out of range, or repeated cells in
            ``ratings``.
    """
    users, vicinities = np.asarray(users), np.asarray(vicinities)
    arrays = {
        "user_factors": np.asarray(user_factors),
        "offsets": np.asarray(offsets, dtype=np.float64),
        "item_factors": np.asarray(item_factors),
        "item_bias": np.asarray(item_bias),
        "unobserved_target": np.asarray(unobserved_target, dtype=np.float64),
    }
    _check(users, vicinities, arrays, ratings, unobserved_weight, proximal_weight)
    user_factors, offsets, item_factors, item_bias, unobserved_target = arrays.values()
    dtype = np.result_type(user_factors, item_factors, np.float32)
    latent = np.column_stack([user_factors, np.ones(len(user_factors))]).astype(np.float64)
    decoder = np.column_stack([item_factors, item_bias]).astype(dtype)
    n_items = len(decoder)
    scores = np.empty((len(users), n_items), dtype=dtype)
    variance = np.empty((len(users) if return_variance else 0, n_items), dtype=dtype)
    members, size = vicinities.shape[1] + 1, latent.shape[1]
    step = max(1, _BLOCK_NUMBERS // (members * (members + size)))
    for start in range(0, len(users), step):
        block = slice(start, start + step)
        rows = np.column_stack([vicinities[block], users[block]])
        gain, factors = _hear_silence(latent[rows], unobserved_weight, proximal_weight)
        surplus = (offsets - unobserved_target)[rows[:, :-1]]
        constants = offsets[rows] - unobserved_weight * np.einsum("bvx,bv->bx", gain, surplus)
        factors = factors.astype(dtype, order="C")
        np.matmul(factors[:, -1], decoder.T, out=scores[block])
        scores[block] += constants[:, -1:].astype(dtype)
        if return_variance:
            own = latent[users[block]]
            left = np.einsum("bd,bd->b", own, factors[:, -1]) / proximal_weight
            variance[block] = left[:, None]
        _hear_ratings(
            rows[:, :-1],
            ratings.indptr,
            ratings.indices,
            ratings.data,
            unobserved_target,
            unobserved_weight,
            gain,
            factors,
            constants,
            decoder,
            scores[block],
            variance[block],
        )
    np.maximum(variance, 0, out=variance)  # rounding may leave it a hair below
    return (scores, variance) if return_variance else scores


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
    """Step 2, added to ``scores`` (and taken from ``variance``, where it has rows) in place."""
    k, size = vicinities.shape[1], decoder.shape[1]
    rest = 1 - omega
    # The ratings of each item form a list: its last one, and from each the one before.
    last = np.full(len(decoder), -1, dtype=np.int32)
    touched = np.empty(len(decoder) + 1, dtype=np.int32)
    raters = np.empty(k, dtype=np.int64)
    lower, scaled = np.empty((k, k)), np.empty((k, k))
    x, y, inverse = np.empty(k), np.empty(k), np.empty(k)
    for b in range(len(vicinities)):
        total = 0
        for v in vicinities[b]:
            total += indptr[v + 1] - indptr[v]
        before = np.empty(total, dtype=np.int32)
        rater = np.empty(total, dtype=np.int32)
        residual = np.empty(total)
        n = n_touched = 0
        for o in range(k):
            v = vicinities[b, o]
            shift = omega * silence[v] + rest * constants[b, o]
            for position in range(indptr[v], indptr[v + 1]):
                item = indices[position]
                product = decoder.dtype.type(0)
                for f in range(size):
                    product += factors[b, o, f] * decoder[item, f]
                residual[n] = values[position] - shift - rest * product
                rater[n], before[n] = o, last[item]
                touched[n_touched] = item
                n_touched += last[item] < 0
                last[item] = n
                n += 1
        for item in touched[:n_touched]:
            # I + (1 − ω) R_OO = L D Lᵀ, row by row, with x = L⁻¹ R_Ou and y = L⁻¹ (residuals).
            moved = heard = 0.0
            n, c = last[item], 0
            last[item] = -1
            while n >= 0:
                o = rater[n]
                x_c, y_c, pivot = gain[b, o, k], residual[n], 1 + rest * gain[b, o, o]
                for p in range(c):
                    entry = rest * gain[b, o, raters[p]]
                    for q in range(p):
                        entry -= scaled[c, q] * lower[p, q]
                    scaled[c, p] = entry
                    entry *= inverse[p]
                    lower[c, p] = entry
                    pivot -= entry * scaled[c, p]
                    x_c -= entry * x[p]
                    y_c -= entry * y[p]
                raters[c], x[c], y[c], inverse[c] = o, x_c, y_c, 1 / pivot
                moved += x_c * y_c * inverse[c]
                heard += x_c * x_c * inverse[c]
                n, c = before[n], c + 1
            scores[b, item] += moved
            if len(variance):
                variance[b, item] -= rest * heard


def _check(users, vicinities, arrays, ratings, unobserved_weight, proximal_weight):
    if not 0 <= unobserved_weight <= 1:
        raise ValueError(f"unobserved_weight must be between 0 and 1, got {unobserved_weight}")
    if not 0 < proximal_weight < np.inf:
        raise ValueError(
            f"proximal_weight must be above 0 and finite, got {proximal_weight}: without it the "
            "fit to fewer neighbours than parameters has no single answer"
        )
    if getattr(ratings, "format", "dense") != "csr":
        raise ValueError("ratings must be a CSR matrix, see scipy.sparse.csr_matrix")
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
    if users.ndim != 1 or vicinities.ndim != 2 or len(users) != len(vicinities):
        raise ValueError(
            "users must be (B,) and vicinities (B, k) row numbers, "
            f"got {users.shape} and {vicinities.shape}"
        )
    for name, rows in {"users": users, "vicinities": vicinities}.items():
        if rows.size and not 0 <= rows.min() <= rows.max() < n_users:
            raise ValueError(f"{name} must be row numbers below {n_users}")
    if not (ratings.has_canonical_format or ratings.sorted_indices().has_canonical_format):
        raise ValueError("ratings hold the same cell twice; sum_duplicates() would add them up")
