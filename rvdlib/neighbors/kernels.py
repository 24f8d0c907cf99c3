"""The k least of many values, compiled; what may be among them is measured, the rest is not.

All that calls each other is in this one file: numba's cache does not see changes in others.
"""

import numba
import numpy as np

_LANES = 64  # bounds looked at together
_TILE = 2048  # pairs measured together, for the cache


@numba.njit(cache=True, nogil=True)
def nearest_vectors(
    users, lower, reach, slack, own_slack, vectors, gain, absent, euclidean, found, values
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
            measured[place] = np.inf if absent[listed[place]] else total * gain[listed[place]]
        _keep_least(measured[:n_listed], listed, found[row], values[row])


@numba.njit(cache=True, nogil=True)
def measure_vectors(vectors, columns, euclidean, values):
    """Add to ``values`` (B, O) what :func:`nearest_vectors` measures, gains aside: in its order.

    ``columns``: (d, O), the other users' vectors.
    """
    for row in range(len(vectors)):
        for start in range(0, columns.shape[1], _TILE):
            tile = values[row, start : start + _TILE]
            for f in range(len(columns)):
                own, others = vectors[row, f], columns[f, start : start + _TILE]
                if euclidean:
                    for o in range(len(tile)):
                        tile[o] += (own - others[o]) ** 2
                else:
                    for o in range(len(tile)):
                        tile[o] -= own * others[o]


@numba.njit(cache=True, nogil=True)
def nearest_profiles(
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
            if indptr[v] == indptr[v + 1]:
                distances[v] = np.inf
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
