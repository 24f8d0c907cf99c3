"""How good the recommenders are while nobody attacks: the victims, and what they are held against.

The rating regime is judged by RMSE on a random fifth of all ratings, the ranking regime by HR@50
and NDCG@50 on leave-one-out. Whatever is trained for ratings is trained once more on leave-one-out,
to see what it is worth at ranking.
"""

import functools
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Literal

import joblib
import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from rvdlib import evaluation
from rvdlib.data import (
    Ratings,
    Split,
    leave_one_out,
    load_dataset,
    random_holdout,
    synthetic_ratings,
)
from rvdlib.evaluation import Recommender
from rvdlib.models import VICTIMS
from rvdlib.models.biases import Biases
from rvdlib.models.reference import EASE, Popularity
from rvdlib.seeding import stream
from rvdlib.study.cells import single_thread
from rvdlib.study.fingerprint import Fingerprint, cell_fingerprint
from rvdlib.study.hyperparameters import victim_hyperparameters
from rvdlib.study.progress import progress
from rvdlib.study.store import CellStore

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
    store = store or CellStore()
    fingerprints = {
        dataset: cell_fingerprint("study/quality.py", {dataset: load_dataset(dataset).sha256})
        for dataset in {trial.dataset for trial in wanted}
    }
    rows: dict[Trial, dict] = {}
    for trial in wanted:
        found = store.lookup(_spec(trial), fingerprints[trial.dataset])
        if found.rows is not None:
            rows[trial] = found.rows[0]
    missing = [trial for trial in dict.fromkeys(wanted) if trial not in rows]
    tasks = (joblib.delayed(_run_trial)(t, fingerprints[t.dataset], store) for t in missing)
    jobs = min(joblib.effective_n_jobs(jobs), max(1, len(missing)))
    finished = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)
    rows |= progress(finished, total=len(missing), description="recommenders")
    return pd.DataFrame([rows[trial] for trial in wanted])


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


def _run_trial(trial: Trial, fingerprint: Fingerprint, store: CellStore) -> tuple[Trial, dict]:
    with single_thread():
        _compile(trial.system, trial.regime)
        judged = judge(
            lambda split: _fit(trial, split), _ratings(trial.dataset), trial.regime, trial.seed
        )
    row = trial.model_dump() | judged | {"peak_mib": _peak_mib()}
    store.save(_spec(trial), fingerprint, [row])
    return trial, row


def _fit(trial: Trial, split: Split) -> Recommender:
    if trial.system in REFERENCES:
        return REFERENCES[trial.system]().fit(split.train)
    victim = VICTIMS[trial.system](**_hyperparameters(trial))
    rng = stream(trial.seed, "model", trial.system)
    return victim.fit(split.train, split.validation, split.ratings.levels, rng)


def _timed(fit: Callable[[Split], Recommender], split: Split) -> tuple[Recommender, float]:
    start = time.process_time()
    return fit(split), time.process_time() - start


@functools.cache
def _compile(system: str, regime: str) -> None:
    """Have numba compile on a handful of ratings, so that no training time holds it."""
    if system in VICTIMS:
        ratings = synthetic_ratings(20, 30, 200, rng=stream(0))
        split = leave_one_out(ratings, stream(0))
        victim = VICTIMS[system](epochs=1, unobserved_weight=0.1 * (regime == "ranking"))
        victim.fit(split.train, split.validation, ratings.levels, stream(0))


def _hyperparameters(trial: Trial) -> dict:
    if trial.system in REFERENCES:
        return {}
    return victim_hyperparameters(trial.dataset, trial.regime, trial.system)


def _spec(trial: Trial) -> dict:
    """All that identifies a trial; it must never be taken for an attacked cell."""
    return {"quality": trial.model_dump(), "hyperparameters": _hyperparameters(trial)}


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


_ratings = functools.lru_cache(maxsize=2)(load_dataset)
