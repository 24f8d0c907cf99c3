"""``rvd verify``. What it needs is imported when it runs: help is instant."""

import os

import click

from rvdlib.cli.errors import AT_LEAST_ONE, study_error_in_one_line
from rvdlib.lab.profiles import COMMITTED


@click.command()
@click.option(
    "--profile",
    type=click.Choice(COMMITTED),
    default="paper",
    show_default=True,
    help="One that commits rows.",
)
@click.option(
    "--sample",
    type=AT_LEAST_ONE,
    default=30,
    show_default=True,
    help="Rows that are computed again, spread over the kinds of rows.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    show_default="from the rows' checksums",
    help="Of the sample.",
)
@click.option("--dataset", multiple=True, help="Only its rows; repeatable.")
@click.option(
    "--allow-unasked", is_flag=True, help="Pass over rows that no notebook of the profile asks for."
)
@click.option(
    "--jobs",
    type=AT_LEAST_ONE,
    envvar="RVD_JOBS",
    show_envvar=True,
    help="As of rvd study.",
)
def verify(
    profile: str,
    sample: int,
    seed: int | None,
    dataset: tuple[str, ...],
    allow_unasked: bool,
    jobs: int | None,
) -> None:
    """Hold the rows in results/PROFILE/cells against rows computed now.

    Every line is checked against its checksum, and a random sample of the kinds of rows (data set,
    victim, regime, defence, whether the attack optimises) is computed again. Where the code has
    changed and three rows of a kind agree, or all that it has, its others are carried over: they
    count as finished under the code of today. Kinds whose code has changed come first, and a small
    sample may reach no other. Where a row disagrees, or no notebook asks for it, it
    is named, and nothing is changed. To check nothing is an error.
    """
    from rvdlib.lab.experiment.committed import store_of
    from rvdlib.lab.runner.plan import load_profile
    from rvdlib.lab.runner.run import alone_with
    from rvdlib.lab.runner.verify import verify as run
    from rvdlib.lab.study.planned import batches

    if jobs:
        os.environ["RVD_JOBS"] = str(jobs)
    with study_error_in_one_line():
        plan = load_profile(profile)
        asked = [batch for name, given in plan.items() for batch in batches(name, given)]
        with alone_with(profile):
            store = store_of(profile)
            found = run(store, asked, sample, seed, datasets=dataset, allow_unasked=allow_unasked)
    for kind, count in sorted(found.checked.items()):
        carried = f", {found.carried[kind]} carried over" if kind in found.carried else ""
        click.echo(f"{count:4} agree    {kind}{carried}")
    for kind, count in sorted(found.left.items()):
        click.echo(f"{count:4} left     {kind}: the code changed, the sample has too few of them")
    if found.left:
        click.echo(f"--sample {found.enough} leaves none.")
    click.echo(
        f"{sum(found.checked.values())} rows agree within the tolerance (seed {found.seed}), "
        f"{sum(found.carried.values())} were carried over to the code of today, {found.unasked} are "
        f"not asked for, {found.other_data} are of other data."
    )
