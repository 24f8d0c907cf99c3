"""The two steps of :mod:`rvdlib.defenses.regression`, compiled."""

import numba
import numpy as np

_LANES = 8  # items whose systems are solved side by side: their sums do not wait for each other


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def fit_silence(rows, latent, offsets, silence, omega, pull, gain, constants, factors):
    """Step 1 for ``rows`` (B, k + 1), the user last: into R, ã, and z̃ with ã as its last number."""
    k, size = rows.shape[1] - 1, latent.shape[1]
    end = 2 * k + 1
    z, kernel = np.empty((k + 1, size)), np.empty((k + 1, k + 1))
    solved, moved = np.empty((k, k + 1)), np.empty((k + 1, size))
    system, inverse, weights = np.empty((k, end)), np.empty(k), np.empty(k)  # [ωK + λI, Z Z_xᵀ]
    for b in range(len(rows)):
        for x in range(k + 1):
            z[x] = latent[rows[b, x]]
        np.dot(z, z.T, kernel)
        for v in range(k):
            for x in range(v, k):
                system[v, x] = omega * kernel[v, x]
            system[v, v] += pull
            for x in range(k + 1):
                system[v, k + x] = kernel[v, x]
        _eliminate(system, inverse, weights, k, end)
        for v in range(k - 1, -1, -1):
            for p in range(v + 1, k):
                weights[p] = system[v, p]
            _subtract_rows(system, v, weights, v + 1, k, k, end)
            for x in range(k + 1):
                system[v, k + x] *= inverse[v]
                gain[b, v, x] = solved[v, x] = system[v, k + x]
        np.dot(solved.T, z[:k], moved)
        for x in range(k + 1):
            constant = offsets[rows[b, x]]
            for v in range(k):
                surplus = offsets[rows[b, v]] - silence[rows[b, v]]
                constant -= omega * solved[v, x] * surplus
            constants[b, x] = factors[b, x, size] = constant
            for f in range(size):
                factors[b, x, f] = z[x, f] - omega * moved[x, f]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _eliminate(system, inverse, weights, n, end):
    """Gauss on n rows and ``end`` columns, the first n definite, their upper half read; 1 / pivots."""
    for c in range(n):
        for p in range(c):
            weights[p] = system[p, c] * inverse[p]
        _subtract_rows(system, c, weights, 0, c, c, end)
        inverse[c] = 1 / system[c, c]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _subtract_rows(system, row, weights, first, last, start, end):
    """Four rows at a time, or ``row`` would be written as often as others are read."""
    p = first
    while p + 4 <= last:
        w0, w1, w2, w3 = weights[p], weights[p + 1], weights[p + 2], weights[p + 3]
        for q in range(start, end):
            system[row, q] -= (
                w0 * system[p, q]
                + w1 * system[p + 1, q]
                + w2 * system[p + 2, q]
                + w3 * system[p + 3, q]
            )
        p += 4
    while p < last:
        weight = weights[p]
        for q in range(start, end):
            system[row, q] -= weight * system[p, q]
        p += 1


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def add_ratings(
    vicinities, indptr, indices, values, silence, omega, bound, gain, constants, factors,
    decoder, scores,
):  # fmt: skip
    """Step 2, added to ``scores`` in place; ``bound`` is β, infinite for none.

    What one neighbour alone rated, most items, needs no system. The others are sorted by how many
    rated them and solved in groups of that order, one item a lane. Lanes with fewer raters than the
    last are filled up with one who says nothing. Where there are more raters than lanes, a system has
    work enough of its own.
    """
    n_items, size = len(decoder), decoder.shape[1] - 1
    k, rest = vicinities.shape[1], 1 - omega
    raters_of = np.zeros(n_items, dtype=np.int32)
    free = np.zeros(n_items, dtype=np.int32)  # where an item's next rater is written; 0: nowhere
    touched, several = np.empty(n_items + 1, dtype=np.int32), np.empty(n_items + 1, dtype=np.int32)
    order = np.empty(n_items, dtype=np.int32)
    kernel, own = np.zeros((k + 1, k + 1)), np.zeros(k + 1)
    raters, residuals = np.empty(0, dtype=np.int32), np.empty(0)
    lower, scaled = np.empty((_LANES, _LANES, _LANES)), np.empty((_LANES, _LANES))
    x, y = np.empty((_LANES, _LANES)), np.empty((_LANES, _LANES))
    inverse = np.empty((_LANES, _LANES))
    moved = np.empty(_LANES)
    system, pivots, weights = np.empty((k, k + 2)), np.empty(k), np.empty(k)
    for b in range(len(vicinities)):
        n_touched = n_several = 0
        for v in vicinities[b]:
            for position in range(indptr[v], indptr[v + 1]):
                item = np.uintp(indices[position])  # an index that is never negative
                touched[n_touched] = item
                n_touched += raters_of[item] == 0
                raters_of[item] += 1
        for item in touched[:n_touched]:
            several[n_several] = item
            n_several += raters_of[item] > 1
        length = _place(several[:n_several], raters_of, k, order, free)
        if length > len(raters):
            raters, residuals = np.empty(2 * length, dtype=np.int32), np.empty(2 * length)
        raters[:length], residuals[:length] = k, 0
        kernel[:k, :k], own[:k] = rest * gain[b, :, :k], gain[b, :, k]
        for o in range(k):
            v, alone = vicinities[b, o], own[o] / (1 + kernel[o, o])
            shift = omega * silence[v] + rest * constants[b, o]
            for position in range(indptr[v], indptr[v + 1]):
                item = np.uintp(indices[position])
                product = decoder.dtype.type(0)
                for f in range(size):
                    product += factors[b, o, f] * decoder[item, f]
                residual = min(max(values[position] - shift - rest * product, -bound), bound)
                place = free[item]
                if place == 0:
                    scores[b, item] += alone * residual
                else:
                    raters[place], residuals[place] = o, residual
                    free[item] = place + _LANES
        start = _LANES
        for first in range(0, n_several, _LANES):
            last = min(first + _LANES, n_several)
            n_raters = raters_of[order[last - 1]]
            if n_raters <= _LANES:
                _solve_group(
                    kernel, own, raters, residuals, start, n_raters,
                    lower, scaled, inverse, x, y, moved,
                )  # fmt: skip
            else:
                for lane in range(last - first):
                    moved[lane] = _solve_large(
                        kernel, own, raters, residuals, start + lane,
                        raters_of[order[first + lane]], system, pivots, weights,
                    )  # fmt: skip
            start += n_raters * _LANES
            for place in range(first, last):
                scores[b, order[place]] += moved[place - first]
        for item in touched[:n_touched]:
            raters_of[item] = free[item] = 0


