"""Which items a user may be served at all, whatever their scores.

A recommender may have a method ``eligible(users)``, (B, items) bool. What is not eligible is out of
the list, which is then shorter, and has the rank ∞; scores, and RMSE with them, stay as they are.
Whoever has no such method may serve everything.
"""

from typing import Any

import numba
import numpy as np


def eligible_items(
    recommender: Any, users: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray | None:
    """(B, items) bool of this ``shape``: what each of ``users`` may be served; None: everything.

    Raises:
        ValueError: unless ``eligible`` gives a bool for each item.
    """
    method = getattr(recommender, "eligible", None)
    if method is None:
        return None
    eligible = np.asarray(method(users))
    if eligible.shape != shape or eligible.dtype != bool:
        raise ValueError(
            f"{type(recommender).__name__}.eligible gave {eligible.dtype} of the shape "
            f"{eligible.shape}, expected bool of {shape} (users, items)"
        )
    return eligible


def also_eligible(recommender: Any, users: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """(B, items) bool: what is ``eligible``, and what ``recommender`` may serve besides."""
    inner = eligible_items(recommender, users, eligible.shape)
    return eligible if inner is None else eligible & inner


def only_eligible(recommender: Any, users: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The ``scores`` (B, items), −inf for what is not eligible; NaN stays, for its check to find.

    Scores are not written to; where everything is eligible, they are the array that is given.

    Raises:
        ValueError: as :func:`eligible_items`.
    """
    eligible = eligible_items(recommender, users, scores.shape)
    if eligible is None:
        return scores
    # Narrower types, and integers that know no infinity, become float64, as the metrics have it.
    dtype = scores.dtype if scores.dtype in (np.float32, np.float64) else np.float64
    scores = np.ascontiguousarray(scores, dtype=dtype)
    return _masked(scores, np.ascontiguousarray(eligible))


@numba.njit(cache=True, nogil=True)
def _masked(scores, eligible):
    """In one pass: with NumPy it takes as long as counting the votes of 30 neighbours."""
    result, out = np.empty_like(scores), scores.dtype.type(-np.inf)
    for row in range(scores.shape[0]):
        for item in range(scores.shape[1]):
            score = scores[row, item]
            result[row, item] = score if eligible[row, item] or score != score else out
    return result
