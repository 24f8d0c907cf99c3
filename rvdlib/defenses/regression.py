"""The vicinal correction in closed form, for any arrays that a linear decoder turns into scores.

    s_vi = a_v + h_v · w_i + b_i

Freeze the users and let item i's decoder row move by Δ = (Δw, Δb) to fit the k users of the
vicinity N, held to where training left it:

    min_Δ  Σ_{v ∈ N} c_vi (y_vi − s_vi − z_v · Δ)² + λ ‖Δ‖²,        z_v = (h_v, 1)

with c_vi = 1 and y_vi the rating where v rated i, c_vi = ω and y_vi = y⁰_v elsewhere. That is
Gaussian process regression on the vicinity's residuals with the kernel z_v · z_x, and the user's
score moves by κᵀ (K + λ C⁻¹)⁻¹ (y_i − s_Ni): K = Z Zᵀ over N, κ = Z z_u, C = diag(c_vi).

A Gaussian process may take its evidence in parts, and here only the second depends on the item:

1. Silence. As if nobody had rated anything: y⁰ everywhere, with weight ω. Each x ∈ N ∪ {u} becomes
   another user of the same decoder,

       R = (ωK + λI)⁻¹ Z Z_xᵀ,   z̃_x = z_x − ω R_xᵀ Z,   ã_x = a_x − ω R_xᵀ (a − y⁰)_N

   so u's scores for the whole catalogue are one matrix product.
2. Ratings. Where a set O of neighbours rated i, their cells add the rest of their weight, 1 − ω:

       s_ui += R_Ouᵀ (I + (1 − ω) R_OO)⁻¹ (r_O − ω y⁰_O − (1 − ω) s̃_Oi),   s̃_oi = ã_o + z̃_o · (w_i, b_i)

   With a ``rating_bound`` β nobody's rating says more than that it is β off: the bracket is clipped
   to ±β first (the ψ of Huber 1964, in one step). A fake who rates everything low and the target at
   the top is furthest off, and shouts the loudest without it.

No system here has an eigenvalue below 1 (or λ), whatever the rank of K: neighbours may be
identical or more than d + 1, and ω may be 0 (step 1 changes nothing) or 1
(step 2 uses no score). K itself is rounded, to about 10⁻¹⁶ max ‖z‖², and that must stay small
beside λ: hence a least λ.
"""

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices, check_csr
from rvdlib.defenses.regression_kernels import add_ratings, fit_silence
from rvdlib.threads import for_blocks

_BLOCK_USERS = 128  # in one product with the catalogue: fewer run below its speed
_BLOCK_NUMBERS = 2**20  # float64 in the working set of a block of users, at most: 8 MiB
_LEAST_PULL = 1e-8  # λ over max ‖z‖²: scores are then off by about 10⁻⁶ of the largest at worst


