"""``rvd data``. What it needs is imported when it runs: help is instant."""

import click

from rvdlib.cli.layout_options import layout_options, read_dataset


@click.group()
def data() -> None:
    """Data sets and ratings files."""


@data.command()
@click.argument("name_or_file")
@layout_options
def show(name_or_file: str, layout: dict) -> None:
    """Check NAME_OR_FILE and say what is in it.

    NAME_OR_FILE is ml-100k, ml-1m, filmtrust, yelp, or a file: csv, tsv, txt, dat, data, inter
    (also packed, .gz or .zip) or parquet. Without a header line, columns are named by numbers
    from 1; user, item and rating come first unless said.
    """
    from rvdlib.data.summary import summarize

    for name, value in summarize(read_dataset(name_or_file, layout)).items():
        click.echo(f"{name:<18} {value}")
