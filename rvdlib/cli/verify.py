"""``rvd verify``. What it needs is imported when it runs: help is instant."""

import os

import click


@click.command()
@click.option("--profile", default="paper", show_default=True, help="quick or paper.")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Rows that are computed again, spread over the kinds of rows.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the sample."
)
@click.option("--dataset", multiple=True, help="Only its rows; repeatable.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    envvar="RVD_JOBS",
    show_envvar=True,
    help="As of rvd study.",
)
def verify(
    profile: str, sample: int, seed: int, dataset: tuple[str, ...], jobs: int | None
) -> None:
    """Hold the rows in results/PROFILE/cells against rows computed now.

    Every line is checked against its checksum, and a random sample of each kind of rows (data set,
    defence, whether the attack optimises) is computed again. Where the code has changed and the
    sample agrees, the other rows of the kind are carried over: they count as finished under the code
    of today. Where a row disagrees, it is named, and nothing is changed.
    """
    from filelock import FileLock, Timeout

    from rvdlib import paths
    from rvdlib.lab.errors import StudyError
    from rvdlib.lab.experiment.committed import PROFILES, store_of
    from rvdlib.lab.runner.plan import load_profile
    from rvdlib.lab.runner.verify import verify as run
    from rvdlib.lab.study.planned import batches

    if jobs:
        os.environ["RVD_JOBS"] = str(jobs)
    try:
        plan = load_profile(profile)
        if profile not in PROFILES:
            raise StudyError(f"{profile} commits no rows; {' and '.join(PROFILES)} do")
        asked = [batch for name, given in plan.items() for batch in batches(name, given)]
        paths.STUDY_RECORDS.mkdir(parents=True, exist_ok=True)
        with FileLock(paths.STUDY_RECORDS / f"{profile}.lock", timeout=0):
            found = run(store_of(profile), asked, sample, seed, datasets=dataset)
    except Timeout:
        raise click.ClickException(f"another process runs the {profile} study") from None
    except (StudyError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    for kind, count in sorted(found.checked.items()):
        click.echo(f"{count:4} agree    {kind}")
    for kind, count in sorted(found.left.items()):
        click.echo(f"{count:4} left     {kind}: the code changed and the sample has none of them")
    if found.left:
        click.echo(f"A sample of {len(found.checked) + len(found.left)} has one of every kind.")
    click.echo(
        f"{sum(found.checked.values())} rows agree within the tolerance, {found.carried} were carried "
        f"over to the code of today, {found.unknown} are not asked for or are of other data."
    )
