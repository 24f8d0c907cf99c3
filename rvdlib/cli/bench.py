"""``rvd bench``. What it needs is imported when it runs: help is instant."""

import json

import click
from click.core import ParameterSource

from rvdlib.cli.errors import AT_LEAST_ONE, Finite, in_one_line
from rvdlib.cli.layout_options import layout_options, read_dataset


@click.command()
@click.option("--dataset", required=True, help="ml-100k, ml-1m, filmtrust, yelp, or a file.")
@click.option("--model", required=True, help="MF, NSVD, AutoRec or CDAE.")
@click.option(
    "--regime", type=click.Choice(["rating", "ranking"]), default="rating", show_default=True
)
@click.option("--k", type=AT_LEAST_ONE, default=10, show_default=True, help="Neighbours.")
@click.option(
    "--unobserved-weight",
    type=Finite(0, 1),
    default=0.1,
    show_default=True,
    help="ω of the closed form: what silence counts.",
)
@click.option(
    "--proximal-weight",
    type=Finite(0, min_open=True),
    default=1.0,
    show_default=True,
    help="λ of the closed form: the pull back to the model.",
)
@click.option("--chosen", is_flag=True, help="Take all of these from params/defenses.yml instead.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--threads", type=AT_LEAST_ONE, help="As many as torch has unless said; at most one a core."
)
@click.option("--pairs", type=AT_LEAST_ONE, default=5, show_default=True, help="Rounds.")
@click.option(
    "--sample", type=AT_LEAST_ONE, default=50, show_default=True, help="Users for the loops."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every measured round.")
@layout_options
@click.pass_context
def bench(
    context: click.Context, dataset: str, layout: dict, model: str, as_json: bool, **options
) -> None:
    """Time serving every user of DATASET by MODEL: undefended, and in every form of RVD.

    Trains the model first. Run it on a quiet machine; ratios stand a busy one better than times.
    """
    from rvdlib.lab.benchmark.bench import as_text, benchmark

    for name in ("k", "unobserved_weight", "proximal_weight"):
        if options["chosen"] and context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"--chosen brings a choice of its own: leave out {option}")
    ratings = read_dataset(dataset, layout)
    with in_one_line():
        report = benchmark(ratings, model, **options)
    click.echo(json.dumps(report, indent=2) if as_json else as_text(report))
