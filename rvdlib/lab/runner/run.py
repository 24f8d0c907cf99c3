"""The study: a profile's notebooks in order, those that need it, then page, claims and headline."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.committed import PROFILES as COMMITTED
from rvdlib.lab.experiment.parallel import Batch
from rvdlib.lab.runner import ledger, readme
from rvdlib.lab.runner.gather import gather
from rvdlib.lab.runner.notebook_runner import run_notebook
from rvdlib.lab.runner.plan import Plan, choose, load_profile
from rvdlib.lab.runner.records import StudyRecords
from rvdlib.lab.runner.report import write_page
from rvdlib.writable import writing_problem

GLOSSARY = "GLOSSARY.md"
# A notebook's name and parameters → the rows that it asks for.
Planned = Callable[[str, Mapping[str, Any]], list[Batch]]


def run_study(
    profile: str, only: Iterable[str] = (), force: bool = False, planned: Planned | None = None
) -> None:
    """Bring ``results/<profile>`` up to date, and print where to look and the headline table.

    A notebook runs again only when something that it depends on, or a file that it wrote, has
    changed since it last ran here; which, is said. SIGINT interrupts it, unless the process ignores
    that signal, as one started by ``nohup ... &`` does: no handler is set here.

    Args:
        profile: one of :data:`rvdlib.lab.runner.plan.PROFILES`.
        only: notebooks to look at, by name or number (``"03"``); all of the profile by default.
        force: run them even if nothing has changed.
        planned: given, finished rows are gathered into ``results/<profile>/cells`` after each
            notebook that ran, interrupted ones too; of a profile that commits its rows.

    Raises:
        StudyError: for a profile or parameters that do not fit, before anything runs; for a
            notebook that fails, and then what ran before it is kept.
    """
    plan = load_profile(profile)
    chosen = choose(list(plan), only)
    for folder in (paths.RESULTS, paths.FIGURES, paths.STUDY_RECORDS, paths.CELL_STORE):
        if problem := writing_problem(folder):
            raise StudyError(
                f"{folder} cannot be written: {problem}. RVD_OUTPUT_DIR names another folder for "
                "results and figures, RVD_CACHE_DIR one for caches outside the project"
            )
    paths.STUDY_RECORDS.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(paths.STUDY_RECORDS / f"{profile}.lock", timeout=0):
            _run_notebooks(profile, plan, chosen, force, planned)
            page = write_page(profile, list(plan))
            glossary = (paths.NOTEBOOKS / GLOSSARY).read_text()
            paths.write_atomically(page.with_name(GLOSSARY), glossary)  # executed copies link it
            ledger.assemble(profile)
    except Timeout:
        raise StudyError(f"another process is running the {profile} study already") from None
    results = paths.RESULTS / profile
    print(f"\nRead it   {page}\nTables    {results}\nFigures   {paths.FIGURES / profile}")
    headline = results / "headline.csv"
    if headline.is_file():
        shown = readme.shown_headline(ledger.read_table(headline))
        print(f"\n{shown.to_string(index=False)}")


def _run_notebooks(
    profile: str, plan: Plan, chosen: list[str], force: bool, planned: Planned | None
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
            begun = records.begin(name, plan[name])
            source = paths.NOTEBOOKS / f"{name}.ipynb"
            ran = True
            try:
                run_notebook(source, paths.RESULTS / profile / source.name, plan[name])
            finally:
                _gather(profile, {name: plan[name]}, planned)
            records.remember(begun)
    if ran and len(chosen) == len(plan):
        _gather(profile, plan, planned, complete=True)


def _gather(profile: str, plan: Plan, planned: Planned | None, complete: bool = False) -> None:
    if planned and profile in COMMITTED:
        batches = [batch for name, given in plan.items() for batch in planned(name, given)]
        gather(profile, [task for batch in batches for task in batch.tasks], complete)
