"""The command line. What a command needs is imported when it runs: help is instant."""

import warnings

import click

import rvdlib
from rvdlib.runner.commands import BadInput, doctor, study
from rvdlib.study.commands import attack, bench


@click.version_option(rvdlib.__version__, prog_name="rvd")
@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Real-time Vicinal Defense for recommender systems: the open reference study."""


@main.group()
def data() -> None:
    """Data sets and ratings files."""


@data.command()
@click.argument("name_or_file")
@click.option("--user-column", help="The column of user ids, in a file.")
@click.option("--item-column", help="The column of item ids, in a file.")
@click.option("--rating-column", help="The column of ratings, in a file.")
def show(name_or_file: str, **columns: str | None) -> None:
    """Check NAME_OR_FILE and say what is in it.

    NAME_OR_FILE is ml-100k, ml-1m, filmtrust, yelp, or a csv, tsv or parquet file.
    """
    from rvdlib.data import load_dataset
    from rvdlib.data.summary import summarize

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            facts = summarize(load_dataset(name_or_file, **columns))
    except ValueError as error:  # DataError, and a split that leaves nobody
        raise BadInput(str(error)) from None
    finally:
        for warning in caught:
            click.echo(f"Warning: {warning.message}", err=True)
    for name, value in facts.items():
        click.echo(f"{name:<18} {value}")


main.add_command(study)
main.add_command(attack)
main.add_command(bench)
main.add_command(doctor)
