"""What a defence costs real users, as rows: accuracy by third of the users, and whom detectors remove.

Thirds are of the evaluated users: by their own training ratings, and by the training ratings of their
test items; of equal counts the lower row number comes first.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from rvdlib import metrics
from rvdlib.attacks import ATTACKS, poison
from rvdlib.data import Split
from rvdlib.defenses import DEFENSES
from rvdlib.evaluation import evaluate
from rvdlib.lab.experiment.cells import Cell, carry_out, sample_users
from rvdlib.lab.experiment.fingerprint import cell_fingerprint
from rvdlib.lab.experiment.hyperparameters import victim_hyperparameters
from rvdlib.lab.experiment.parallel import Batch, Compute, Task, rows_of
from rvdlib.lab.experiment.poison import kept_poison
from rvdlib.lab.experiment.splits import split_of_seed
from rvdlib.lab.experiment.store import CellStore
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream

MODULE = "lab/experiment/paying.py"
THIRDS = ("few", "some", "many")
BY = ("activity", "popularity")


def run_thirds(
    cells: Sequence[Cell], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """HR@50 of each third of the users of each cell: a column ``activity few``, and so on.

    Beside them dataset, regime, attack, seed and defense.
    """
    tasks, compute, unit = thirds_batch(cells)
    return pd.DataFrame(rows_of(tasks, compute, store, jobs, unit))


def thirds_batch(cells: Sequence[Cell]) -> Batch:
    """What :func:`run_thirds` computes."""
    return _batch("thirds", cells, _thirds, "victims")


def run_removals(
    cells: Sequence[Cell], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """Whom the detectors of each cell remove: ``real_users_removed``, a share of those with ratings,
    and ``fakes_removed``, a share of all fakes.

    Beside them dataset, regime, attack, seed and defense. Nothing is trained.
    """
    tasks, compute, unit = removals_batch(cells)
    return pd.DataFrame(rows_of(tasks, compute, store, jobs, unit))


def removals_batch(cells: Sequence[Cell]) -> Batch:
    """What :func:`run_removals` computes."""
    return _batch("removals", cells, _removals, "poisoned sets")


def _batch(what: str, cells: Sequence[Cell], compute: Compute, unit: str) -> Batch:
    return Batch([_task(what, cell) for cell in cells], compute, unit)


def _task(what: str, cell: Cell) -> Task:
    scenario = cell.scenario
    chosen = victim_hyperparameters(scenario.dataset, scenario.regime, scenario.victim)
    own = cell.model_dump(mode="json")
    spec = {"what": what, **own.pop("scenario"), **own, "hyperparameters": chosen}
    used = [VICTIMS[scenario.victim], *(DEFENSES[step.method] for step in cell.chain)]
    used += [ATTACKS[scenario.attack].function] if scenario.attack != "none" else []
    code = cell_fingerprint(MODULE, scenario.dataset, used)
    return Task(cell, spec, code, (what, str(scenario)))


def _about(cell: Cell) -> dict:
    known = cell.scenario.model_dump(include={"dataset", "regime", "attack", "seed"})
    return known | {"defense": cell.defense}


def _thirds(cells: list[Cell]) -> Iterator[dict]:
    trained = carry_out(cells[0].scenario)
    split = trained.split
    for cell in cells:
        users = sample_users(split.train.shape[0], cell.n_users, cell.scenario.seed)
        own = carry_out(cell.scenario, cell.training) if cell.training else trained
        served = cell.defended_by().wrap(own.victim)
        evaluation = evaluate(served, split, trained.targets, users=users)
        hits = metrics.hits(evaluation.test_ranks, evaluation.k)
        yield _about(cell) | {
            f"{by} {third}": metrics.mean(hits[here])
            for by, counts in zip(BY, _counts(split, users), strict=True)
            for third, here in zip(THIRDS, thirds(counts), strict=True)
        }


def thirds(counts: np.ndarray) -> list[np.ndarray]:
    """Positions of the lowest, the middle and the highest third; equal counts in their order."""
    return np.array_split(np.argsort(counts, kind="stable"), 3)


def _counts(split: Split, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training ratings of each of the users, and of their test items (0 without one)."""
    item_of = np.full(split.train.shape[0], -1)
    item_of[split.test.users] = split.test.items
    raters = np.bincount(split.train.indices, minlength=split.train.shape[1])
    items = item_of[users]
    return np.diff(split.train.indptr)[users], np.where(items >= 0, raters[items], 0)


def _removals(cells: list[Cell]) -> Iterator[dict]:
    scenario = cells[0].scenario
    split = split_of_seed(scenario.dataset, scenario.seed)
    train, n_real = split.train, split.train.shape[0]
    if scenario.attack != "none":
        train = poison(split, kept_poison(**scenario.poison))
    rated = train.getnnz(axis=1) > 0
    for cell in cells:
        rng = stream(scenario.seed, "clean")
        left = cell.defended_by().clean(train, split.ratings.levels, rng).getnnz(axis=1) > 0
        gone = rated & ~left
        yield _about(cell) | {
            "real_users_removed": gone[:n_real].sum() / rated[:n_real].sum(),
            "fakes_removed": metrics.mean(gone[n_real:]),
        }
