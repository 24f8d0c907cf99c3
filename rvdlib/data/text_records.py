"""The columns of a text file whose layout is known.

pyarrow reads what has no quotes. The csv module reads the rest, strictly, and finds the line of
whatever is wrong. A quote that is never closed would swallow the rows up to the next quote. So one
that ends in a later line is believed only if no line on the way reads as a row of its own.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from rvdlib.data.layout import KINDS, DataError, Positions, is_number

# Stands for a separator of several characters; no text has it.
UNIT = "\x1f"
NO_QUOTES = "or say quotes=False (--no-quotes) if quotes are ordinary characters in this file"


@dataclass(frozen=True)
class TextTable:
    """A text file and how to read it: content, separator, quotes, and where the columns stand.

    ``separator`` is one character; ``UNIT`` stands for more. Positions count from 0; like
    ``n_fields``, they are known once the first lines have been read.
    """

    path: str
    content: bytes
    separator: str
    quotes: bool | None
    header: bool = True
    stands_for: str = ""
    n_fields: int = 0
    positions: Positions = (0, 1, None, None)

    def columns(self) -> pa.Table:
        """User, item and, if there is one, rating and time as text, a row each."""
        if self.separator != " " and (self.quotes is False or b'"' not in self.content):
            # Whatever pyarrow refuses, the csv module reads, or it names the line.
            with suppress(pa.ArrowInvalid):
                return self._fast().rename_columns(self._kinds())
        table = self._slow().rename_columns(self._kinds())
        if not self.stands_for:
            return table
        texts = [pc.replace_substring(c, UNIT, self.stands_for) for c in table.columns]
        return pa.table(texts, table.column_names)

    def place(self, row: int) -> str:
        record = next(islice(self.records(), row + self.header, None), None)
        return f"line {record[0]}" if record else "the last line"

    def _fast(self) -> pa.Table:
        names = [str(n) for n in range(self.n_fields)]
        wanted = [names[n] for n in self._wanted()]
        table = pa_csv.read_csv(
            io.BytesIO(self.content),
            read_options=pa_csv.ReadOptions(column_names=names, block_size=2**24),
            parse_options=pa_csv.ParseOptions(delimiter=self.separator, quote_char=False),
            convert_options=pa_csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
            ),
        )
        return table.slice(int(self.header))

    def _slow(self) -> pa.Table:
        wanted = self._wanted()
        names = [str(n) for n in wanted]
        records = islice(self.records(), int(self.header), None)
        batches = []
        while chunk := list(islice(records, 2**10)):  # few enough for the processor's cache
            try:
                columns = [
                    pa.array([fields[n] for _, fields in chunk], pa.string()) for n in wanted
                ]
            except UnicodeEncodeError as error:
                texts = {line: "".join(fields[n] for n in wanted) for line, fields in chunk}
                line = next(line for line, text in texts.items() if not is_utf8(text))
                raise DataError(
                    f"{self.path}, line {line} is not UTF-8; save it as UTF-8"
                ) from error
            batches.append(pa.record_batch(columns, names))
        return pa.Table.from_batches(batches, pa.schema([(name, pa.string()) for name in names]))

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """First lines and fields of records, the header's too, without blank lines.

        What is not UTF-8 becomes surrogates. Until the positions are known, rows are not checked.
        """
        with (
            io.TextIOWrapper(
                io.BytesIO(self.content), "utf-8", errors="surrogateescape", newline=""
            ) as text,
            _fields_of_any_size(),
        ):
            record: list[str] = []
            reader = csv.reader(
                _remembered(text, record),
                delimiter=self.separator,
                quoting=csv.QUOTE_NONE if self.quotes is False else csv.QUOTE_MINIMAL,
                skipinitialspace=self.separator == " ",
                strict=True,
            )
            while True:
                line = reader.line_num + 1
                record.clear()
                try:
                    fields = next(reader, None)
                except csv.Error as error:
                    fields = self._unquoted(line, record, error)
                if fields is None:
                    return
                if self.separator == " " and record[-1].rstrip("\r\n").endswith(" "):
                    fields.pop()  # nothing follows the spaces at the end of a line
                if fields:
                    if self.n_fields:
                        self._check(line, record, fields)
                    yield line, fields

    def _unquoted(self, line: int, record: list[str], error: csv.Error) -> list[str]:
        """The fields of a line in which text follows a closing quote, with all of its quotes.

        Not where the quotes are in a column that we read: which text is meant?
        """
        if len(record) > 1 or "end of data" in str(error):
            problem = "a quote opens here, and none closes it at the end of a field"
            remedy = f"close it, {NO_QUOTES}"
        else:
            fields = self._split(record[0])
            if len(fields) == self.n_fields and not any('"' in fields[n] for n in self._wanted()):
                return fields
            problem = "text follows the closing quote of a field"
            remedy = f"double the quotes inside of a quoted field, {NO_QUOTES}"
        raise DataError(f"{self.path}, line {line}: {problem}; {remedy}") from error

    def _check(self, line: int, record: list[str], fields: list[str]) -> None:
        several = len(record) > 1
        if len(fields) != self.n_fields:
            quoted = f" (a quote in it ends in line {line + len(record) - 1})" if several else ""
            raise DataError(
                f"{self.path}, line {line}: {len(fields)} fields where the first line has "
                f"{self.n_fields}{quoted}"
            )
        if several and self.quotes is None:
            for further, text in enumerate(record[1:], start=1):
                if self._reads_as_row(text, fields):
                    raise DataError(
                        f"{self.path}, line {line}: a quote opens here and ends in line "
                        f"{line + len(record) - 1}, but line {line + further} reads as a row of "
                        f"its own; close the quote, {NO_QUOTES}, quotes=True (--quotes) if that "
                        "line belongs to the quoted text"
                    )

    def _reads_as_row(self, text: str, fields: list[str]) -> bool:
        """Whether this line alone could be a row, spaced as the record in which it stands."""
        parts = self._split(text)
        if len(parts) != self.n_fields:
            return False
        rating = self.positions[2]
        return all(
            parts[n].strip('" ') and parts[n].startswith(" ") == fields[n].startswith(" ")
            for n in self._wanted()
        ) and (rating is None or is_number(parts[rating].strip('" ')))

    def _kinds(self) -> list[str]:
        return [kind for kind, at in zip(KINDS, self.positions, strict=True) if at is not None]

    def _wanted(self) -> list[int]:
        return [position for position in self.positions if position is not None]

    def _split(self, text: str) -> list[str]:
        text = text.rstrip("\r\n")
        return text.split() if self.separator == " " else text.split(self.separator)


def _remembered(lines: Iterable[str], record: list[str]) -> Iterator[str]:
    for line in lines:
        record.append(line)
        yield line


@contextmanager
def _fields_of_any_size() -> Iterator[None]:
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
