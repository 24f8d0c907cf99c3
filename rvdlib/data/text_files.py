"""Ratings files as people have them: any separator, with or without a header line.

The separator is the one that gives the first line its columns, or a file without a header line
equal rows with a rating in them. Where that holds for several, or a first line could be a header as
well as a row, the file is refused until its owner says which.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from rvdlib.data.layout import (
    DataError,
    Layout,
    is_number,
    named_positions,
    numbered_positions,
)
from rvdlib.data.text_records import UNIT, TextTable, is_utf8

OWN_SEPARATOR = {".csv": ",", ".tsv": "\t", ".inter": "\t"}
SEPARATORS = ("\t", "::", ";", ",", " ")
# As MovieLens has them: user, item, rating and a time, without a header line.
HEADERLESS = (".data", ".dat")
SAMPLE = 20  # rows that are looked at to find the separator of a file without a header line


def read_text(
    path: str, content: bytes, suffix: str, layout: Layout
) -> tuple[pa.Table, Callable[[int], str]]:
    """User, item and, if there are any, rating and time as text; and what messages call a row.

    Raises:
        DataError: for a file that is no table, is faulty, or whose layout cannot be told.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    head = content[:4096].lstrip()
    if not head:
        raise DataError(f"{path} is empty")
    if head.startswith(b"<"):
        raise DataError(
            f"{path} is a web page, not a table: the download answered with a log-in or error page"
        )
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise DataError(
            f"{path} is not UTF-8 text but a binary file, UTF-16 or damaged: line {line} holds the "
            "byte 0; save it as UTF-8"
        )

    table = _laid_out(path, content, suffix, layout)
    columns = table.columns()
    if table.header and layout.header is None and any(layout.columns.values()):
        _check_header(table, columns)
    return columns, table.place


def _laid_out(path: str, content: bytes, suffix: str, layout: Layout) -> TextTable:
    """The file under the one separator that gives it the columns."""
    (first, *_) = re.split(rb"[\r\n]", content[: 2**16].lstrip(b"\r\n"), maxsplit=1)
    own = layout.separator or OWN_SEPARATOR.get(suffix)
    candidates = [own] if own else []
    if not layout.separator:
        candidates += [s for s in SEPARATORS if s != own and s.encode() in first]
    fitting: dict[str, TextTable] = {}
    problems: list[DataError] = []
    for separator in candidates:
        # Spaces may stand beside other separators, so they are looked at last.
        if separator == " " and fitting:
            continue
        try:
            fitting[separator] = _under(separator, path, content, suffix, layout)
        except DataError as problem:
            problems.append(problem)
        else:
            if fitting[separator].header:
                return fitting[separator]
    if len(fitting) == 1:
        return fitting.popitem()[1]
    if problems and not fitting:
        raise problems[0]
    found = " or ".join(map(repr, fitting)) or "nothing that is known"
    raise DataError(
        f"{path}, first line: the fields are separated by {found}; say what separates them with "
        "separator (--separator)"
    )


def _under(separator: str, path: str, content: bytes, suffix: str, layout: Layout) -> TextTable:
    """The file under this separator.

    Raises:
        DataError: if its columns are not found.
    """
    table = TextTable(path, content, separator, layout.quotes)
    if len(separator.encode()) > 1:
        if UNIT.encode() in content:
            raise DataError(f"{path} is no text: it holds the control character U+001F")
        content = content.replace(separator.encode(), UNIT.encode())
        table = replace(table, content=content, separator=UNIT, stands_for=separator)
    where = f"{path}, first line"
    _, first = next(table.records())
    like_a_row = len(first) > 2 and all(map(str.strip, first[:3])) and is_number(first[2])
    header = layout.header
    if header is None:
        header = not (suffix in HEADERLESS and like_a_row)
    if not header:
        positions = numbered_positions(where, len(first), layout)
        table = replace(table, header=False, n_fields=len(first), positions=positions)
        if layout.separator is None:
            _check_sample(table)
        return table
    try:
        positions = named_positions(where, first, layout)
    except DataError as problem:
        advice = ""
        if not is_utf8("".join(first)):
            raise DataError(f"{where} is not UTF-8; save it as UTF-8") from None
        if len(first) == 1:
            advice = ", or what separates the fields with separator (--separator)"
        elif like_a_row or len(first) == 2:
            advice = ", or header=False (--no-header) if there is no header line"
        raise DataError(f"{problem}{advice}") from None
    return replace(table, n_fields=len(first), positions=positions)


def _check_sample(table: TextTable) -> None:
    rating = table.positions[2]
    for line, fields in islice(table.records(), SAMPLE):
        if rating is not None and not is_number(fields[rating]):
            raise DataError(
                f"{table.path}, line {line}: the rating {fields[rating]!r} is not a finite number"
            )


def _check_header(table: TextTable, columns: pa.Table) -> None:
    """Refuse to lose a row whose values were taken for the names of columns."""
    _, names = next(table.records())
    user, item, rating, _ = table.positions
    if rating is not None:
        like_a_row = is_number(names[rating])
    else:
        cells = [names[user].strip(), names[item].strip()]
        like_a_row = all(map(is_number, cells)) or any(
            pc.any(pc.equal(pc.utf8_trim_whitespace(column), cell)).as_py()
            for column, cell in zip(columns.columns, cells, strict=False)
        )
    if like_a_row:
        raise DataError(
            f"{table.path}, first line: {names[:20]} could name the columns or be a row; say "
            "header=True (--header) if it names them, else header=False (--no-header) and the "
            "columns by number"
        )
