"""What a data set looks like, and what the leave-one-out split leaves of it."""

import numpy as np

from rvdlib.data.ratings import Ratings
from rvdlib.data.splits import leave_one_out
from rvdlib.seeding import stream


def summarize(ratings: Ratings) -> dict[str, str]:
    """Facts by name, ready to print."""
    return {
        "name": ratings.name,
        "source": ratings.source,
        "users": f"{ratings.n_users:,}",
        "items": f"{ratings.n_items:,}",
        "ratings": f"{ratings.n_ratings:,}",
        "density": f"{ratings.density:.3%}",
        "scale": _scale(ratings.levels),
        "mean profile size": f"{ratings.mean_profile_size:,}",
        "ratings per user": _quartiles(ratings.matrix.getnnz(axis=1)),
        "ratings per item": _quartiles(ratings.matrix.getnnz(axis=0)),
        "leave-one-out": _leave_one_out(ratings),
        "SHA-256": ratings.sha256,
    }


def _leave_one_out(ratings: Ratings) -> str:
    """What the split of seed 0 leaves, or why there is none."""
    try:
        split = leave_one_out(ratings, stream(0, "split"))
    except ValueError as error:
        return f"not possible: {error}"
    n_tested = len(split.test.users)
    n_cold = int((np.bincount(split.train.indices, minlength=ratings.n_items) == 0).sum())
    return (
        f"users evaluated: {n_tested:,}; users with fewer than 5 ratings, whole "
        f"in training: {ratings.n_users - n_tested:,}; items without a training rating: {n_cold:,}"
    )


def _scale(levels: np.ndarray) -> str:
    if len(levels) == 1:
        return f"{levels[0]:g} alone: rankings can be learnt and measured, RMSE cannot"
    steps = np.diff(levels)
    if len(levels) > 20:
        return f"{levels[0]:g} to {levels[-1]:g} in {len(levels):,} levels"
    if len(steps) and np.allclose(steps, steps[0]):
        return f"{levels[0]:g} to {levels[-1]:g} by {steps[0]:g}"
    return ", ".join(f"{level:g}" for level in levels)


def _quartiles(counts: np.ndarray) -> str:
    low, q1, median, q3, high = np.quantile(counts, [0, 0.25, 0.5, 0.75, 1])
    return f"median {median:,g}, quartiles {q1:,g} and {q3:,g}, range {low:,g} to {high:,g}"
