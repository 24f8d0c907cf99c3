"""Compiling, done before a clock runs."""

import functools

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.lab.experiment.trained import learning_is_not_asked_for
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream


@functools.cache
def compile_victim(victim: str, regime: str) -> None:
    """Have numba compile on a handful of ratings, so that no training time holds it."""
    ratings = synthetic_ratings(20, 30, 200, rng=stream(0))
    split = leave_one_out(ratings, stream(0))
    model = VICTIMS[victim](epochs=1, unobserved_weight=0.1 if regime == "ranking" else 0.0)
    with learning_is_not_asked_for():
        model.fit(split.train, split.validation, ratings.levels, stream(0))