class VicinalRegression:
    """The closed form over fixed arrays: prepared once, then scores whomever is asked for.

    Everything is in the unit of ``ratings``. Small systems are solved in float64; products with
    the catalogue are done in the dtype of the factors, which is that of the result.

    Args:
        user_factors: (users, d) h; ``offsets`` (users,) a.
        item_factors: (items, d) w; ``item_bias`` (items,) b, or None for a decoder without.
        ratings: (users, items) CSR; what is stored is observed, zeros too.
        unobserved_target: (users,) y⁰, what an unobserved cell is taken to be.
        unobserved_weight: ω in [0, 1].
        proximal_weight: λ, at least 10⁻⁸ (1 + max ‖h_v‖²); the larger, the nearer to the
            undefended scores.
        rating_bound: β > 0, None for none.

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
        item_bias: np.ndarray | None,
        ratings: sp.csr_matrix,
        unobserved_target: np.ndarray,
        unobserved_weight: float,
        proximal_weight: float,
        rating_bound: float | None = None,
    ):
        biased, items = item_bias is not None, len(np.atleast_1d(item_factors))
        arrays = {
            "user_factors": np.asarray(user_factors),
            "offsets": np.asarray(offsets, dtype=np.float64),
            "item_factors": np.asarray(item_factors),
            "item_bias": np.asarray(item_bias) if biased else np.zeros(items, dtype=np.float32),
            "unobserved_target": np.asarray(unobserved_target, dtype=np.float64),
        }
        _check(arrays, ratings, unobserved_weight, proximal_weight)
        if rating_bound is not None and not rating_bound > 0:
            raise ValueError(f"rating_bound must be above 0, or None, got {rating_bound}")
        dtype = np.result_type(arrays["user_factors"], arrays["item_factors"], np.float32)
        factors = arrays["user_factors"].astype(np.float64)
        self._latent = np.column_stack([factors, np.full(len(factors), float(biased))])
        self._offsets, self._silence = arrays["offsets"], arrays["unobserved_target"]
        decoder = [arrays["item_factors"], arrays["item_bias"], np.ones(items)]
        self._decoder = np.column_stack(decoder).astype(dtype)
        self._ratings = ratings
        self._omega, self._lambda = float(unobserved_weight), float(proximal_weight)
        self._bound = np.inf if rating_bound is None else float(rating_bound)

    def score(self, users: np.ndarray, vicinities: np.ndarray) -> np.ndarray:
        """Scores (B, items) after each user's decoder was fitted to the vicinity, exactly.

        Args:
            users: (B,) row numbers.
            vicinities: (B, k) row numbers of the users whose ratings count for each of ``users``.

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
        scores = np.empty((len(users), len(self._decoder)), dtype=self._decoder.dtype)
        rows = np.column_stack([vicinities, users])
        members, size = rows.shape[1], self._latent.shape[1]
        # Beside the scores, memory must not grow with the users.
        step = max(1, min(_BLOCK_USERS, _BLOCK_NUMBERS // (members * (members + size))))
        for_blocks(lambda block: self._fill(rows[block], scores[block]), len(users), step)
        return scores

    def _fill(self, rows: np.ndarray, scores: np.ndarray) -> None:
        """Scores (B, items) of the users in the last column of ``rows`` (B, k + 1)."""
        n_users, members = rows.shape
        gain, constants = np.empty((n_users, members - 1, members)), np.empty((n_users, members))
        factors = np.empty((n_users, members, self._decoder.shape[1]), dtype=scores.dtype)
        weights = self._omega, self._lambda
        fit = fit_silence if members - 1 <= self._latent.shape[1] else _fit_silence_of_many
        known = rows, self._latent, self._offsets, self._silence
        fit(*known, *weights, gain, constants, factors)
        np.matmul(factors[:, -1], self._decoder.T, out=scores)
        add_ratings(
            rows[:, :-1],
            self._ratings.indptr,
            self._ratings.indices,
            self._ratings.data,
            self._silence,
            self._omega,
            self._bound,
            gain,
            constants,
            factors,
            self._decoder,
            scores,
        )


def _fit_silence_of_many(rows, latent, offsets, silence, omega, pull, gain, constants, factors):
    """As :func:`fit_silence`, by d + 1 equations: z̃ = λ (ωZᵀZ + λI)⁻¹ z, R = Z z̃ᵀ / λ."""
    z = latent[rows]
    system = omega * z[:, :-1].swapaxes(1, 2) @ z[:, :-1] + pull * np.eye(z.shape[2])
    reduced = np.linalg.solve(system, pull * z.swapaxes(1, 2))
    np.divide(z[:, :-1] @ reduced, pull, out=gain)
    surplus = (offsets - silence)[rows[:, :-1]]
    constants[:] = offsets[rows] - omega * np.einsum("bvx,bv->bx", gain, surplus)
    factors[:, :, :-1], factors[:, :, -1] = reduced.swapaxes(1, 2), constants


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
