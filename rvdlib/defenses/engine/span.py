"""Gradient descent on the decoder alone, run in the span of the vicinity.

With the encoder frozen, every step moves an item's decoder row along z_v = (h_v, 1) of neighbours,
so that it stands at Δ = Σ_v α_v z_v, and descent is one of α: k numbers instead of d + 1. With
K = Z Zᵀ over the vicinity, residuals e_v = s_v − y_v before the first step, C_t = diag(2/B c_v) the
weights of step t, and κ = Z z_u,

    β ← momentum β + C_t (e + Kα) + (2λ/k) α        α ← α − η β        s_u += κᵀ α

Where ω = 0 only the item's raters have an α. Where ω > 0, the items that nobody rated share C_t, so
that κᵀα = gᵀe with one g for all of them. Their scores are those of another user of the same
decoder, and g comes from running the recursion backwards:

    z̃_u = z_u + Zᵀ g        ã_u = a_u + gᵀ (a − y⁰)
"""

import numba
import numpy as np

from rvdlib.defenses.engine.kernels import Ratings
from rvdlib.threads import for_blocks

_USERS_AT_ONCE = 16


def scores_in_span(
    users: np.ndarray,
    vicinities: np.ndarray,
    batches: np.ndarray,
    *,
    latent: np.ndarray,
    offsets: np.ndarray,
    decoder: np.ndarray,
    ratings: Ratings,
    everywhere: bool,
    steps: int,
    learning_rate: float,
    momentum: float,
    pull: float,
) -> np.ndarray:
    """Scores (B, items), in the unit of ``ratings``, after ``steps`` steps of SGD.

    Args:
        users: (B,) row numbers; ``vicinities`` (B, k) of their neighbours.
        batches: (B or 1, steps or 1, 2, k) 2/B c of each neighbour's ratings, and silence.
        latent: (users, d + 1) z; ``offsets`` (users,) a; both float64.
        decoder: (items, d + 1) rows (w, b); its dtype is that of the scores.
        everywhere: whether silence counts, ω > 0.
        pull: 2λ/k.
    """
    scores = np.empty((len(users), len(decoder)), dtype=decoder.dtype)

    # A descent that diverges is seen in its scores.
    @np.errstate(over="ignore", invalid="ignore")
    def descend(block):
        served, neighbours = users[block], vicinities[block]
        schedule = batches[block] if len(batches) > 1 else batches
        vicinity, own = latent[neighbours], latent[served]
        kernel = vicinity @ vicinity.swapaxes(1, 2)
        kappa = np.einsum("bvf,bf->bv", vicinity, own)
        factors, constants = own, offsets[served]
        if everywhere:
            silent = schedule[:, :, 1, :].astype(np.float64)
            gain = _silent_gain(kernel, kappa, silent, steps, learning_rate, momentum, pull)
            surplus = (offsets - ratings.silence)[neighbours]
            factors = own + np.einsum("bx,bxf->bf", gain, vicinity)
            constants = constants + np.einsum("bx,bx->b", gain, surplus)
        scores[block] = factors.astype(decoder.dtype) @ decoder.T
        scores[block] += constants.astype(decoder.dtype)[:, None]
        _descend_rated(
            served, neighbours, schedule, latent, offsets, decoder, ratings.indptr,
            ratings.indices, ratings.targets, ratings.silence, everywhere, steps, learning_rate,
            momentum, pull, kernel, kappa, scores[block],
        )  # fmt: skip

    for_blocks(descend, len(users), _USERS_AT_ONCE)
    return scores


def _silent_gain(kernel, kappa, weights, steps, learning_rate, momentum, pull):
    """g (B, k), from the last step back; ``weights`` (B or 1, steps or 1, k) of silence.

    p and q are what the score owes to α and β before the steps that are done.
    """
    gain, p, q = np.zeros_like(kappa), kappa, np.zeros_like(kappa)
    for step in reversed(range(steps)):
        q = q - learning_rate * p
        heard = weights[:, step % weights.shape[1]] * q
        gain += heard
        p = p + np.einsum("bvx,bx->bv", kernel, heard) + pull * q
        q = momentum * q
    return gain


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _descend_rated(
    users, vicinities, batches, latent, offsets, decoder, indptr, indices, targets, silence,
    everywhere, steps, learning_rate, momentum, pull, kernel, kappa, scores,
):  # fmt: skip
    """The scores of items that somebody in the vicinity rated, in place."""
    k = vicinities.shape[1]
    # The ratings of each item form a list: its last one, and from each the one before.
    last = np.full(len(decoder), -1, dtype=np.int32)
    touched = np.empty(len(decoder), dtype=np.int32)
    member, kind = np.empty(k, dtype=np.int64), np.empty(k, dtype=np.int64)
    residual, now, alpha, velocity = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
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
        schedule = batches[b % len(batches)]
        for item in touched[:n_touched]:
            c = 0
            if everywhere:
                c = k
                for o in range(k):
                    member[o], kind[o], target[o] = o, 1, silence[vicinities[b, o]]
            n = last[item]
            last[item] = -1
            while n >= 0:
                j = rater[n] if everywhere else c
                member[j], kind[j], target[j] = rater[n], 0, value[n]
                c += not everywhere
                n = before[n]
            for j in range(c):
                v = vicinities[b, member[j]]
                residual[j] = offsets[v] + _product(latent[v], decoder[item]) - target[j]
                alpha[j] = velocity[j] = 0
            for step in range(steps):
                weights = schedule[step % len(schedule)]
                for j in range(c):
                    line, total = kernel[b, member[j]], residual[j]
                    if everywhere:
                        for x in range(k):
                            total += line[x] * alpha[x]
                    else:
                        for x in range(c):
                            total += line[member[x]] * alpha[x]
                    now[j] = weights[kind[j], member[j]] * total + pull * alpha[j]
                for j in range(c):
                    velocity[j] = momentum * velocity[j] + now[j]
                    alpha[j] -= learning_rate * velocity[j]
            score = offsets[users[b]] + _product(latent[users[b]], decoder[item])
            for j in range(c):
                score += kappa[b, member[j]] * alpha[j]
            scores[b, item] = score


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def _product(x, y):
    total = 0.0
    for f in range(len(x)):
        total += x[f] * y[f]
    return total
