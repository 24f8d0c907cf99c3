"""Before anything is attacked: whom an audit is about, on how many users, and how well it ranks."""

import math
from dataclasses import dataclass, field

import numpy as np

from rvdlib import metrics, paths
from rvdlib.audit.attacking import some_users
from rvdlib.audit.clock import Clock
from rvdlib.audit.measuring import Bench, Measured
from rvdlib.audit.subject import OurModel, OwnModel, load_own
from rvdlib.audit.tuning import Tuned
from rvdlib.data import Ratings, leave_last_out, leave_one_out
from rvdlib.models.reference import Popularity
from rvdlib.neighbors.agreement import Agreement
from rvdlib.seeding import stream
from rvdlib.strict_yaml import read_yaml

LEAST_USERS, MOST_USERS = 400, 5000
LEAST_RATINGS = 5  # of a user who is tested
_TRAININGS = 60  # that the minutes should have room for


@dataclass
class Audit:
    """What an audit asked and found; :mod:`rvdlib.audit.report` makes a report of it.

    Attributes:
        ratings: those of the users whom it was carried out on; ``whole``: all that were given.
        cells: see :class:`rvdlib.audit.verdicts.Cells`.
        interrupted: why it ended early, or nothing.
        not_tried: what → why.
        vicinities: of the first training; ``agreement``: with the second, None where there are none.
    """

    whole: Ratings
    subject: OurModel | OwnModel
    budget: float
    seed: int
    minutes: float | None
    ratings: Ratings
    prepared: Bench | None = None
    tuned: Tuned = field(default_factory=lambda: Tuned({}, {}))
    cells: dict[tuple[int, str, str], Measured] = field(default_factory=dict)
    milliseconds: dict[str, float] = field(default_factory=dict)
    not_tried: dict[str, str] = field(default_factory=dict)
    vicinities: np.ndarray | None = None
    agreement: Agreement | None = None
    interrupted: str = ""
    seconds: float = 0.0
    beaten_by_popularity: bool = False

    @property
    def bench(self) -> Bench:
        """What it measures on, once it is ``prepared``."""
        if self.prepared is None:
            raise RuntimeError("the audit is not prepared")
        return self.prepared


def subject_of(model: str, regime: str, ratings: Ratings) -> OurModel | OwnModel:
    """One of ours by its name, or your own by ``mine.py:make_model``, which is then executed."""
    if ":" in model or model.endswith(".py"):
        return OwnModel(model, regime, load_own(model))
    return OurModel(model, regime, hyperparameters(ratings.name, model, regime))


def hyperparameters(dataset: str, model: str, regime: str) -> list[dict]:
    """Those of a published data set for itself; for other data those of all of them, to choose from."""
    chosen = read_yaml(paths.PARAMS / "victims.yml")
    names = [dataset] if dataset in chosen else ["ml-100k", "filmtrust", "ml-1m", "yelp"]
    found = [chosen[name].get(regime, {}).get(model) for name in names]
    return [each for each in found if each] or [chosen["ml-100k"][regime].get(model, {})]


def prepare(found: Audit, clock: Clock, yours: np.ndarray | None, list_length: int) -> Bench:
    """Split (by time where there are times), and take as many users as the minutes have room for."""

    def bench_of(ratings: Ratings) -> Bench:
        split_by = leave_one_out if ratings.times is None else leave_last_out
        split = split_by(ratings, stream(found.seed, "split"))
        return Bench(split, found.subject, found.budget, yours, found.seed, list_length)

    clock.says("training once")
    n_users = found.whole.n_users
    size, least = min(n_users, MOST_USERS), max(LEAST_USERS, math.ceil(1 / found.budget))
    some = _sample(n_users, least, found.seed)
    tested = bool((np.diff(found.whole.matrix.indptr)[some] >= LEAST_RATINGS).any())
    if n_users > 2 * least and found.minutes is not None and tested:
        probe = bench_of(some_users(found.whole, some))
        for _ in range(2):  # the first compiles
            model = probe.fit(probe.split.train, 0)
        probe.measure(model, probe.targets(0))
        per_user = probe.fit_seconds["none"] / len(some)
        while size > least and per_user * size * _TRAININGS > clock.all:
            size = max(least, size // 2)
    if size < n_users:
        found.not_tried["all users"] = (
            f"{size:,} of {n_users:,}, drawn at random, fit into the minutes"
        )
        found.ratings = some_users(found.whole, _sample(n_users, size, found.seed))
    bench = bench_of(found.ratings)
    if bench.n_fakes < 1:
        raise ValueError(
            f"budget {found.budget:g} of {found.ratings.n_users} users is less than one fake: give "
            f"{1 / found.ratings.n_users:.2g} or more"
        )
    _choose_hyperparameters(found, bench, clock)
    return bench


def _choose_hyperparameters(found: Audit, bench: Bench, clock: Clock) -> None:
    """Of a model of ours: those that do best on validation. Of any: does popularity rank better?"""
    subject, train, targets = bench.subject, bench.split.train, bench.targets(-1)
    tries, fitted = subject.tries, []
    for at, each in enumerate(tries):
        clock.says(f"hyper-parameters {at + 1} of {len(tries)}")
        subject.tries = [each, *(t for t in tries if t is not each)]
        model = bench.fit(train, -1)
        if not at and clock.all / (2 * _TRAININGS) < bench.fit_seconds["none"] < clock.all / 10:
            model = bench.fit(train, -1)  # the first may have compiled
        measured = bench.measure(model, targets, few=False, validation=True)
        fitted.append((getattr(model, "validation_error", 0.0), at, measured))
        if bench.fit_seconds["none"] * _TRAININGS > clock.all:
            break
    _, best, measured = min(fitted, key=lambda each: each[:2])
    subject.tries = [tries[best], *(t for t in tries if t is not tries[best])]
    popular = bench.measure(Popularity().fit(train), targets, few=False, validation=True)
    found.beaten_by_popularity = bool(metrics.mean(popular.gains) > metrics.mean(measured.gains))


def _sample(n_users: int, size: int, seed: int) -> np.ndarray:
    return np.sort(stream(seed, "sample").choice(n_users, min(size, n_users), replace=False))
