"""A user's own ratings, checked: every fault is one :class:`DataError` with file and line.

Ids are integers where every one of a column is, text otherwise; memory grows with the rows, never
with the largest id.

A sparse matrix cannot tell a rating of 0 from no rating, and a scale that reaches 0 or below
cannot be divided by its top. Such a scale (0/1, −10 … 10) is shifted up as a whole, with a
:class:`ShiftedScale` warning, until its lowest rating is one step above 0. Errors such as RMSE do not
change by that.
"""

import hashlib
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rvdlib.data.files import unpacked
from rvdlib.data.layout import NUMBER, DataError, Layout
from rvdlib.data.ratings import Ratings
from rvdlib.data.text_files import read_text
from rvdlib.data.times import read_times
from rvdlib.data.typed_tables import read_frame, read_parquet

MOST_LEVELS = 100
CONTINUOUS_STEPS = 1000
LARGEST = 1e37  # of float32 there must be room to shift a scale
# What databases, Python, R and spreadsheets write where they have nothing.
MISSING = ("", "NULL", "null", "None", "NaN", "nan", "NA", "N/A", "n/a", "<NA>", "#N/A", "\\N")


class ShiftedScale(UserWarning):
    """A scale that reached 0 or below was shifted up by ``shift``: a rating is that much more."""

    def __init__(self, message: str, shift: float):
        super().__init__(message)
        self.shift = shift


def read_ratings(source: str | Path | pd.DataFrame, **layout) -> Ratings:
    """Read ratings from a DataFrame, or from a csv, tsv, txt, dat, data, inter or parquet file.

    Text may be packed: ``.gz``, or ``.zip`` with one member. Columns that are not named are found
    by the usual names (``user``, ``userId``, ``movie_id``, ``rating``, ``stars``, …). Files as
    MovieLens has them, ``u.data`` and ``ratings.dat``, need no header line. A table of users and
    items alone, or with a time, is implicit data: every row counts as a rating of 1, and a warning
    says so. Where a user rated an item more than once, the last rating counts and a warning says
    how many went. A scale of more than ``MOST_LEVELS`` distinct ratings is taken to be continuous;
    its ``levels`` are a grid of ``CONTINUOUS_STEPS`` even steps.

    Args:
        layout: what is not usual about the table, see :class:`rvdlib.data.layout.Layout`:
            ``user_column``, ``item_column``, ``rating_column``, ``time_column``, ``implicit``,
            ``separator``, ``header``, ``quotes``, ``decimal``.

    Raises:
        DataError: for whatever makes the table unusable.
    """
    said = Layout(**layout)
    if isinstance(source, pd.DataFrame):
        return _checked("the DataFrame", "DataFrame", *read_frame(source, said), said, exact=True)
    path = Path(source)
    try:
        if path.suffix.lower() == ".parquet":
            return _checked(str(path), path.name, *read_parquet(path, said), said, exact=True)
        content, suffix = unpacked(path, any_name=said.separator is not None)
        return _checked(str(path), path.name, *read_text(str(path), content, suffix, said), said)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def canonical_bytes(ratings: Ratings) -> bytes:
    """Lines ``user⇥item⇥rating``, by user then item, ratings as the shortest decimal."""
    matrix = ratings.matrix.tocoo()
    values, codes = np.unique(matrix.data, return_inverse=True)
    texts = [np.format_float_positional(value, trim="-") for value in values]
    users, items = ratings.user_ids.tolist(), ratings.item_ids.tolist()
    rows = zip(matrix.row.tolist(), matrix.col.tolist(), codes.tolist(), strict=True)
    return "".join(f"{users[u]}\t{items[i]}\t{texts[r]}\n" for u, i, r in rows).encode()


