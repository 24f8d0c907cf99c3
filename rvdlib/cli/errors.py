"""What a command says to whoever gave it something that cannot be used."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

from rvdlib.plain_text import plain

AT_LEAST_ONE = click.IntRange(min=1)


class BadInput(click.ClickException):
    """Something that the user gave cannot be used: one message, exit code 2."""

    exit_code = 2


class Finite(click.FloatRange):
    """A range of numbers; click takes NaN for being in any."""

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class Share(click.ParamType):
    """A share of users: ``3%`` or ``0.03``."""

    name = "share"

    def convert(self, value, param, ctx):
        text = str(value).strip()
        with suppress(ValueError):
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
            if 0 < share <= 1:
                return share
        return self.fail(f"{value!r} is no share above 0 and at most 1, as 3% or 0.03.", param, ctx)


@contextmanager
def study_error_in_one_line() -> Iterator[None]:
    """Say in a line what the study cannot go on for; a fault of the study itself keeps its traceback."""
    from rvdlib.data import DataError
    from rvdlib.lab.errors import StudyError
    from rvdlib.strict_yaml import InvalidYaml

    try:
        yield
    # An OSError is such as a disk that is full.
    except (StudyError, DataError, InvalidYaml, OSError) as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def in_one_line() -> Iterator[list[warnings.WarningMessage]]:
    """Say each warning of what is done here in a line of its own, and an error as :class:`BadInput`.

    What is given are the warnings so far.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield caught
        except (ValueError, OSError, ImportError) as error:
            raise BadInput(plain(error)) from None
        finally:
            for sentence in dict.fromkeys(str(each.message) for each in caught):
                click.echo(f"Warning: {plain(sentence)}", err=True)
