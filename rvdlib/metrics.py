"""The one specification of every metric. Pure functions of scores, ranks and ratings.

**The list.** A user's list holds all items that the user has not rated in training, by falling score,
ties by item order (lower index first): rank(i) = 1 + #(s > s_i) + #(s = s_i and index < i), counted
over unseen items. No negatives are sampled. Seen items are out of the list whatever their score;
so is an item scored −inf, and so one that is not eligible (:mod:`rvdlib.eligibility`). A score that
is NaN raises: sorted, it would pass for a very good one.

**Target hit ratio**, THR@K: the share of real users, the target's raters excluded, with the target
among their first K; the mean over targets. The variant keeps raters in the denominator, where they
can only be misses. Fake users never count.

**HR@K**: the share of test items within the first K. **NDCG@K**: the mean of 1/log2(rank + 1) over
test items within the first K, 0 for others; with one relevant item the ideal gain is 1.

**RMSE**: in stars, predictions clipped to the rating scale.

**Share of the catalogue served**: the items that stand in any user's list of K, of all items.
**Mean list length**: items in a user's list of K, fewer than K where fewer can be served.

Two pitfalls. Scores masked by multiplication (s · unseen) lift seen items with negative scores to
0, above unseen ones. A partial sort (``argpartition``) picks any of the items tied at the border.
"""

from numbers import Integral

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from rvdlib.arguments import as_indices, check_csr
from rvdlib.threads import for_blocks


def ranks(scores: np.ndarray, seen: sp.csr_matrix, items: np.ndarray) -> np.ndarray:
    """Rank of given items in each user's list: (B, J) float64, 1 is the top, inf is not listed.

    Args:
        scores: (B, items).
        seen: (B, items) CSR; every stored entry, an explicit zero too, is out of the list.
        items: (B, J) item indices, or (J,) for the same items in every list.

    Raises:
        ValueError: if a score is NaN, shapes do not agree, ``seen`` is no CSR matrix, or ``items``
            are none.
    """
    scores = _checked(scores, seen)
    items = as_indices("items", items, scores.shape[1], of="items", ndim=None)
    items = np.broadcast_to(items, (len(scores), items.shape[-1]))
    result, nan_row = _ranks(scores, seen.indptr, seen.indices, np.ascontiguousarray(items))
    if nan_row >= 0:
        raise _nan_error(nan_row)
    return result


@numba.njit(cache=True, nogil=True)
def _ranks(scores, indptr, indices, items):
    """The rank among all items, less the seen ones ahead; and the first row with NaN, or -1."""
    result = np.empty(items.shape, dtype=np.float64)
    for row in range(len(scores)):
        line = scores[row]
        n_nan = 0
        for score in line:
            n_nan += score != score
        if n_nan:
            return result, row
        seen = indices[indptr[row] : indptr[row + 1]]
        for column, item in enumerate(items[row]):
            own = line[item]
            ahead = 0
            for score in line[:item]:
                ahead += score >= own
            for score in line[item + 1 :]:
                ahead += score > own
            listed = own != -np.inf
            for other in seen:
                if other == item:
                    listed = False
                ahead -= line[other] > own or (line[other] == own and other < item)
            result[row, column] = ahead + 1 if listed else np.inf
    return result, -1


def top_k(
    scores: np.ndarray, seen: sp.csr_matrix, k: int, eligible: np.ndarray | None = None
) -> np.ndarray:
    """The first k items of each list: (B, k) item indices, -1 where a list is shorter.

    Arguments and errors as in :func:`ranks`; ``eligible``: (B, items) bool, None: everything.
    """
    scores = _checked(scores, seen)
    if eligible is not None and eligible.shape != scores.shape:
        raise ValueError(f"eligible has the shape {eligible.shape}, the scores {scores.shape}")
    n_rows, n_items = scores.shape
    check_list_length(k, n_items)
    items = np.empty((n_rows, k), dtype=np.int64)
    has_nan = np.zeros(n_rows, dtype=bool)

    def select(block):
        first, last = block.start, min(block.stop, n_rows)
        indptr = seen.indptr[first : last + 1]
        may = None if eligible is None else np.ascontiguousarray(eligible[block], dtype=bool)
        _top_k(scores[block], indptr, seen.indices, may, items[block], has_nan[block])

    for_blocks(select, n_rows, 64)
    if has_nan.any():
        raise _nan_error(int(has_nan.argmax()))
    return items


def check_list_length(k: int, n_items: int) -> None:
    """Raise ``ValueError`` unless ``k`` is a whole number of items that there are."""
    if isinstance(k, bool) or not isinstance(k, Integral) or not 1 <= k <= n_items:
        raise ValueError(f"k must be a whole number between 1 and {n_items} (the items), got {k!r}")


_CHUNK = 16


