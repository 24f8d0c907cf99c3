"""Tables whose columns have types, parquet files and DataFrames, as text without any loss."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rvdlib.data.layout import KINDS, DataError, Layout, Positions, named_positions

Read = tuple[pa.Table, Callable[[int], str]]


def read_parquet(path: Path, layout: Layout) -> Read:
    """User, item and, if there are any, rating and time as text; and what messages call a row."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        positions = named_positions(str(path), names, layout)
        wanted = [names[n] for n in positions if n is not None]
        table = file.read(columns=wanted).select(wanted)
    return _text(str(path), positions, wanted, table.columns)


def read_frame(frame: pd.DataFrame, layout: Layout) -> Read:
    """The same of a DataFrame; rows are counted from 1, whatever its index."""
    names = [str(name) for name in frame.columns]
    positions = named_positions("the DataFrame", names, layout)
    wanted = [n for n in positions if n is not None]
    columns = [frame.iloc[:, n] for n in wanted]
    return _text("the DataFrame", positions, [names[n] for n in wanted], columns)


def _text(where: str, positions: Positions, names: list[str], columns: list) -> Read:
    texts: list[pa.Array] = []
    for name, column in zip(names, columns, strict=True):
        try:
            column = _array(column)
            is_id = len(texts) < 2
            texts.append(_id_text(column) if is_id else pc.cast(_plain(column), pa.string()))
        except (pa.ArrowException, TypeError, OverflowError, UnicodeError) as error:
            raise DataError(
                f"{where}: the column {name!r} cannot be read, its values are not all of one plain "
                f"type: {error}"
            ) from error
    kinds = [kind for kind, at in zip(KINDS, positions, strict=True) if at is not None]
    return pa.table(texts, kinds), lambda row: f"row {row + 1}"


def _array(column: pd.Series | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if not isinstance(column, pd.Series):
        return column
    if column.dtype == object:
        kinds = {*map(type, column.dropna())}
        if len(kinds) > 1 and kinds & {bool, np.bool_}:  # PyArrow takes True for 1.0
            raise TypeError("truth values among others")
    return pa.Array.from_pandas(column)


def _id_text(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Ids as text, one for each; what is no finite number is missing. Bytes are the text that they
    spell."""
    column = _plain(column)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
        with suppress(pa.ArrowInvalid):
            column = pc.cast(column, pa.int64())  # 1e15 is the id 1000000000000000
    return pc.cast(column, pa.string())


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    if pa.types.is_dictionary(column.type):
        return _plain(pc.cast(column, column.type.value_type))
    if isinstance(column.type, pa.BaseExtensionType):
        if column.type.extension_name == "arrow.uuid":
            texts = [None if each is None else str(each) for each in column.to_pylist()]
            return pa.array(texts, pa.string())
        return _plain(pc.cast(column, column.type.storage_type))
    return column
