"""The options that say how a ratings file is laid out, for every command that reads one."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from rvdlib.cli.errors import in_one_line

if TYPE_CHECKING:
    from rvdlib.data import Ratings

OPTIONS: dict[str, dict[str, Any]] = {
    "user_column": {"help": "Name of the column of user ids, in a file."},
    "item_column": {"help": "Name of the column of item ids, in a file."},
    "rating_column": {"help": "Name of the column of ratings, in a file."},
    "time_column": {
        "help": "Name of the column of times, in a file; whoever splits by time finds the usual ones."
    },
    "implicit": {"is_flag": True, "help": "A file has no ratings: a row counts as 1."},
    "separator": {"help": "Between a file's fields: tab, space, or characters such as ; or ::"},
    "header/--no-header": {"help": "Does a file's first line name the columns?"},
    "quotes/--no-quotes": {"help": "Do double quotes enclose a file's fields?"},
    "decimal": {
        "type": click.Choice([".", ","]),
        "help": "The decimal mark of ratings; a point unless said.",
    },
}
NAMES = [name.partition("/")[0] for name in OPTIONS]


def layout_options(command: Callable) -> Callable:
    """Give a command these options; it receives what was said of them as ``layout``.

    Without a header line, columns have numbers from 1 in place of names.
    """

    @functools.wraps(command)
    def gathered(*args, **values):
        said = {name: values.pop(name) for name in NAMES}
        layout = {name: value for name, value in said.items() if value is not None}
        return command(*args, layout=layout, **values)

    for name, how in reversed(OPTIONS.items()):
        gathered = click.option(f"--{name.replace('_', '-')}", default=None, **how)(gathered)
    return gathered


def read_dataset(name_or_file: str, layout: dict) -> "Ratings":
    """Load a data set for a command: one line for each warning, one for an error."""
    return read_with_shift(name_or_file, layout)[0]


def read_with_shift(name_or_file: str, layout: dict) -> tuple["Ratings", float]:
    """The same, and by how much a file's scale was shifted up; 0: not at all."""
    from rvdlib.data import load_dataset
    from rvdlib.data.readers import ShiftedScale

    with in_one_line() as warned:
        ratings = load_dataset(name_or_file, **layout)
        shifts = (each.message for each in warned if isinstance(each.message, ShiftedScale))
        return ratings, next((each.shift for each in shifts), 0.0)
