"""Before anything is attacked: on how many users, with which hyper-parameters, and how well it ranks."""

import math
from dataclasses import replace
from functools import partial

import numpy as np

from rvdlib import metrics
from rvdlib.audit.clock import Clock
from rvdlib.audit.measuring import Bench
from rvdlib.audit.subject import OurModel, OwnModel
from rvdlib.data import Ratings, leave_last_out, leave_one_out
from rvdlib.data.regimes import check_regime
from rvdlib.models.reference import Popularity
from rvdlib.seeding import stream

LEAST_USERS, MOST_USERS = 400, 5000
LEAST_RATINGS = 5  # of a user who is tested
_TRAININGS = 60  # that the minutes should have room for


def prepare(
    ratings: Ratings,
    subject: OurModel | OwnModel,
    clock: Clock,
    budget: float,
    seed: int,
    yours: np.ndarray | None = None,
    list_length: int = 0,
) -> Bench:
    """Split (by time where there are times), and take as many users as the minutes have room for.

    Users, split and what is chosen on it are the same for every seed: two seeds ask the same question.

    Raises:
        ValueError: if the budget buys no fake, no user has enough ratings, or they are not for the regime.
    """
    check_regime(ratings, subject.regime)

    def sample(size: int) -> np.ndarray:
        return np.sort(stream(0, "sample").choice(ratings.n_users, size, replace=False))

    def bench_of(size: int) -> Bench:
        some = ratings if size == ratings.n_users else _of(ratings, sample(size))
        split = leave_one_out if some.times is None else leave_last_out
        return Bench(split(some, stream(0, "split")), subject, budget, yours, seed, list_length)

    clock.says("training once")
    size = min(ratings.n_users, MOST_USERS)
    least = min(size, max(LEAST_USERS, math.ceil(1 / budget)))
    tested = (np.diff(ratings.matrix.indptr)[sample(least)] >= LEAST_RATINGS).any()
    if tested and not math.isinf(clock.all):
        probe = bench_of(least)
        model = probe.fit(probe.split.train, -1)
        if probe.seconds["fit", "none"] < clock.all / 10:  # it may have compiled
            model = probe.fit(probe.split.train, -1)
        probe.measure(model, probe.targets(-1))
        while size > least and probe.seconds["fit", "none"] * size / least * _TRAININGS > clock.all:
            size = max(least, size // 2)
    bench = bench_of(size)
    if bench.n_fakes < 1:
        raise ValueError(
            f"budget {budget:g} of {size} users is less than one fake: give {1 / size:.2g} or more"
        )
    _choose_hyperparameters(bench, clock)
    return bench


def _choose_hyperparameters(bench: Bench, clock: Clock) -> None:
    """Of a model of ours: those that do best on validation. Of any: does popularity rank better?"""
    subject, train = bench.subject, bench.split.train
    measure = partial(bench.measure, targets=bench.targets(-1), few=False, validation=True)
    tries, fitted = subject.tries, []
    for at, each in enumerate(tries):
        clock.says(f"hyper-parameters {at + 1} of {len(tries)}")
        subject.tries = [each]
        model = bench.fit(train, -1)
        fitted.append((getattr(model, "validation_error", 0.0), at, measure(model)))
        if bench.seconds["fit", "none"] * _TRAININGS > clock.all:
            break
    _, best, measured = min(fitted, key=lambda each: each[:2])
    subject.tries = [tries[best]]
    popular = measure(Popularity().fit(train))
    bench.beaten_by_popularity = bool(metrics.mean(popular.gains) > metrics.mean(measured.gains))


def _of(ratings: Ratings, rows: np.ndarray) -> Ratings:
    """The ratings of these users alone; the catalogue stays whole."""
    starts = ratings.matrix.indptr
    cells = np.concatenate([np.arange(starts[row], starts[row + 1]) for row in rows])
    times = None if ratings.times is None else ratings.times[cells]
    return replace(
        ratings, matrix=ratings.matrix[rows], user_ids=ratings.user_ids[rows], times=times
    )
