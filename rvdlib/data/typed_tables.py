"""Tables whose columns have types, parquet files and DataFrames, as text without any loss."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rvdlib.data.layout import DataError, Layout, named_positions

Read = tuple[pa.Table, Callable[[int], str]]


def read_parquet(path: Path, layout: Layout) -> Read:
    """User, item and, if there is one, rating as text; and what messages call a row."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        positions = named_positions(str(path), names, layout)
        wanted = [names[n] for n in positions if n is not None]
        table = file.read(columns=wanted).select(wanted)
    return _text(table.columns)


def read_frame(frame: pd.DataFrame, layout: Layout) -> Read:
    """The same of a DataFrame; rows are counted from 1, whatever its index."""
    names = [str(name) for name in frame.columns]
    positions = named_positions("the DataFrame", names, layout)
    columns = []
    for n in positions:
        if n is not None:
            try:
                column = pa.Array.from_pandas(frame.iloc[:, n])
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise DataError(
                    f"the DataFrame: the values of the column {names[n]!r} are not all of one "
                    f"type: {error}"
                ) from error
            columns.append(column)
    return _text(columns)


def _text(columns: list) -> Read:
    texts = [_id_text(column) for column in columns[:2]]
    texts += [pc.cast(_plain(column), pa.string()) for column in columns[2:]]
    return pa.table(texts, ["user", "item", "rating"][: len(texts)]), lambda row: f"row {row + 1}"


def _id_text(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Ids as text, one for each; what is no finite number is missing.

    Bytes are the text that they spell. Where not all of a column spell printable text, they are
    written in hexadecimal.
    """
    column = _plain(column)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
        try:
            column = pc.cast(column, pa.int64())  # 1e15 is the id 1000000000000000
        except pa.ArrowInvalid:
            return pc.cast(column, pa.string())
    if not _is_bytes(column.type):
        return pc.cast(column, pa.string())
    try:
        text = pc.cast(column, pa.string())
        if pc.all(pc.utf8_is_printable(text)).as_py() is not False:
            return text
    except pa.ArrowInvalid:
        pass
    return pa.array([None if b is None else b.hex() for b in column.to_pylist()], pa.string())


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    if pa.types.is_dictionary(column.type):
        return pc.cast(column, column.type.value_type)
    return column


def _is_bytes(kind: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in (*tests, pa.types.is_binary_view))
