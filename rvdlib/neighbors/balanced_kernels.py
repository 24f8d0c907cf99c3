"""The greedy matching of :mod:`rvdlib.neighbors.balanced`, compiled.

The key of a pair (u, v) is (rank, distance, tie, u, v), the lower the earlier.
All that calls each other is in this one file: numba's cache does not see changes in others.
"""

import numba
import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)


@numba.njit(cache=True, nogil=True)
def _mixed(x):
    """SplitMix64 of a uint64 (Steele, Lea and Flood 2014)."""
    x = x + _GOLDEN
    x = (x ^ (x >> _S30)) * _FIRST
    x = (x ^ (x >> _S27)) * _SECOND
    return x ^ (x >> _S31)


@numba.njit(cache=True, nogil=True)
def signatures(indptr, indices, bits):
    """A hash (users,) uint64 of each row of a sparse matrix: its columns and what is stored there."""
    found = np.zeros(len(indptr) - 1, dtype=np.uint64)
    for row in range(len(found)):
        total = np.uint64(0)
        for position in range(indptr[row], indptr[row + 1]):
            total += _mixed(_mixed(np.uint64(indices[position])) + bits[position])
        found[row] = _mixed(total)
    return found


@numba.njit(cache=True, nogil=True)
def _tie(signature, u, v):
    return _mixed(_mixed(signature[u]) + signature[v])


@numba.njit(cache=True, nogil=True)
def _before(signature, rank, distance, u, v, other_rank, other_distance, other_u, other_v):
    """Whether the pair (u, v) comes before (other_u, other_v)."""
    if rank != other_rank:
        return rank < other_rank
    if distance != other_distance:
        return distance < other_distance
    tie, other_tie = _tie(signature, u, v), _tie(signature, other_u, other_v)
    if tie != other_tie:
        return tie < other_tie
    return v < other_v if u == other_u else u < other_u


@numba.njit(cache=True, nogil=True)
def nearest_listed(
    users, others, signature, worse, values, members, listed, ranks, distances, n_listed
):
    """The first of ``others`` by their keys, as many as a list holds, but members and the user.

    ``values`` (B, O) are distances, ``worse`` (B, O) ranks or (B, 0): all alike.
    """
    size, skipped = listed.shape[1], np.zeros(len(signature), dtype=np.bool_)
    for row in range(len(users)):
        u, n_found = users[row], 0
        skipped[u] = True
        for v in members[u]:
            if v >= 0:
                skipped[v] = True
        for column in range(len(others)):
            v, distance, rank = others[column], values[row, column], 0.0
            if skipped[v]:
                continue
            if worse.shape[1]:
                rank = worse[row, column]
            place = n_found
            while place > 0 and _before(
                signature, rank, distance, u, v,
                ranks[u, place - 1], distances[u, place - 1], u, listed[u, place - 1],
            ):  # fmt: skip
                if place < size:
                    listed[u, place] = listed[u, place - 1]
                    ranks[u, place], distances[u, place] = (
                        ranks[u, place - 1],
                        distances[u, place - 1],
                    )
                place -= 1
            if place < size:
                listed[u, place], ranks[u, place], distances[u, place] = v, rank, distance
                n_found += n_found < size
        n_listed[u] = n_found
        skipped[u] = False
        for v in members[u]:
            if v >= 0:
                skipped[v] = False


@numba.njit(cache=True, nogil=True)
def match(
    waiting, signature, listed, ranks, distances, n_listed, position,
    members, n_members, in_degree, max_in_degree,
):  # fmt: skip
    """Take pairs by rising key until a user's list runs out: that user, or −1 if nobody is left.

    ``waiting``: users who look for members, with candidates from ``position`` on.
    """
    heap, size = waiting.copy(), len(waiting)
    for place in range(size // 2 - 1, -1, -1):
        _sift(heap, size, place, signature, listed, ranks, distances, position)
    n_columns, k = listed.shape[1], members.shape[1]
    while size:
        u = heap[0]
        v = listed[u, position[u]]
        position[u] += 1
        if in_degree[v] < max_in_degree:
            members[u, n_members[u]] = v
            n_members[u] += 1
            in_degree[v] += 1
        if n_members[u] < k and position[u] == n_listed[u] == n_columns:
            return u
        if n_members[u] == k or position[u] == n_listed[u]:
            size -= 1
            heap[0] = heap[size]
        _sift(heap, size, 0, signature, listed, ranks, distances, position)
    return -1


@numba.njit(cache=True, nogil=True)
def _sift(heap, size, place, signature, listed, ranks, distances, position):
    """Let the user at ``place`` sink below those whose next candidates come before."""
    while True:
        child = 2 * place + 1
        if child >= size:
            return
        if child + 1 < size and _heads_before(
            heap[child + 1], heap[child], signature, listed, ranks, distances, position
        ):
            child += 1
        if not _heads_before(
            heap[child], heap[place], signature, listed, ranks, distances, position
        ):
            return
        heap[place], heap[child] = heap[child], heap[place]
        place = child


@numba.njit(cache=True, nogil=True)
def _heads_before(one, other, signature, listed, ranks, distances, position):
    at, there = position[one], position[other]
    return _before(
        signature, ranks[one, at], distances[one, at], one, listed[one, at],
        ranks[other, there], distances[other, there], other, listed[other, there],
    )  # fmt: skip
