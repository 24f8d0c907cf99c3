"""The rows of a profile that are missing: what they cost, and computing the most valuable first."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from rvdlib.lab.errors import OtherStateError, StudyError
from rvdlib.lab.experiment.cluster import connected, run_on_cluster
from rvdlib.lab.experiment.lines import flat
from rvdlib.lab.experiment.parallel import (
    Batch,
    Group,
    Task,
    in_groups,
    jobs_asked_for,
    run_groups,
)
from rvdlib.lab.experiment.plain_values import encode
from rvdlib.lab.experiment.progress import progress
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.runner.costs import Costs

SEEDS = (3, 5, math.inf)  # of everything, before more seeds of anything

Make = Callable[[Sequence[Any]], Batch]
# Notebook → how a batch is made, and of what, as rvdlib.lab.study.planned has it.
Wanted = Mapping[str, Sequence[tuple[Make, Sequence[Any]]]]


class Row(NamedTuple):
    """One row that notebooks ask for.

    Attributes:
        notebooks: that ask for it, in order.
        tier: place in :data:`SEEDS` of the first number that its seed is within.
    """

    task: Task
    make: Make
    dataset: str
    notebooks: list[str]
    tier: int
    finished: bool


def survey(wanted: Wanted, store: CellStore) -> list[Row]:
    """All rows, each once, in the order of the notebooks."""
    asked: dict[str, Row] = {}
    for notebook, parts in wanted.items():
        tasks = [(make, task) for make, items in parts for task in make(items).tasks]
        columns = [dict(flat(task.spec)) for _, task in tasks]
        seeds = sorted({own.get("seed", 0) for own in columns})
        for (make, task), own in zip(tasks, columns, strict=True):
            place, key = seeds.index(own.get("seed", 0)), store.path(task.spec).stem
            tier = next(n for n, most in enumerate(SEEDS) if place < most)
            known = asked.get(key, Row(task, make, str(own["dataset"]), [], tier, False))
            names = [*dict.fromkeys([*known.notebooks, notebook])]
            asked[key] = known._replace(notebooks=names, tier=min(tier, known.tier))
    looked_up = progress(asked.values(), total=len(asked), description="looking for finished rows")
    return [
        row._replace(finished=store.lookup(row.task.spec, row.task.fingerprint).rows is not None)
        for row in looked_up
    ]


def of_datasets(rows: Sequence[Row], datasets: Sequence[str]) -> list[Row]:
    """The rows of these data sets; all if it names none.

    Raises:
        StudyError: for a data set of which there are none.
    """
    if unknown := {*datasets} - {row.dataset for row in rows}:
        raise StudyError(f"these notebooks have no rows of {', '.join(sorted(unknown))}")
    return [row for row in rows if not datasets or row.dataset in datasets]


def missing_by(rows: Sequence[Row], costs: Costs) -> pd.DataFrame:
    """What is missing, by notebook and data set; a row of two notebooks counts for the first.

    Columns: ``rows`` and ``missing``; hours of one core for 3 seeds, for up to 5, and for all;
    ``peak_mib`` of a process, as large as one of its kind has been; of the missing rows, ``own``, the
    share whose own kind is finished, and ``unknown``, how many are in no estimate, as no finished row
    is anything like them. The others are estimated by the nearest kind.
    """
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.notebooks[0], row.dataset), []).append(row)
    table = []
    for (notebook, dataset), own in found.items():
        missing = [row for row in own if not row.finished]
        guesses = [(row.tier, costs.estimate(encode(row.task.spec))) for row in missing]
        known = [(tier, guess) for tier, guess in guesses if guess]
        line = {"notebook": notebook, "dataset": dataset, "rows": len(own), "missing": len(missing)}
        for most, name in enumerate(("hours_3_seeds", "hours_5_seeds", "hours")):
            line[name] = sum(guess.seconds for tier, guess in known if tier <= most) / 3600
        line["peak_mib"] = max((guess.peak_mib for _, guess in known), default=math.nan)
        line["own"] = sum(guess.own for _, guess in known) / len(missing) if missing else math.nan
        table.append(line | {"unknown": len(guesses) - len(known)})
    return pd.DataFrame(table)


def work(
    rows: Sequence[Row],
    store: CellStore,
    costs: Costs,
    *,
    hours: float = math.inf,
    datasets: Sequence[str] = (),
    scheduler: str = "",
) -> int:
    """Compute what is missing, three seeds of everything first, and stop in time.

    A group of rows is not begun if finished ones tell that it would take longer than is left. Every
    row is kept when it is computed, on a cluster every group.

    Args:
        hours: of wall time.
        datasets: only rows of these; all if it names none.
        scheduler: address of a dask scheduler, or ``local``; processes of this machine if empty.

    Returns:
        How many rows were computed.

    Raises:
        StudyError: of any row, when all others are computed; for a data set that has no rows.
    """
    deadline = time.time() + 3600 * hours
    left = [row for row in of_datasets(rows, datasets) if not row.finished]

    def fits(group: Group) -> bool:
        known = [costs.estimate(encode(task.spec)) for task in group.values()]
        return time.time() + sum(cost.seconds for cost in known if cost) <= deadline

    jobs, done, failed = jobs_asked_for(), 0, {}
    with connected(scheduler, jobs) if scheduler and left else nullcontext() as client:
        run = partial(run_on_cluster, client) if client else partial(run_groups, jobs=jobs)
        for batch in _batches(left):
            groups = in_groups(batch.tasks, store)
            finished = run(groups, batch.compute, store, deadline=deadline, fits=fits)
            try:
                for computed in progress(finished, total=len(groups), description=batch.unit):
                    done += len(computed)
            except OtherStateError:  # whoever works with other code or data does so in every batch
                raise
            except StudyError as error:
                failed[str(error)] = None
    if failed:
        raise StudyError("\n".join([*failed, f"{done:,} other rows were computed and are kept."]))
    return done


def _batches(left: Sequence[Row]) -> Iterator[Batch]:
    for tier in range(len(SEEDS)):
        here = [row for row in left if row.tier == tier]
        for make in dict.fromkeys(row.make for row in here):
            yield make([row.task.item for row in here if row.make is make])
