"""The second step of :mod:`rvdlib.defenses.regression`, what the vicinity rated, compiled."""

import numba
import numpy as np

_LANES = 8  # items whose systems are solved side by side: their sums do not wait for each other


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def add_ratings(
    vicinities, indptr, indices, values, silence, omega, gain, factors, constants, decoder,
    scores,
):  # fmt: skip
    """Step 2, added to ``scores`` in place.

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
    moved = np.empty(_LANES)
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
                    lower, scaled, inverse, x, y, moved,
                )  # fmt: skip
            else:
                for lane in range(last - first):
                    moved[lane] = _solve_large(
                        kernel, own, raters, residuals, start + lane,
                        raters_of[order[first + lane]], system, pivots,
                    )  # fmt: skip
            start += n_raters * _LANES
            for place in range(first, last):
                scores[b, order[place]] += moved[place - first]
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
def _solve_large(kernel, own, raters, residuals, start, n_raters, system, inverse):
    """The same for the item whose lane begins at ``start``, its upper half row by row.

    R_Ou and the residuals are two columns more. Rows above are taken from one four at a time, or it
    would be written as often as they are read.
    """
    n, moved = np.uintp(n_raters), 0.0
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
        moved += system[c, n] * inverse[c] * system[c, n + 1]
    return moved
