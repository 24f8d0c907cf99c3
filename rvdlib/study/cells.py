"""From a scenario to rows of ``cells.csv``: split, attack, train, and evaluate each defence.

A cell is one scenario under one defence. Cells are independent, so they run in parallel, one
thread each, and give the same numbers however many run at once.
"""

import functools
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import joblib
import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict, Field
from threadpoolctl import threadpool_limits

from rvdlib import attacks
from rvdlib.data import Split, leave_one_out, load_dataset
from rvdlib.defenses.vicinal import RVD, RVDConfig
from rvdlib.evaluation import evaluate
from rvdlib.models import VICTIMS, Victim
from rvdlib.seeding import stream
from rvdlib.statistics import user_sample_interval
from rvdlib.study.fingerprint import Fingerprint, cell_fingerprint
from rvdlib.study.hyperparameters import victim_hyperparameters
from rvdlib.study.progress import progress
from rvdlib.study.store import CellStore
from rvdlib.threat_model import build_threat_model, draw_targets

UNDEFENDED = "none"


class Scenario(BaseModel):
    """One trained victim: what it is trained on, and how it was attacked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    victim: Literal["MF", "NSVD", "AutoRec", "CDAE"]
    regime: Literal["rating", "ranking"]
    attack: str = Field("none", description="a name of rvdlib.attacks.ATTACKS, or none")
    attack_size: float = Field(0.03, ge=0, le=1)
    target_set: Literal["unpopular", "random"] = "unpopular"
    seed: int = Field(0, ge=0)
    n_users: int | None = Field(
        None, ge=1, description="evaluate a fixed random sample of users; None: every user"
    )
    evaluated_on: Literal["test", "validation"] = "test"


class Cell(BaseModel):
    """A scenario under one defence: ``none``, or a named form of RVD with its choices."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: Scenario
    defense: str = UNDEFENDED
    rvd: RVDConfig | None = None


@dataclass(frozen=True, eq=False)
class Attacked:
    """A scenario carried out: the trained victim, and whom to evaluate on what."""

    split: Split
    targets: np.ndarray
    victim: Victim
    users: np.ndarray
    train_seconds: float


def carry_out(scenario: Scenario) -> Attacked:
    """Split, draw the targets, poison the training data, train the victim."""
    seed = scenario.seed
    split = _split(scenario.dataset, seed, scenario.evaluated_on)
    targets = draw_targets(split, scenario.target_set, stream(seed, "targets", scenario.target_set))
    train = split.train
    if scenario.attack != "none":
        rng = stream(seed, "attack", scenario.attack)
        threat = build_threat_model(split, targets, rng, attack_size=scenario.attack_size)
        train = attacks.poison(split, attacks.craft(scenario.attack, threat, rng))
    chosen = victim_hyperparameters(scenario.dataset, scenario.regime, scenario.victim)
    start = time.perf_counter()
    victim = VICTIMS[scenario.victim](**chosen).fit(
        train, split.validation, split.ratings.levels, stream(seed, "model", scenario.victim)
    )
    seconds = time.perf_counter() - start
    n_real = split.train.shape[0]
    users = np.arange(n_real)
    if scenario.n_users and scenario.n_users < n_real:
        users = np.sort(stream(seed, "users").choice(n_real, scenario.n_users, replace=False))
    return Attacked(split, targets, victim, users, seconds)


def evaluate_cell(cell: Cell, attacked: Attacked) -> dict:
    """One row: the scenario, the defence, and what was measured."""
    scenario, victim = cell.scenario, attacked.victim
    recommender = RVD(victim, **cell.rvd.model_dump()) if cell.rvd else victim
    start = time.perf_counter()
    evaluation = evaluate(recommender, attacked.split, attacked.targets, users=attacked.users)
    milliseconds = 1000 * (time.perf_counter() - start) / len(attacked.users)
    sampled = user_sample_interval(
        evaluation,
        "target_hit_ratio",
        population=attacked.split.train.shape[0],
        n_resamples=500,
        seed=scenario.seed,
    )
    return {
        **scenario.model_dump(exclude={"n_users"}),
        "defense": cell.defense,
        **evaluation.summary(),
        "n_users": len(attacked.users),
        "target_hit_ratio_sample_low": sampled.low,
        "target_hit_ratio_sample_high": sampled.high,
        "train_seconds": attacked.train_seconds,
        "defense_ms_per_user": milliseconds,
    }


def run_cells(
    cells: Sequence[Cell], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """One row a cell, in the order given; cells on record are not computed again.

    Args:
        store: where finished cells are kept and looked for first.
        jobs: scenarios carried out at once, one thread each; -1: as many as there are cores.
    """
    store = store or CellStore()
    rows: dict[Cell, dict] = {}
    missing: dict[Scenario, list[Cell]] = {}
    reasons: Counter[str] = Counter()
    for cell in dict.fromkeys(cells):
        found = store.lookup(_spec(cell), _fingerprint(cell.scenario.dataset))
        if found.rows is None:
            missing.setdefault(cell.scenario, []).append(cell)
            reasons[found.reason] += 1
        else:
            rows[cell] = found.rows[0]
    tasks = (joblib.delayed(_run_scenario)(group, store) for group in missing.values())
    jobs = min(joblib.effective_n_jobs(jobs), max(1, len(missing)))
    finished = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    for computed in progress(finished, total=len(missing), description=f"victims (cells: {why})"):
        rows.update(computed)
    return pd.DataFrame([rows[cell] for cell in cells])


def _run_scenario(cells: list[Cell], store: CellStore) -> list[tuple[Cell, dict]]:
    with single_thread():
        attacked = carry_out(cells[0].scenario)
        computed = []
        for cell in cells:
            row = evaluate_cell(cell, attacked)
            store.save(_spec(cell), _fingerprint(cell.scenario.dataset), [row])
            computed.append((cell, row))
    return computed


@contextmanager
def single_thread():
    """Numbers must not depend on how many cores there are, nor cores be asked for twice over."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def _spec(cell: Cell) -> dict:
    """All that identifies a cell: the victim's hyper-parameters too."""
    scenario = cell.scenario
    chosen = victim_hyperparameters(scenario.dataset, scenario.regime, scenario.victim)
    return {**cell.model_dump(mode="json"), "hyperparameters": chosen}


@functools.cache
def _fingerprint(dataset: str) -> Fingerprint:
    return cell_fingerprint({dataset: load_dataset(dataset).sha256})


@functools.lru_cache(maxsize=4)
def _split(dataset: str, seed: int, evaluated_on: str) -> Split:
    split = leave_one_out(load_dataset(dataset), stream(seed, "split"))
    return split if evaluated_on == "test" else replace(split, test=split.validation)
