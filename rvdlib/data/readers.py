"""A user's own ratings file, checked: every fault is one :class:`DataError` with file and line.

Nothing is guessed from the values. Ids are integers where every one of a column is, text otherwise;
memory grows with the rows, never with the largest id.

A sparse matrix cannot tell a rating of 0 from no rating, and a scale that reaches 0 or below
cannot be divided by its top. Such a scale (0/1, −10 … 10) is shifted up as a whole, with a
warning, until its lowest rating is one step above 0. Errors such as RMSE do not change by that.
"""

import csv
import gzip
import hashlib
import io
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from rvdlib.data.ratings import Ratings

SEPARATORS = {".csv": ",", ".tsv": "\t", ".parquet": None}
COLUMN_NAMES = {
    "user": ("user", "userid", "uid"),
    "item": ("item", "itemid", "iid", "movie", "movieid", "business", "businessid"),
    "rating": ("rating", "ratings", "stars", "score"),
}
MOST_LEVELS = 100
CONTINUOUS_STEPS = 1000
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


class DataError(ValueError):
    """Ratings that cannot be used; the message names file, line and remedy."""


def read_ratings(
    path: str | Path,
    *,
    user_column: str | None = None,
    item_column: str | None = None,
    rating_column: str | None = None,
) -> Ratings:
    """Read ratings from a csv, tsv or parquet file; csv and tsv may be gzipped (``.gz``).

    Columns that are not named are found by the usual names (``user``, ``userId``, ``movie_id``,
    ``rating``, ``stars``, …). Where a user rated an item more than once, the last rating counts
    and a warning says how many went. A scale of more than ``MOST_LEVELS`` distinct ratings is
    taken to be continuous; its ``levels`` are a grid of ``CONTINUOUS_STEPS`` even steps.

    Raises:
        DataError: for whatever makes the file unusable.
    """
    path = Path(path)
    named = {"user": user_column, "item": item_column, "rating": rating_column}
    try:
        return _read(path, _separator(path), named)
    except (OSError, EOFError, zlib.error, csv.Error, UnicodeError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def canonical_bytes(ratings: Ratings) -> bytes:
    """Lines ``user⇥item⇥rating``, by user then item, ratings as the shortest decimal."""
    matrix = ratings.matrix.tocoo()
    values, codes = np.unique(matrix.data, return_inverse=True)
    texts = [np.format_float_positional(value, trim="-") for value in values]
    users, items = ratings.user_ids.tolist(), ratings.item_ids.tolist()
    rows = zip(matrix.row.tolist(), matrix.col.tolist(), codes.tolist(), strict=True)
    return "".join(f"{users[u]}\t{items[i]}\t{texts[r]}\n" for u, i, r in rows).encode()


def _separator(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else path.suffix.lower()
    if kind not in SEPARATORS or (kind == ".parquet" and suffixes[-1] == ".gz"):
        raise DataError(f"{path}: the name must end in .csv, .tsv, .csv.gz, .tsv.gz or .parquet")
    return SEPARATORS[kind]


def _read(path: Path, separator: str | None, named: dict[str, str | None]) -> Ratings:
    def place(row: int) -> str:
        if separator is None:
            return f"row {row + 1}"
        line, _ = next(islice(_lines(path, separator), row + 1, None), ("?", None))
        return f"line {line}"

    def check(good: pa.ChunkedArray | np.ndarray, problem: str) -> None:
        for row in np.flatnonzero(~np.asarray(good))[:1]:
            raise DataError(f"{path}, {place(row)}: {problem.format(texts[row])}")

    if separator is None:
        table = _parquet_table(path, named)
    else:
        table = _text_table(path, separator, named)
    if not table.num_rows:
        raise DataError(f"{path} names its columns but holds no ratings")

    users, items, texts = (
        pc.utf8_trim_whitespace(pc.fill_null(pc.cast(column, pa.string()), ""))
        for column in table.columns
    )
    check(pc.not_equal(users, ""), "the user is missing")
    check(pc.not_equal(items, ""), "the item is missing")
    check(pc.match_substring_regex(texts, _NUMBER), "the rating '{}' is not a finite number")
    with np.errstate(over="ignore"):
        stars = pc.cast(texts, pa.float64()).to_numpy().astype(np.float32)
    check(np.isfinite(stars), "the rating {} is too large")

    users, items = _ids(users), _ids(items)
    repeated = pd.DataFrame({"user": users, "item": items}).duplicated(keep="last").to_numpy()
    if repeated.any():
        warnings.warn(
            f"{path}: {repeated.sum():,} ratings (the first in {place(repeated.argmax())}) are "
            "repeated further down by the same user for the same item; the last one counts",
            stacklevel=4,
        )
    stars, levels = _above_zero(stars[~repeated], path)
    ratings = Ratings.from_triples(
        users[~repeated], items[~repeated], stars, name=path.name, levels=levels, source=str(path)
    )
    return replace(ratings, sha256=hashlib.sha256(canonical_bytes(ratings)).hexdigest())


def _parquet_table(path: Path, named: dict[str, str | None]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        columns = _find_columns(path, file.schema_arrow.names, named)
        return file.read(columns=columns).select(columns)


def _text_table(path: Path, separator: str, named: dict[str, str | None]) -> pa.Table:
    with _open(path) as stream:
        head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not head:
        raise DataError(f"{path} is empty")
    if head.startswith(b"<"):
        raise DataError(
            f"{path} is a web page, not a table: the download answered with a log-in or error page"
        )
    if b"\0" in head:
        raise DataError(f"{path} is not UTF-8 text but a binary file or UTF-16; save it as UTF-8")
    _, header = next(_lines(path, separator))
    columns = _find_columns(path, header, named)
    try:
        with _open(path) as stream:
            return pa_csv.read_csv(
                stream,
                parse_options=pa_csv.ParseOptions(delimiter=separator),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
                ),
            )
    except pa.ArrowInvalid as error:
        for line, fields in _lines(path, separator):
            if len(fields) != len(header):
                raise DataError(
                    f"{path}, line {line}: {len(fields)} fields where the first line has "
                    f"{len(header)}"
                ) from error
            if any("\ufffd" in field for field in fields):
                raise DataError(f"{path}, line {line} is not UTF-8; save it as UTF-8") from error
        raise


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _lines(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """First lines and fields of records, without blanks: slow, for headers and error messages."""
    with (
        _open(path) as binary,
        io.TextIOWrapper(binary, encoding="utf-8-sig", errors="replace", newline="") as text,
    ):
        reader = csv.reader(text, delimiter=separator)
        line = 1
        for fields in reader:
            if fields:
                yield line, fields
            line = reader.line_num + 1


def _find_columns(path: Path, header: list[str], named: dict[str, str | None]) -> list[str]:
    """The columns of user, item and rating, in this order."""

    def plain(column: str) -> str:
        # RecBole writes "user_id:token"; others "User ID", "user-id", "userId".
        return "".join(filter(str.isalnum, column.partition(":")[0].lower()))

    columns = []
    for kind, wanted in named.items():
        if wanted is None:
            found = [column for column in header if plain(column) in COLUMN_NAMES[kind]]
        else:
            found = [column for column in header if column.strip() == wanted]
        if len(found) != 1:
            what = f"the {kind} column" if wanted is None else f"the column {wanted!r}"
            problem = f"could be any of {found}" if found else f"is not among {header[:20]}"
            raise DataError(
                f"{path}, first line: {what} {problem}; say which one it is with {kind}_column "
                f"(--{kind}-column)"
            )
        columns += found
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: user, item and rating need a column each, got {columns}")
    return columns


def _ids(texts: pa.ChunkedArray) -> np.ndarray:
    """Integers where all of them are, written the plain way (``007`` is not ``7``); else text."""
    try:
        numbers = pc.cast(texts, pa.int64())
    except pa.ArrowInvalid:
        return texts.to_numpy()
    plain = pc.all(pc.equal(pc.cast(numbers, pa.string()), texts)).as_py()
    return numbers.to_numpy() if plain else texts.to_numpy()


def _above_zero(stars: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
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
    warnings.warn(
        f"{path}: ratings from {lowest:g} to {levels[-1]:g} are shifted up by {step - lowest:g}, "
        "so that 0 is free to mean that there is no rating",
        stacklevel=5,
    )
    stars = stars - lowest + step
    return stars, scale(stars)