@numba.njit(cache=True, nogil=True)
def _place(touched, raters_of, most, order, free):
    """Sort items by raters, fewest first, into ``order``, and give each its lane.

    Returns where the groups end, each one (raters of its last item, lanes): from ``_LANES`` on.
    """
    ends = np.zeros(most + 1, dtype=np.int64)
    for item in touched:
        ends[raters_of[item]] += 1
    ends = np.cumsum(ends)
    for item in touched[::-1]:
        ends[raters_of[item]] -= 1
        order[ends[raters_of[item]]] = item
    start = _LANES
    for first in range(0, len(touched), _LANES):
        end = min(first + _LANES, len(touched))
        for lane in range(end - first):
            free[order[first + lane]] = start + lane
        start += raters_of[order[end - 1]] * _LANES
    return start


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _solve_group(
    kernel, own, raters, residuals, start, n_raters, lower, scaled, inverse, x, y, moved
):
    """R_Ouᵀ (I + kernel_OO)⁻¹ of the residuals, each lane into ``moved``.

    I + kernel_OO = L D Lᵀ, row by row, with x = L⁻¹ R_Ou and y = L⁻¹ residuals.
    """
    # Views would be counted references, and those cost more than a small system.
    for lane in range(_LANES):
        moved[lane] = 0
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
            moved[lane] += x[c, lane] * inverse[c, lane] * y[c, lane]


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _solve_large(kernel, own, raters, residuals, start, n_raters, system, inverse, weights):
    """The same for the item whose lane begins at ``start``; R_Ou and residuals are two more columns."""
    n, moved = np.uintp(n_raters), 0.0
    for c in range(n):
        o = np.uintp(raters[start + c * _LANES])
        for q in range(c, n):
            system[c, q] = kernel[o, np.uintp(raters[start + q * _LANES])]
        system[c, c] += 1
        system[c, n], system[c, n + 1] = own[o], residuals[start + c * _LANES]
    _eliminate(system, inverse, weights, n, n + 2)
    for c in range(n):
        moved += system[c, n] * inverse[c] * system[c, n + 1]
    return moved
