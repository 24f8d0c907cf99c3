"""``rvd study``. What it needs is imported when it runs: help is instant."""

import os

import click


@click.command()
@click.option("--profile", default="quick", show_default=True, help="tiny, quick or paper.")
@click.option("--only", multiple=True, metavar="NOTEBOOK", help="By name or number; repeatable.")
@click.option("--force", is_flag=True, help="Run notebooks again even if nothing has changed.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    envvar="RVD_JOBS",
    show_envvar=True,
    help="Poisoned sets computed at once; as many as there are cores unless said.",
)
@click.option(
    "--recompute",
    is_flag=True,
    help="Take no rows from results/PROFILE/cells: compute here what .cache/cells does not have.",
)
def study(
    profile: str, only: tuple[str, ...], force: bool, jobs: int | None, recompute: bool
) -> None:
    """Run the study's notebooks; those that nothing has changed for are left as they are.

    Rows are taken from .cache/cells and from results/PROFILE/cells, which comes with the project, and
    computed where neither has them. What was computed is put into results/PROFILE/cells.

    Ctrl-C (SIGINT) interrupts it and loses only what is being computed. A study that was started
    with SIGINT ignored, as by a shell's `nohup rvd study &`, keeps ignoring it.
    """
    from rvdlib.lab.errors import StudyError
    from rvdlib.lab.runner.environment import writable_home

    if jobs:
        os.environ["RVD_JOBS"] = str(jobs)  # the kernels inherit it
    if recompute:
        os.environ["RVD_RECOMPUTE"] = "1"
    try:
        with writable_home():
            # Jupyter looks for a home when it is imported.
            from rvdlib.lab.figures.claims_plots import save_verdicts
            from rvdlib.lab.runner.run import run_study
            from rvdlib.lab.study.planned import batches

            run_study(profile, only, force or recompute, batches)
            save_verdicts(profile)
    except (StudyError, OSError) as error:  # such as a disk that is full
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo(
            "\nInterrupted. Finished notebooks and cells are kept: the same command goes on there.",
            err=True,
        )
        raise SystemExit(130) from None
