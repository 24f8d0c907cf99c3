"""How a table is laid out: what its owner says of it, and where user, item and rating stand."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

COLUMN_NAMES = {
    "user": ("user", "userid", "uid"),
    "item": ("item", "itemid", "iid", "movie", "movieid", "business", "businessid"),
    "rating": ("rating", "ratings", "stars", "score"),
}
# Beside these alone, a user and an item are an interaction: there is no rating to overlook.
TIME_NAMES = ("timestamp", "time", "ts", "date", "datetime", "unixtime")
SEPARATOR_NAMES = {"tab": "\t", "\\t": "\t", "space": " "}
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NUMBER = re.compile(NUMBER)
# Of user, item, rating and time; None: there is none.
Positions = tuple[int, int, int | None, int | None]
KINDS = ("user", "item", "rating", "time")
FOUND = "found"


class DataError(ValueError):
    """Ratings that cannot be used; the message names file, line and remedy."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is said of a table; None is found out from its name, its first line or its ratings.

    Attributes:
        user_column, item_column, rating_column: names; without a header line, numbers from 1.
        time_column: likewise, of when a row was made: numbers, or dates as ISO 8601 has them. None:
            times are not read; ``found``: they are, where one column has a usual name (without a
            header line: where it is the fourth of four).
        implicit: whether there are no ratings: every row is an interaction, a rating of 1.
        separator: what stands between fields: ``,``, ``;``, ``::``, ``tab``, ``space`` (one or
            more) or any other character.
        header: whether the first line names the columns.
        quotes: True: double quotes enclose fields, whatever these hold; False: they are ordinary
            characters. None: they enclose fields, and one that may have swallowed rows is refused.
        decimal: the decimal mark of the ratings, ``.`` (unless said) or ``,``.
    """

    user_column: str | int | None = None
    item_column: str | int | None = None
    rating_column: str | int | None = None
    time_column: str | int | None = None
    implicit: bool | None = None
    separator: str | None = None
    header: bool | None = None
    quotes: bool | None = None
    decimal: str | None = None

    def __post_init__(self):
        for name in ("implicit", "header", "quotes"):
            if not isinstance(getattr(self, name), bool | None):
                raise DataError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.implicit and self.rating_column is not None:
            raise DataError("implicit data have no rating_column: give one or the other")
        if self.decimal not in (None, ".", ","):
            raise DataError(f"decimal must be '.' or ',', got {self.decimal!r}")
        if self.separator is not None:
            separator = self.separator
            if isinstance(separator, str):
                separator = SEPARATOR_NAMES.get(separator, separator)
            if (
                not isinstance(separator, str)
                or not separator
                or set(separator) & set('"\r\n')
                or len(separator) > 8
            ):
                raise DataError(
                    "separator must be 'tab', 'space', or the characters between two fields, "
                    f"got {self.separator!r}"
                )
            object.__setattr__(self, "separator", separator)

    @property
    def columns(self) -> dict[str, str | int | None]:
        return {kind: getattr(self, f"{kind}_column") for kind in COLUMN_NAMES}


def named_positions(where: str, header: Sequence[str], layout: Layout) -> Positions:
    """Where user, item, rating and time stand under these column names; None: there is none.

    Raises:
        DataError: begins with ``where``; for a column that is not there, or there twice.
    """
    plain = [_plain(column) for column in header]
    found: list[int | None] = []
    for kind, wanted in layout.columns.items():
        if wanted is None:
            at = [n for n, column in enumerate(plain) if column in COLUMN_NAMES[kind]]
        else:
            at = [n for n, column in enumerate(header) if column.strip() == str(wanted).strip()]
        if kind == "rating" and (
            layout.implicit or (layout.implicit is None and not at and _interactions(plain, found))
        ):
            found.append(None)
            continue
        if len(at) != 1:
            what = f"the {kind} column" if wanted is None else f"the column {str(wanted)!r}"
            names = [header[n] for n in at] if at else list(header[:20])
            remedy = f"say which one it is with {kind}_column (--{kind}-column)"
            if not at and kind == "rating":
                remedy += ", or that there is none with implicit=True (--implicit)"
            raise DataError(
                f"{where}: {what} {'could be any of' if at else 'is not among'} {names}; call it "
                f"'{kind}' there, or {remedy}"
            )
        found += at
    found.append(_time_position(where, header, plain, layout))
    return _distinct(where, found, [header[n] for n in found if n is not None])


def _time_position(
    where: str, header: Sequence[str], plain: Sequence[str], layout: Layout
) -> int | None:
    if layout.time_column is None:
        return None
    if layout.time_column == FOUND:
        at = [n for n, column in enumerate(plain) if column in TIME_NAMES]
        return at[0] if len(at) == 1 else None
    wanted = str(layout.time_column).strip()
    at = [n for n, column in enumerate(header) if column.strip() == wanted]
    if len(at) != 1:
        raise DataError(
            f"{where}: the column {wanted!r} is not among {list(header[:20])}; say which one has the "
            "times with time_column (--time-column)"
        )
    return at[0]


def numbered_positions(where: str, n_fields: int, layout: Layout) -> Positions:
    """The same without names: columns by number from 1; else user, item and rating come first."""
    found: list[int | None] = []
    for default, (kind, wanted) in enumerate(layout.columns.items(), start=1):
        if kind == "rating" and (
            layout.implicit or (layout.implicit is None and wanted is None and n_fields == 2)
        ):
            found.append(None)
            continue
        text = str(default if wanted is None else wanted)
        if not text.isdecimal() or not 1 <= int(text) <= n_fields:
            raise DataError(
                f"{where}: there is no header line, so {kind}_column (--{kind}-column) is a number "
                f"from 1 to {n_fields}, got {text!r}"
            )
        found.append(int(text) - 1)
    time = layout.time_column
    if time == FOUND:
        time = 4 if n_fields == 4 and 3 not in found else None
    if time is not None and not (str(time).isdecimal() and 1 <= int(time) <= n_fields):
        raise DataError(
            f"{where}: there is no header line, so time_column (--time-column) is a number from 1 to "
            f"{n_fields}, got {str(time)!r}"
        )
    found.append(None if time is None else int(time) - 1)
    return _distinct(where, found, [n + 1 for n in found if n is not None])


def is_number(text: str) -> bool:
    """Whether it is a finite number, with a decimal point or comma."""
    return bool(_NUMBER.match(text.strip().replace(",", ".")))


def _plain(column: str) -> str:
    # RecBole writes "user_id:token"; others "User ID", "user-id", "userId".
    return "".join(filter(str.isalnum, column.partition(":")[0].lower()))


def _interactions(plain: Sequence[str], found: Sequence[int | None]) -> bool:
    return all(name in TIME_NAMES for n, name in enumerate(plain) if n not in found)


def _distinct(where: str, found: list, names: list) -> Positions:
    there = [at for at in found if at is not None]
    if len(set(there)) < len(there):
        raise DataError(f"{where}: user, item, rating and time need a column each, got {names}")
    return tuple(found)
