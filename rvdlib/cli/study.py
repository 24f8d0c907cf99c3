"""``rvd study``. What it needs is imported when it runs: help is instant."""

import os

import click

from rvdlib.cli.errors import AT_LEAST_ONE, Finite, study_error_in_one_line
from rvdlib.lab.profiles import PROFILES


@click.command()
@click.option(
    "--profile", type=click.Choice(PROFILES), default="quick", show_default=True, help="Its size."
)
@click.option("--only", multiple=True, metavar="NOTEBOOK", help="By name or number; repeatable.")
@click.option("--force", is_flag=True, help="Run notebooks again even if nothing has changed.")
@click.option(
    "--jobs",
    type=AT_LEAST_ONE,
    envvar="RVD_JOBS",
    show_envvar=True,
    help="Poisoned sets computed at once; as many as there are cores unless said.",
)
@click.option(
    "--recompute",
    is_flag=True,
    help="Take no rows from results/PROFILE/cells: compute here what .cache/cells does not have.",
)
@click.option(
    "--hours",
    type=Finite(0, min_open=True),
    help="Compute rows for so long, 3 seeds of everything before 5 of anything, then stop.",
)
@click.option("--dataset", multiple=True, help="Compute rows of these data sets alone; repeatable.")
@click.option(
    "--scheduler",
    default="",
    metavar="ADDRESS",
    help="Compute rows on a dask cluster: tcp://HOST:8786; local, to start one on this machine.",
)
def study(
    profile: str,
    only: tuple[str, ...],
    force: bool,
    jobs: int | None,
    recompute: bool,
    hours: float | None,
    dataset: tuple[str, ...],
    scheduler: str,
) -> None:
    """Run the study's notebooks; those that nothing has changed for are left as they are.

    Rows are taken from .cache/cells and from results/PROFILE/cells, which comes with the project, and
    computed where neither has them. What was computed is put into results/PROFILE/cells.

    With --hours, --dataset or --scheduler, rows are computed first, across notebooks, the most valuable
    ones first; then the notebooks are executed whose rows are all there. `rvd plan` says what is
    missing and what it costs.

    Ctrl-C (SIGINT) interrupts it and loses only what is being computed. A study that was started
    with SIGINT ignored, as by a shell's `nohup rvd study &`, keeps ignoring it.
    """
    from rvdlib.lab.runner.environment import writable_home

    if jobs:
        os.environ["RVD_JOBS"] = str(jobs)  # the kernels inherit it
    if recompute:
        os.environ["RVD_RECOMPUTE"] = "1"
    try:
        with study_error_in_one_line(), writable_home():
            # Jupyter looks for a home when it is imported.
            from rvdlib.lab.figures.claims_plots import save_verdicts
            from rvdlib.lab.runner.run import run_study
            from rvdlib.lab.study.planned import wanted

            given = {"hours": hours, "datasets": dataset, "scheduler": scheduler}
            ahead = {name: value for name, value in given.items() if value}
            run_study(profile, only, force or recompute, wanted, ahead)
            save_verdicts(profile)
    except KeyboardInterrupt:
        click.echo(
            "\nInterrupted. Finished notebooks and cells are kept: the same command goes on there.",
            err=True,
        )
        raise SystemExit(130) from None
