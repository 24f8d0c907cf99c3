"""An oracle that is told who some of the fakes are, and how many there are, and looks for the others.

Before training it empties the rows of as many users as there are fakes: those that fraudulent action
propagation (:mod:`rvdlib.defenses.fraudulent_action_propagation`) finds likeliest to be fake, starting
from a random tenth of the fakes. No defence knows that: like :mod:`rvdlib.lab.experiment.oracles` it
is privileged, and shows what this method makes of a few labels; another might make more of them.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from rvdlib.defenses import Defense
from rvdlib.defenses.fraudulent_action_propagation import propagated
from rvdlib.defenses.remove_detected import without_users
from rvdlib.lab.experiment.cells import Cell, carry_out, evaluate_cell
from rvdlib.lab.experiment.fingerprint import cell_fingerprint
from rvdlib.lab.experiment.hyperparameters import victim_hyperparameters
from rvdlib.lab.experiment.oracles import Told, looked_up
from rvdlib.lab.experiment.parallel import Batch, Task, rows_of
from rvdlib.lab.experiment.splits import split_of_seed
from rvdlib.lab.experiment.store import CellStore

MODULE = "lab/experiment/seeded_oracle.py"
PROPAGATED = "oracle: FAP from known fakes"
KNOWN = 0.1  # of the fakes, at least one


class ToldSome(Told):
    """A scenario served by somebody who is told who some of the fakes are."""

    oracle: Literal[PROPAGATED] = PROPAGATED


class Propagation(Defense):
    """Removes whom it finds; ``n_real``: the row at which the fakes begin, which no defence is told."""

    def __init__(self, n_real: int):
        super().__init__()
        self.n_real = n_real

    def defense(self) -> Defense:
        """As a step of a chain."""
        return self

    def clean(self, train, levels, rng):
        n_fakes = train.shape[0] - self.n_real
        n_known = min(n_fakes, max(1, round(KNOWN * n_fakes)))
        found = propagated(train, self.n_real + rng.choice(n_fakes, n_known, replace=False))
        removed = np.zeros(len(found), dtype=bool)
        removed[np.argsort(-found, kind="stable")[:n_fakes]] = True
        return without_users(train, removed)


def run_seeded(
    wanted: Sequence[ToldSome], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """One row for each, as :func:`rvdlib.lab.experiment.oracles.run_oracles` has them."""
    tasks, compute, unit = batch(wanted)
    return pd.DataFrame(rows_of(tasks, compute, store, jobs, unit))


def batch(wanted: Sequence[ToldSome]) -> Batch:
    """What :func:`run_seeded` computes."""
    return Batch([_task(each) for each in wanted], _rows, "seeded oracles")


def _rows(wanted: list[ToldSome]) -> Iterator[dict]:
    return map(_row, wanted)


def _row(told: ToldSome) -> dict:
    scenario = told.scenario
    split = split_of_seed(scenario.dataset, scenario.seed, scenario.evaluated_on)
    served = carry_out(scenario, [Propagation(split.train.shape[0])], split)
    cell = Cell(scenario=scenario, defense=told.oracle, n_users=told.n_users)
    return evaluate_cell(cell, served) | {"method": "oracle"}


def _task(told: ToldSome) -> Task:
    of = told.scenario.dataset, told.scenario.regime, told.scenario.victim
    spec = {**told.model_dump(mode="json"), "hyperparameters": victim_hyperparameters(*of)}
    code = cell_fingerprint(MODULE, told.scenario.dataset, looked_up(told.scenario))
    return Task(told, spec, code, str(told.scenario))
