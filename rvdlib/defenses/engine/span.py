"""Gradient descent on the decoder alone, run in the span of the vicinity.

With the encoder frozen, a step shrinks an item's decoder row (w, b) and moves it along z_v = (h_v, 1)
of neighbours, so that it stands at ρ (ŵ, b̂) + Σ_v α_v z_v, and descent is one of ρ and α: k + 1
numbers instead of d + 1. With K = Z Zᵀ over the vicinity, C = diag(2/k c_v), D the weight of the
row's regulariser, and κ = Z z_u,

    α ← α − η [C (a − y + ρ Z (ŵ, b̂) + Kα) + (2λ/k + 2D) α]        s_u = a_u + ρ z_u · (ŵ, b̂) + κᵀ α
    ρ ← ρ − η [2λ/k (ρ − 1) + 2D ρ]

Where ω = 0 only the item's raters have an α. Where ω > 0, the items that nobody rated share C and D,
so that κᵀα is linear in a − y⁰ and in Z (ŵ, b̂), with factors g and f for all of them. Their scores
are those of another user of the same decoder, and g and f come from running the recursion backwards:

    z̃_u = ρ z_u + Zᵀ f        ã_u = a_u + gᵀ (a − y⁰)
"""

import numba
import numpy as np

from rvdlib.defenses.engine.kernels import Descent, Ratings
from rvdlib.threads import for_blocks

_USERS_AT_ONCE = 16


def scores_in_span(
    users: np.ndarray,
    vicinities: np.ndarray,
    *,
    latent: np.ndarray,
    offsets: np.ndarray,
    decoder: np.ndarray,
    ratings: Ratings,
    descent: Descent,
) -> np.ndarray:
    """Scores (B, items), in the unit of ``ratings``, after the last step of SGD.

    Args:
        users: (B,) row numbers; ``vicinities`` (B, k) of their neighbours.
        latent: (users, d + 1) z; ``offsets`` (users,) a; both float64.
        decoder: (items, d + 1) rows (w, b); its dtype is that of the scores.
    """
    scores = np.empty((len(users), len(decoder)), dtype=decoder.dtype)
    everywhere, steps = descent.silent_weight > 0, len(descent.rates)
    kept = _kept(descent.decay + descent.cell_decay * descent.silent_users, steps, descent)

    # A descent that diverges is seen in its scores.
    @np.errstate(over="ignore", invalid="ignore")
    def descend(block):
        served, neighbours = users[block], vicinities[block]
        vicinity, own = latent[neighbours], latent[served]
        kernel = vicinity @ vicinity.swapaxes(1, 2)
        kappa = np.einsum("bvf,bf->bv", vicinity, own)
        factors, constants = kept[-1] * own, offsets[served]
        if everywhere:
            gain, scaled = _silent_gain(kernel, kappa, kept, descent)
            surplus = (offsets - ratings.silence)[neighbours]
            factors = factors + np.einsum("bx,bxf->bf", scaled, vicinity)
            constants = constants + np.einsum("bx,bx->b", gain, surplus)
        scores[block] = factors.astype(decoder.dtype) @ decoder.T
        scores[block] += constants.astype(decoder.dtype)[:, None]
        _descend_rated(
            served, neighbours, latent, offsets, decoder, ratings.indptr, ratings.indices,
            ratings.targets, ratings.silence, descent, kernel, kappa, scores[block],
        )  # fmt: skip

    for_blocks(descend, len(users), _USERS_AT_ONCE)
    return scores


def _kept(decay: float, steps: int, descent: Descent) -> np.ndarray:
    """ρ before each step and after the last (steps + 1,), of a row with 2D = ``decay``."""
    kept = np.ones(steps + 1)
    for step in range(steps):
        away = descent.pull * (kept[step] - 1) + decay * kept[step]
        kept[step + 1] = kept[step] - descent.learning_rate * away
    return kept


def _silent_gain(kernel, kappa, kept, descent):
    """g and f (B, k), from the last step back; p is what the score owes to α before a step."""
    gain, scaled, p = np.zeros_like(kappa), np.zeros_like(kappa), kappa
    decay = descent.decay + descent.cell_decay * descent.silent_users
    stay = 1 - descent.learning_rate * (descent.pull + decay)
    for rho in kept[-2::-1]:
        move = -descent.learning_rate * descent.silent_weight * p
        gain += move
        scaled += rho * move
        p = stay * p + np.einsum("bvx,bx->bv", kernel, move)
    return gain, scaled


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _descend_rated(
    users, vicinities, latent, offsets, decoder, indptr, indices, targets, silence, descent,
    kernel, kappa, scores,
):  # fmt: skip
    """The scores of items that somebody in the vicinity rated, in place."""
    k, steps, everywhere = vicinities.shape[1], len(descent.rates), descent.silent_weight > 0
    weights = descent.rated_weight, descent.silent_weight
    # The ratings of each item form a list: its last one, and from each the one before.
    last = np.full(len(decoder), -1, dtype=np.int32)
    touched = np.empty(len(decoder), dtype=np.int32)
    member, kind = np.empty(k, dtype=np.int64), np.empty(k, dtype=np.int64)
    surplus, product, now, alpha = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    target = np.empty(k)
    for b in range(len(users)):
        n_ratings = n_touched = 0
        for v in vicinities[b]:
            n_ratings += indptr[v + 1] - indptr[v]
        before, rater = np.empty(n_ratings, np.int32), np.empty(n_ratings, np.int32)
        value = np.empty(n_ratings)
        n = 0
        for o in range(k):
            for position in range(indptr[vicinities[b, o]], indptr[vicinities[b, o] + 1]):
                item = indices[position]
                if last[item] < 0:
                    touched[n_touched] = item
                    n_touched += 1
                rater[n], value[n], before[n] = o, targets[position], last[item]
                last[item] = n
                n += 1
        for item in touched[:n_touched]:
            c = 0
            if everywhere:
                c = k
                for o in range(k):
                    member[o], kind[o], target[o] = o, 1, silence[vicinities[b, o]]
            n, n_raters = last[item], 0
            last[item] = -1
            while n >= 0:
                j = rater[n] if everywhere else c
                member[j], kind[j], target[j] = rater[n], 0, value[n]
                c += not everywhere
                n = before[n]
                n_raters += 1
            for j in range(c):
                v = vicinities[b, member[j]]
                surplus[j] = offsets[v] - target[j]
                product[j] = _product(latent[v], decoder[item])
                alpha[j] = 0
            decay = descent.decay + descent.cell_decay * (n_raters + descent.silent_users)
            rho = 1.0
            for _ in range(steps):
                for j in range(c):
                    line, total = kernel[b, member[j]], surplus[j] + rho * product[j]
                    if everywhere:
                        for x in range(k):
                            total += line[x] * alpha[x]
                    else:
                        for x in range(c):
                            total += line[member[x]] * alpha[x]
                    now[j] = weights[kind[j]] * total + (descent.pull + decay) * alpha[j]
                for j in range(c):
                    alpha[j] -= descent.learning_rate * now[j]
                rho -= descent.learning_rate * (descent.pull * (rho - 1) + decay * rho)
            score = offsets[users[b]] + rho * _product(latent[users[b]], decoder[item])
            for j in range(c):
                score += kappa[b, member[j]] * alpha[j]
            scores[b, item] = score


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _product(x, y):
    total = 0.0
    for f in range(len(x)):
        total += x[f] * y[f]
    return total
