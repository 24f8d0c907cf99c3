"""``rvd plan``. What it needs is imported when it runs: help is instant."""

import click

from rvdlib.cli.errors import study_error_in_one_line
from rvdlib.lab.profiles import PROFILES


@click.command()
@click.option(
    "--profile", type=click.Choice(PROFILES), default="paper", show_default=True, help="Its size."
)
@click.option("--only", multiple=True, metavar="NOTEBOOK", help="By name or number; repeatable.")
@click.option("--dataset", multiple=True, help="Only rows of these; repeatable.")
def plan(profile: str, only: tuple[str, ...], dataset: tuple[str, ...]) -> None:
    """What rows of a profile are missing, by notebook and data set, and what they would cost.

    Hours are of one core, for three seeds of everything, for up to five, and for all; from what
    finished rows have cost. "as seen" is the share of missing rows of whose kind (victim, data set,
    regime, attack, defence) some are finished; the others are estimated by the nearest kind, from
    another data set by the number of its ratings. "unknown" rows are in no estimate: no finished row is
    anything like them. A row that two notebooks ask for counts for the first.
    """
    import joblib

    from rvdlib.lab.experiment.parallel import jobs_asked_for
    from rvdlib.lab.experiment.store import CellStore
    from rvdlib.lab.runner.costs import known_costs
    from rvdlib.lab.runner.plan import choose, load_profile
    from rvdlib.lab.runner.schedule import missing_by, of_datasets, survey
    from rvdlib.lab.study.planned import wanted

    with study_error_in_one_line():
        whole = load_profile(profile)
        asked = {name: wanted(name, whole[name]) for name in choose([*whole], only)}
        rows = of_datasets(survey(asked, CellStore()), dataset)
        table = missing_by(rows, known_costs())
    if table.empty:
        click.echo("These notebooks ask for no rows.")
        return
    click.echo(_shown(table))
    missing, unknown, hours = (table[name].sum() for name in ("missing", "unknown", "hours"))
    jobs = joblib.effective_n_jobs(jobs_asked_for())
    click.echo(
        f"\n{missing} of {len(rows)} rows are missing: {hours:.1f} hours of one core, "
        f"about {hours / jobs:.1f} on {jobs} (RVD_JOBS)."
    )
    if unknown:
        click.echo(f"What {unknown} of them cost is unknown: compute a few of each kind first.")
    beside = [name for name in asked if name not in {row.notebooks[0] for row in rows}]
    if beside and not dataset:
        click.echo(
            f"{', '.join(beside)} ask for no further rows; what they compute is not in this."
        )
    click.echo("rvd study --hours H computes the most valuable of them first, and stops in time.")


def _shown(table) -> str:
    """The table as text."""
    shown = {
        "hours_3_seeds": ("h, 3 seeds", "{:.2f}"),
        "hours_5_seeds": ("h, 5 seeds", "{:.2f}"),
        "hours": ("h, all", "{:.2f}"),
        "peak_mib": ("MiB", "{:.0f}"),
        "own": ("as seen", "{:.0%}"),
    }
    return table.to_string(
        index=False,
        formatters={name: form.format for name, (_, form) in shown.items()},
        header=[shown.get(name, (name,))[0] for name in table],
        na_rep="?",
    )
