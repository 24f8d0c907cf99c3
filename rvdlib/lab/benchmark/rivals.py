"""What each rival costs in time: its training, and a user served, beside the undefended victim's.

One process and one thread, whose CPU time counts, so that other work does not; nobody attacks. A chain
of two trains as its first part does and serves as its second.
"""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse as sp

from rvdlib.data import Split, leave_one_out, synthetic_ratings
from rvdlib.evaluation import Recommender
from rvdlib.lab.benchmark.serving import in_turn, lists, prepare
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, Scenario, sample_users
from rvdlib.lab.experiment.hyperparameters import (
    RVD_HARDENED,
    rival_defenses,
    victim_hyperparameters,
)
from rvdlib.lab.experiment.progress import progress
from rvdlib.lab.experiment.splits import split_of_seed
from rvdlib.lab.experiment.trained import learning_is_not_asked_for
from rvdlib.models import VICTIMS, Victim
from rvdlib.seeding import stream
from rvdlib.threads import single_thread

TRAININGS, ROUNDS = 2, 5
SECONDS = 0.05  # of CPU at least that a form is served in a round: shorter ones say little
KEY = ["dataset", "regime", "victim", "defense"]


def costs(
    dataset: str,
    victim: str,
    regimes: Sequence[str],
    trained: Sequence[str],
    n_users: int,
    seed: int = 0,
) -> pd.DataFrame:
    """CPU seconds to train each defence that stands alone, and CPU milliseconds to serve a user.

    Of those before or in training the ones in ``trained``. All serve the same ``n_users`` in turn, each
    as often as the clock needs. What acts at inference alone has the undefended victim's training.

    Returns:
        A row a defence: columns :data:`KEY`, train_seconds (the least of some trainings),
        ms_per_user (median over rounds), and training and serving, the same over the undefended
        victim's (of serving the median of the ratios within a round).
    """
    with single_thread(), learning_is_not_asked_for():
        scenarios = [
            Scenario(dataset=dataset, victim=victim, regime=regime, seed=seed) for regime in regimes
        ]
        return pd.concat([_costs(each, trained, n_users) for each in scenarios], ignore_index=True)


def _costs(scenario: Scenario, trained: Sequence[str], n_users: int) -> pd.DataFrame:
    of = scenario.regime, scenario.victim, scenario.dataset
    forms = {UNDEFENDED: {}} | rival_defenses(*of, trained, chained=(), against=[RVD_HARDENED])
    cells = {name: Cell(scenario=scenario, **form) for name, form in forms.items()}
    split = split_of_seed(scenario.dataset, scenario.seed)
    trainers = {repr(cell.training): cell for cell in cells.values()}
    doing = f"{scenario.dataset}, {scenario.regime} regime"
    for cell in trainers.values():
        _train(cell, _small(), epochs=1)  # compiles
    fitted = {key: [] for key in trainers}
    turns = [*trainers.items()] * TRAININGS
    for key, cell in progress(turns, total=len(turns), description=f"{doing}: trained"):
        fitted[key].append(_train(cell, split))
    seen = split.train
    sample = sample_users(seen.shape[0], n_users, scenario.seed)
    work, seconds, visits = {}, {}, {}
    for name, cell in cells.items():
        victim, seconds[name] = min(fitted[repr(cell.training)], key=lambda each: each[1])
        ready, _ = prepare(partial(cell.defended_by().wrap, victim), seen)
        served = often_enough(ready, sample, seen)
        work[name], visits[name] = partial(lists, ready, served, seen), len(served)
    known = {"clock": time.process_time, "description": f"{doing}: served"}
    taken = pd.DataFrame(in_turn(work, ROUNDS, **known))
    each = 1000 * taken / pd.Series(visits)
    found = pd.DataFrame(
        {
            "train_seconds": seconds,
            "ms_per_user": each.median(),
            "training": pd.Series(seconds) / seconds[UNDEFENDED],
            "serving": each.div(each[UNDEFENDED], axis=0).median(),
        }
    ).loc[[*cells]]
    about = scenario.model_dump(include={"dataset", "regime", "victim"})
    return found.rename_axis("defense").reset_index().assign(**about)[[*KEY, *found]]


def often_enough(recommender: Recommender, users: np.ndarray, seen: sp.csr_matrix) -> np.ndarray:
    """``users`` over and over, each as often as any other, until serving them takes :data:`SECONDS`."""
    while True:
        start = time.process_time()
        lists(recommender, users, seen)
        if time.process_time() - start >= SECONDS:
            return users
        users = np.tile(users, 2)


def _train(cell: Cell, split: Split, **changed) -> tuple[Victim, float]:
    """The victim as the cell has it trained, and the CPU seconds of cleaning and training."""
    scenario, chain, levels = cell.scenario, cell.defended_by(), split.ratings.levels
    of = scenario.dataset, scenario.regime, scenario.victim
    victim = VICTIMS[scenario.victim](**victim_hyperparameters(*of) | changed)
    start = time.process_time()
    train = chain.clean(split.train, levels, stream(scenario.seed, "clean"))
    rng = stream(scenario.seed, "model", scenario.victim)
    victim = chain.fit(victim, train, split.validation, levels, rng)
    return victim, time.process_time() - start


def _small() -> Split:
    ratings = synthetic_ratings(60, 80, 1500, rng=stream(0, "small"))
    return leave_one_out(ratings, stream(0, "split"))
