"""How good the recommenders are while nobody attacks: the victims, and what they are held against.

The rating regime is judged by RMSE on a random fifth of all ratings, the ranking regime by HR@50
and NDCG@50 on leave-one-out. Whatever is trained for ratings is trained once more on leave-one-out,
to see what it is worth at ranking.
"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from rvdlib import evaluation
from rvdlib.data import Ratings, Split, leave_one_out, load_dataset, random_holdout
from rvdlib.evaluation import Recommender
from rvdlib.lab.experiment.fingerprint import Fingerprint, cell_fingerprint
from rvdlib.lab.experiment.hyperparameters import victim_hyperparameters
from rvdlib.lab.experiment.machine import peak_mib
from rvdlib.lab.experiment.parallel import Batch, Task, rows_of
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.experiment.trained import beaten_by, learning_is_not_asked_for
from rvdlib.lab.experiment.warm_up import compile_victim
from rvdlib.models import VICTIMS
from rvdlib.models.biases import Biases
from rvdlib.models.reference import EASE, Popularity
from rvdlib.seeding import stream

TIMED = ["train_seconds", "peak_mib"]  # columns that differ from run to run
REFERENCES = {model.name: model for model in (Biases, EASE, Popularity)}


class Trial(BaseModel):
    """One recommender, in the regime that it is trained in, on the splits of one seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    system: str
    regime: Literal["rating", "ranking"]
    seed: int


def trials(datasets: Sequence[str], victims: Sequence[str], seeds: Sequence[int]) -> list[Trial]:
    """Each victim in both regimes, and each reference in its own."""
    systems = [(victim, regime) for regime in ("rating", "ranking") for victim in victims]
    systems += [("biases", "rating"), ("EASE", "ranking"), ("popularity", "ranking")]
    return [
        Trial(dataset=dataset, system=system, regime=regime, seed=seed)
        for dataset in datasets
        for system, regime in systems
        for seed in seeds
    ]


def run_trials(
    wanted: Sequence[Trial], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """One row a trial, in the order given; trials on record are not carried out again.

    Columns: those of :class:`Trial`, of :func:`judge`, and ``peak_mib``, the most memory that the
    process which carried it out has held so far (an upper bound, therefore).
    """
    tasks, compute, unit = batch(wanted)
    return pd.DataFrame(rows_of(tasks, compute, store, jobs, unit))


def batch(wanted: Sequence[Trial]) -> Batch:
    """What :func:`run_trials` carries out."""
    tasks = [Task(trial, _spec(trial), _fingerprint(trial), trial) for trial in wanted]
    return Batch(tasks, _rows_of_trials, "recommenders")


def judge(
    fit: Callable[[Split], Recommender], ratings: Ratings, regime: str, seed: int
) -> dict[str, float]:
    """What a recommender is worth on the splits of one seed; ``fit`` trains it on a split.

    Returns:
        ``hit_ratio``, ``ndcg`` (at 50) and ``rmse`` on leave-one-out; ``rmse_holdout`` on the random
        fifth (rating regime); ``train_seconds`` of the training that its regime is judged by, in
        CPU time of one thread, so that other work on the machine does not count.
    """
    split = leave_one_out(ratings, stream(seed, "split"))
    model, seconds = _timed(fit, split)
    ranked = evaluation.evaluate(model, split, [])
    error = np.nan
    if regime == "rating":
        split = random_holdout(ratings, stream(seed, "split"))
        model, seconds = _timed(fit, split)
        error = evaluation.rmse(model, split.test, ratings.levels)
    return {
        "rmse_holdout": error,
        "hit_ratio": ranked.hit_ratio,
        "ndcg": ranked.ndcg,
        "rmse": ranked.rmse,
        "train_seconds": seconds,
    }


def _rows_of_trials(trials: list[Trial]) -> Iterator[dict]:
    for trial in trials:
        if trial.system in VICTIMS:
            compile_victim(trial.system, trial.regime)
        fit = functools.partial(_fit, trial)
        judged = judge(fit, _ratings(trial.dataset), trial.regime, trial.seed)
        yield trial.model_dump() | judged | {"peak_mib": peak_mib()}


def _fit(trial: Trial, split: Split) -> Recommender:
    if trial.system in REFERENCES:
        return REFERENCES[trial.system]().fit(split.train)
    victim = VICTIMS[trial.system](**_hyperparameters(trial))
    rng = stream(trial.seed, "model", trial.system)
    with learning_is_not_asked_for():
        victim.fit(split.train, split.validation, split.ratings.levels, rng)
    beaten_by(victim, split.validation, dataset=trial.dataset, seed=trial.seed)
    return victim


def _timed(fit: Callable[[Split], Recommender], split: Split) -> tuple[Recommender, float]:
    start = time.process_time()
    return fit(split), time.process_time() - start


def _hyperparameters(trial: Trial) -> dict:
    if trial.system in REFERENCES:
        return {}
    return victim_hyperparameters(trial.dataset, trial.regime, trial.system)


def _spec(trial: Trial) -> dict:
    """All that identifies a trial; it must never be taken for an attacked cell."""
    return {"quality": trial.model_dump(), "hyperparameters": _hyperparameters(trial)}


def _fingerprint(trial: Trial) -> Fingerprint:
    used = [VICTIMS[trial.system]] if trial.system in VICTIMS else []
    return cell_fingerprint("lab/experiment/quality.py", trial.dataset, used)


_ratings = functools.lru_cache(maxsize=2)(load_dataset)
