"""The study: a profile's notebooks in order, those that need it, then page, claims and headline."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.profiles import COMMITTED
from rvdlib.lab.runner import ledger, shown
from rvdlib.lab.runner.costs import known_costs
from rvdlib.lab.runner.gather import gather
from rvdlib.lab.runner.notebook_runner import run_notebook
from rvdlib.lab.runner.plan import Plan, choose, load_profile
from rvdlib.lab.runner.records import StudyRecords
from rvdlib.lab.runner.report import write_page
from rvdlib.lab.runner.schedule import Make, survey, work
from rvdlib.writable import writing_problem

GLOSSARY = "GLOSSARY.md"
# A notebook's name and parameters → what it asks for, as rvdlib.lab.study.planned has it.
Asks = Callable[[str, Mapping[str, Any]], Sequence[tuple[Make, list[Any]]]]


def run_study(
    profile: str,
    only: Iterable[str] = (),
    force: bool = False,
    asks: Asks | None = None,
    ahead: Mapping[str, Any] | None = None,
) -> None:
    """Bring ``results/<profile>`` up to date, and print where to look and the headline table.

    A notebook runs again only when something that it depends on, or a file that it wrote, has
    changed since it last ran here; which, is said. SIGINT interrupts it, unless the process ignores
    that signal, as one started by ``nohup ... &`` does: no handler is set here.

    Args:
        profile: one of :data:`rvdlib.lab.profiles.PROFILES`.
        only: notebooks to look at, by name or number (``"03"``); all of the profile by default.
        force: run them even if nothing has changed.
        asks: given, finished rows are gathered into ``results/<profile>/cells`` after each notebook
            that ran, interrupted ones too; of a profile that commits its rows.
        ahead: hours, datasets, scheduler of :func:`rvdlib.lab.runner.schedule.work`: given, the rows
            that notebooks ask for are computed first, and notebooks whose rows are not all there when
            the time is over are not executed, which is said.

    Raises:
        StudyError: for a profile or parameters that do not fit, before anything runs; for a
            notebook that fails, and then what ran before it is kept.
    """
    plan = load_profile(profile)
    chosen = choose(list(plan), only)
    ledger.claims()
    results, figures = paths.RESULTS / profile, paths.FIGURES / profile
    for folder in (results, figures, paths.STUDY_RECORDS, paths.CELL_STORE):
        if problem := writing_problem(folder):
            raise StudyError(
                f"{folder} cannot be written: {problem}. RVD_OUTPUT_DIR names another folder for "
                "results and figures, RVD_CACHE_DIR one for caches outside the project"
            )
    with alone_with(profile):
        if asks and ahead:
            chosen = _ready(profile, {name: plan[name] for name in chosen}, asks, ahead)
        _run_notebooks(profile, plan, chosen, force, asks)
        page = write_page(profile, list(plan))
        glossary = (paths.NOTEBOOKS / GLOSSARY).read_text()
        paths.write_atomically(page.with_name(GLOSSARY), glossary)  # executed copies link it
        ledger.assemble(profile)
    print(f"\nRead it   {page}\nTables    {results}\nFigures   {figures}")
    if (headline := results / "headline.csv").is_file():
        table = shown.headline_table(ledger.read_table(headline))
        print(f"\n{table.to_string(index=False)}")


@contextmanager
def alone_with(profile: str) -> Iterator[None]:
    """Hold a profile's results; StudyError if another process has them."""
    paths.STUDY_RECORDS.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(paths.STUDY_RECORDS / f"{profile}.lock").acquire(timeout=0)
    except Timeout:
        raise StudyError(f"another process is running the {profile} study already") from None
    with held:
        yield


def _ready(profile: str, plan: Plan, asks: Asks, ahead: Mapping[str, Any]) -> list[str]:
    """The notebooks that can be executed once rows have been computed."""
    begun, store = time.time(), CellStore()
    rows = survey({name: asks(name, given) for name, given in plan.items()}, store)
    with _gathered(profile, plan, asks):
        done = work(rows, store, known_costs(), **ahead)
    left = Counter(
        name
        for row in rows
        if not row.finished and store.lookup(row.task.spec, row.task.fingerprint).rows is None
        for name in row.notebooks
    )
    asked = Counter(name for row in rows for name in row.notebooks)
    print(f"{done} rows were computed, {sum(row.finished for row in rows)} were there")
    for name, count in left.items():
        print(f"{name}: not executed, {count} of its {asked[name]} rows are missing")
    ready = [name for name in plan if name not in left]
    if time.time() - begun < 3600 * ahead.get("hours", math.inf):
        return ready
    print(f"The time is over. Complete, and not executed: {', '.join(ready) or 'none'}")
    return []


def _run_notebooks(
    profile: str, plan: Plan, chosen: list[str], force: bool, asks: Asks | None
) -> None:
    records = StudyRecords(profile)
    for folder in records.folders:
        folder.mkdir(parents=True, exist_ok=True)
    ran = False
    with tqdm(chosen, unit="notebook", disable=None) as progress:
        for name in progress:
            progress.set_description(name)
            reason = records.changes(name, plan[name])
            if not force and not reason:
                progress.write(f"{name}: unchanged")
                continue
            progress.write(f"{name}: running ({reason or 'forced'})")
            ran, source = True, paths.NOTEBOOKS / f"{name}.ipynb"
            gathered = _gathered(profile, {name: plan[name]}, asks)
            with records.running(name, plan[name]), gathered:
                run_notebook(source, paths.RESULTS / profile / source.name, plan[name])
    if ran and len(chosen) == len(plan):
        _gather(profile, plan, asks, complete=True)


@contextmanager
def _gathered(profile: str, plan: Plan, asks: Asks | None) -> Iterator[None]:
    """Gathers what was computed meanwhile, were it ended by an error."""
    try:
        yield
    except BaseException:
        with suppress(Exception):  # why it ended is what counts
            _gather(profile, plan, asks)
        raise
    _gather(profile, plan, asks)


def _gather(profile: str, plan: Plan, asks: Asks | None, complete: bool = False) -> None:
    if asks and profile in COMMITTED:
        parts = [part for name, given in plan.items() for part in asks(name, given)]
        gather(profile, [task for make, items in parts for task in make(items).tasks], complete)