def _checked(
    where: str,
    name: str,
    table: pa.Table,
    place: Callable[[int], str],
    layout: Layout,
    exact: bool = False,
) -> Ratings:
    """Ratings from columns of text; ``exact`` ids keep the spaces around them."""

    def check(good: pa.ChunkedArray | np.ndarray, texts: pa.ChunkedArray, problem: str) -> None:
        for row in np.flatnonzero(~np.asarray(good))[:1]:
            raise DataError(f"{where}, {place(row)}: {problem.format(texts[row])}")

    if not table.num_rows:
        raise DataError(f"{where} names its columns but holds no ratings")
    columns = {name: pc.fill_null(table[name], "") for name in table.column_names}
    trimmed = {name: pc.utf8_trim_whitespace(column) for name, column in columns.items()}
    for kind in ("user", "item"):
        there = pc.invert(pc.is_in(trimmed[kind], value_set=pa.array(MISSING)))
        problem = f"the {kind} is missing, got '{{}}': leave the row out or give an id"
        check(there, trimmed[kind], problem)
    users, items = (_ids((columns if exact else trimmed)[kind]) for kind in ("user", "item"))
    times = read_times(trimmed["time"], check) if "time" in trimmed else None
    repeated = pd.DataFrame({"user": users, "item": items}).duplicated(keep="last").to_numpy()
    if "rating" in trimmed:
        stars = _stars(trimmed["rating"], layout.decimal, check)
        if repeated.any():
            _warn(
                f"{where}: {repeated.sum():,} ratings (the first in {place(repeated.argmax())}) "
                "are repeated further down by the same user for the same item; the last one counts"
            )
        stars, levels = _above_zero(stars[~repeated], where)
    else:
        stars, levels = np.ones((~repeated).sum(), np.float32), np.ones(1)
        if not layout.implicit:
            _warn(
                f"{where} has no ratings: every user and item counts once, as a rating of 1. "
                "Victims learn from these in the ranking regime, with unobserved_weight above 0; "
                "an RMSE says nothing. implicit=True (--implicit) if this is meant"
            )
    kept = None if times is None else times[~repeated]
    rows = users[~repeated], items[~repeated], stars
    ratings = Ratings.from_triples(*rows, name=name, levels=levels, source=where, times=kept)
    return replace(ratings, sha256=hashlib.sha256(canonical_bytes(ratings)).hexdigest())


def _stars(texts: pa.ChunkedArray, decimal: str | None, check: Callable) -> np.ndarray:
    """The numbers that the ratings spell."""
    if decimal == ",":
        points = pc.match_substring(texts, ".")
        check(pc.invert(points), texts, "the rating '{}' has a point, the decimal mark is a comma")
        texts = pc.replace_substring(texts, ",", ".")
    else:
        commas = pc.match_substring(texts, ",")
        remedy = "say decimal=',' (--decimal ,) if it is the decimal mark"
        check(pc.invert(commas), texts, f"the rating '{{}}' has a comma: {remedy}")
    check(pc.match_substring_regex(texts, NUMBER), texts, "the rating '{}' is not a finite number")
    with np.errstate(over="ignore"):
        stars = pc.cast(texts, pa.float64()).to_numpy().astype(np.float32)
    check(np.abs(stars) < LARGEST, texts, "the rating {} is too large")
    return stars


def _ids(texts: pa.ChunkedArray) -> np.ndarray:
    """Integers where all of them are, written the plain way (``007`` is not ``7``); else text."""
    try:
        numbers = pc.cast(texts, pa.int64())
    except pa.ArrowInvalid:
        return texts.to_numpy()
    plain = pc.all(pc.equal(pc.cast(numbers, pa.string()), texts)).as_py()
    return numbers.to_numpy() if plain else texts.to_numpy()


def _above_zero(stars: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Ratings and levels, shifted up where the scale reaches 0 or below."""

    def scale(stars: np.ndarray) -> np.ndarray:
        levels = np.unique(stars)
        if len(levels) <= MOST_LEVELS:
            return levels
        return np.linspace(levels[0], levels[-1], CONTINUOUS_STEPS + 1, dtype=np.float32)

    levels = scale(stars)
    lowest = levels[0]
    if lowest > 0:
        return stars, levels
    step = np.diff(levels).min() if len(levels) > 1 else np.float32(1)
    shift = float(step - lowest)
    said = f"ratings from {lowest:g} to {levels[-1]:g} are shifted up by {shift:g}"
    _warn(
        ShiftedScale(f"{where}: {said}, so that 0 is free to mean that there is no rating", shift)
    )
    stars = stars - lowest + step
    return stars, scale(stars)


def _warn(message: str | ShiftedScale) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)
