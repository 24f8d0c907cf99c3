"""Many independent computations: what is on record is taken, the rest runs in parallel, one thread
each, and is put on record as soon as it is there."""

import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from typing import Any, NamedTuple

import joblib

from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.committed import Row
from rvdlib.lab.experiment.fingerprint import Fingerprint, difference
from rvdlib.lab.experiment.machine import peak_mib
from rvdlib.lab.experiment.progress import progress
from rvdlib.lab.experiment.sources import source_digest
from rvdlib.lab.experiment.store import CellStore
from rvdlib.threads import single_thread
from rvdlib.writable import PACKAGE

# How many groups to work on at once, for whoever starts kernels: `rvd study --jobs`.
JOBS = "RVD_JOBS"
KILLED = (
    "a process that computed rows was killed, most often for want of memory: fewer at once need less "
    "(--jobs). What is finished is kept; the same command goes on there"
)


class Task(NamedTuple):
    """One row to compute.

    Attributes:
        item: what it is computed from.
        spec: all that identifies it, as JSON knows it.
        fingerprint: what else its numbers depend on.
        group: tasks of one group share their work, and so run together.
    """

    item: Any
    spec: dict
    fingerprint: Fingerprint
    group: Hashable


Group = dict[str, Task]  # by the keys of their store
Cost = dict[str, float]  # ``seconds`` of wall time and ``peak_mib`` of the process


class Shared(NamedTuple):
    """Between rows: what was done since the last row serves the next ``rows`` alike."""

    rows: int


# Items of one group → their rows, one by one, in order.
Compute = Callable[[list[Any]], Iterator[Row | Shared]]


class Batch(NamedTuple):
    """Tasks of one kind, and how they are computed; ``unit``: what a group of them is called."""

    tasks: Sequence[Task]
    compute: Compute
    unit: str


def rows_of(
    tasks: Sequence[Task], compute: Compute, store: CellStore | None, jobs: int, unit: str
) -> list[Row]:
    """The rows of all tasks, in order; the numbers do not depend on how many run at once.

    Args:
        compute: items of one group → their rows, one by one; each is kept before the next is begun,
            so that an interrupted run loses only what it was at.
        store: where finished rows are kept and looked for; unless said, ``.cache/cells`` and, to look
            only, the repository's stores.
        jobs: groups at once; -1: as many as ``RVD_JOBS`` says, or else as there are cores.
        unit: what a group is called in the progress bar.

    Raises:
        StudyError: if ``RVD_JOBS`` is no whole number of at least 1; if a row of the repository's
            stores is damaged.
    """
    jobs = jobs_asked_for() if jobs == -1 else jobs
    store = store or CellStore()
    rows: dict[str, Row] = {}
    missing: list[Task] = []
    reasons: Counter[str] = Counter()
    keys = [store.path(task.spec).stem for task in tasks]
    for key, task in dict(zip(keys, tasks, strict=True)).items():
        found = store.lookup(task.spec, task.fingerprint)
        if found.rows is None:
            missing.append(task)
            reasons[found.reason] += 1
        else:
            rows[key] = found.rows[0]
    groups = in_groups(missing, store)
    finished = run_groups(groups, compute, store, jobs=jobs)
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    for done in progress(finished, total=len(groups), description=f"{unit} (rows: {why})"):
        rows |= done
    return [rows[key] for key in keys]


def in_groups(tasks: Iterable[Task], store: CellStore) -> list[Group]:
    """Tasks by their group, each once."""
    groups: dict[Hashable, Group] = {}
    for task in tasks:
        groups.setdefault(task.group, {})[store.path(task.spec).stem] = task
    return [*groups.values()]


def in_time(
    groups: Iterable[Group], deadline: float, fits: Callable[[Group], bool]
) -> Iterator[Group]:
    """Those that are begun: before the deadline and if they fit, each asked when its turn has come."""
    return (group for group in groups if time.time() < deadline and fits(group))


def run_groups(
    groups: Sequence[Group],
    compute: Compute,
    store: CellStore,
    *,
    jobs: int,
    deadline: float = math.inf,
    fits: Callable[[Group], bool] = lambda group: True,
) -> Iterator[dict[str, Row]]:
    """Key → row of each group, as soon as it is through; each row is kept when it is computed.

    Args:
        deadline: in seconds of ``time.time()``: no row is begun after it.
        fits: whether a group is begun at all, asked when its turn has come.

    Raises:
        StudyError: of any group, when all others are through: a run of hours does not end at the first,
            but where a process is killed.
    """
    failed: dict[str, None] = {}
    jobs = min(joblib.effective_n_jobs(jobs), max(1, len(groups)))
    begun = in_time(groups, deadline, fits)
    calls = (
        joblib.delayed(_run_group)(group, compute, store, deadline, _code(group)) for group in begun
    )
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch="n_jobs")
    with warnings.catch_warnings():
        # A worker that has grown large is replaced, and nothing is lost.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        try:
            for done, error in parallel(calls):
                failed |= dict.fromkeys([error] if error else [])
                yield done
        except BrokenExecutor:
            failed[KILLED] = None
    if failed:
        raise StudyError("\n".join(failed))


def jobs_asked_for() -> int:
    asked = os.environ.get(JOBS)
    if not asked:
        return -1
    if not asked.isdecimal() or int(asked) < 1:
        raise StudyError(f"{JOBS} should be a whole number of at least 1, got {asked!r}")
    return int(asked)


def _run_group(
    group: Group, compute: Compute, store: CellStore, deadline: float, code: Mapping[str, str]
) -> tuple[dict[str, Row], str]:
    """The rows that were computed, and the error that ended it, if one did.

    ``code``: what the rows are taken to depend on; a process that began later may have read another.
    """
    done: dict[str, Row] = {}
    if time.time() >= deadline:
        return done, ""
    if changed := difference({"code": dict(code)}, {"code": _code(group)}):
        return done, f"{changed}, since this began: start it again, which goes on where it is"
    rows = zip(
        group.items(), computed([task.item for task in group.values()], compute), strict=True
    )
    try:
        for (key, task), (row, cost) in rows:
            store.save(task.spec, task.fingerprint, [row], cost)
            done[key] = row
            if time.time() >= deadline:
                break
    except StudyError as error:
        return done, str(error)
    return done, ""


def _code(group: Group) -> dict[str, str]:
    """``rvdlib/…py`` → digest as this process has read it, of what the rows of a group depend on."""
    named = {name for task in group.values() for name in task.fingerprint.get("code", ())}
    files = {name: PACKAGE.parent / name for name in sorted(named)}
    return {name: source_digest(file) for name, file in files.items() if file.is_file()}


def computed(items: list[Any], compute: Compute) -> Iterator[tuple[Row, Cost]]:
    """Each row of a group and what it cost, on one thread."""
    with single_thread():
        for row, seconds in _timed(compute(items)):
            yield row, {"seconds": round(seconds, 3), "peak_mib": round(peak_mib())}


def _timed(computed: Iterator[Row | Shared]) -> Iterator[tuple[Row, float]]:
    """Each row with its wall time in seconds, its part of what rows share included."""
    share, begun = 0.0, time.perf_counter()
    for each in computed:
        spent = time.perf_counter() - begun
        if isinstance(each, Shared):
            share = spent / each.rows
        else:
            yield each, spent + share
        begun = time.perf_counter()