@numba.njit(cache=True, nogil=True)
def _top_k(scores, indptr, indices, eligible, items, has_nan):
    """Each row's k best unseen items into ``items``.

    The k-th best of the maxima of short chunks is a bar that k items reach; whatever is below it
    is out after one vectorised look, and the few others are sorted by insertion.
    """
    n_items, k = scores.shape[1], items.shape[1]
    n_chunks = -(-n_items // _CHUNK)
    line = np.full(n_chunks * _CHUNK, -np.inf, dtype=scores.dtype)
    maxima, ordered = np.empty(n_chunks, dtype=scores.dtype), np.empty(n_chunks, dtype=scores.dtype)
    best = np.empty(k, dtype=scores.dtype)
    for row in range(len(scores)):
        line[:n_items] = scores[row]
        n_nan = 0
        for score in line:
            n_nan += score != score
        has_nan[row] = n_nan > 0
        if n_nan:
            continue
        if eligible is not None:
            for item in range(n_items):
                line[item] = line[item] if eligible[row, item] else -np.inf
        for item in indices[indptr[row] : indptr[row + 1]]:
            line[item] = -np.inf
        for chunk in range(n_chunks):
            highest = line[chunk * _CHUNK]
            for score in line[chunk * _CHUNK + 1 : (chunk + 1) * _CHUNK]:
                highest = max(highest, score)
            maxima[chunk] = highest
        bar = line.dtype.type(-np.inf)
        if n_chunks >= k:
            ordered[:] = maxima
            bar = _kth_largest(ordered, k)
        best[:] = -np.inf
        items[row] = -1
        for chunk in range(n_chunks):
            if not (maxima[chunk] >= bar and maxima[chunk] > best[k - 1]):
                continue
            for item in range(chunk * _CHUNK, (chunk + 1) * _CHUNK):
                score = line[item]
                if not (score >= bar and score > best[k - 1]):
                    continue
                place = k - 1
                while place > 0 and score > best[place - 1]:
                    best[place], items[row, place] = best[place - 1], items[row, place - 1]
                    place -= 1
                best[place], items[row, place] = score, item


@numba.njit(cache=True, nogil=True)
def _kth_largest(values, k):
    """The k-th largest, by quickselect; ``values`` are reordered."""
    low, high, place = 0, len(values) - 1, k - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left, right = left + 1, right - 1
        if place <= right:
            high = right
        elif place >= left:
            low = left
        else:
            break
    return values[place]


def hits(ranks: np.ndarray, k: int) -> np.ndarray:
    """1 where a rank is within the first k, 0 where not, NaN where there is no rank (NaN)."""
    return np.where(np.isnan(ranks), np.nan, ranks <= k)


def gains(ranks: np.ndarray, k: int) -> np.ndarray:
    """1/log2(rank + 1) within the first k, 0 beyond, NaN where there is no rank (NaN)."""
    return hits(ranks, k) / np.log2(ranks + 1)


def target_hit_ratio(
    target_ranks: np.ndarray, raters: np.ndarray, k: int, *, count_raters: bool = False
) -> float:
    """THR@K from (users, targets) ranks and a mask of who rated which target in training.

    ``count_raters`` keeps raters in the denominator. A target that everybody rated has no share
    and is left out of the mean; NaN if no target is left.
    """
    n_hits, n_users = target_hits(target_ranks, raters, k)
    if count_raters:
        n_users = np.full(raters.shape[1], len(raters))
    counted = n_users > 0
    return float((n_hits[counted] / n_users[counted]).mean()) if counted.any() else np.nan


def target_hits(
    target_ranks: np.ndarray, raters: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each target, how many users have it among their first k, and how many could: not raters."""
    return ((target_ranks <= k) & ~raters).sum(axis=0), (~raters).sum(axis=0)


def lift(attacked: ArrayLike, clean: ArrayLike) -> ArrayLike:
    """What an attack adds to the target hit ratio: THR(attacked) − THR(not attacked)."""
    return np.subtract(attacked, clean)


def lift_removed(defended: ArrayLike, undefended: ArrayLike) -> np.ndarray:
    """1 − lift(defended)/lift(undefended), NaN where the undefended lift is below 0.01."""
    return _one_minus_ratio(defended, undefended, floor=0.01)


def reduction(defended: ArrayLike, undefended: ArrayLike) -> np.ndarray:
    """The paper's plain 1 − THR(defended)/THR(undefended), NaN where the latter is 0."""
    return _one_minus_ratio(defended, undefended, floor=np.finfo(float).tiny)


def _one_minus_ratio(defended: ArrayLike, undefended: ArrayLike, floor: float) -> np.ndarray:
    defended, undefended = np.broadcast_arrays(
        np.asarray(defended, dtype=float), np.asarray(undefended, dtype=float)
    )
    result = np.full(undefended.shape, np.nan)
    np.divide(defended, undefended, out=result, where=undefended >= floor)
    return (1 - result)[()]


def squared_errors(predictions: np.ndarray, stars: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(prediction − rating)² in stars², predictions clipped to the scale.

    Raises:
        ValueError: if a prediction is NaN.
    """
    if np.isnan(predictions).any():
        raise ValueError("a prediction is NaN: the recommender has diverged")
    predictions = np.asarray(predictions, dtype=np.float64)
    return (np.clip(predictions, levels[0], levels[-1]) - stars) ** 2


def mean(values: np.ndarray) -> float:
    """The mean of what is defined (not NaN), NaN if nothing is."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan


def _checked(scores: np.ndarray, seen: sp.csr_matrix) -> np.ndarray:
    check_csr("seen", seen)
    scores = np.ascontiguousarray(scores)
    if scores.shape != seen.shape:
        raise ValueError(f"scores have the shape {scores.shape}, the seen items {seen.shape}")
    # Narrower types would merge scores into ties, so every float type keeps its own.
    return scores if scores.dtype in (np.float32, np.float64) else scores.astype(np.float64)


def _nan_error(row: int) -> ValueError:
    return ValueError(f"scores of row {row} hold NaN: the recommender has diverged")
