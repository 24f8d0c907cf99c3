"""When ratings were made, read from text: numbers of any one unit, or dates."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rvdlib.data.layout import NUMBER


def read_times(texts: pa.ChunkedArray, check: Callable) -> np.ndarray:
    """(rows,) float64: the numbers, or seconds since 1970 of dates as ISO 8601 has them.

    Args:
        check: raises, naming the row, where the first argument is false.
    """
    numbers = pc.match_substring_regex(texts, NUMBER)
    if pc.any(numbers).as_py():
        check(numbers, texts, "the time '{}' is not a number, as others are")
        return pc.cast(texts, pa.float64()).to_numpy()
    dates = pd.Series(texts.to_pylist(), dtype=object)
    when = pd.to_datetime(dates, utc=True, errors="coerce", format="ISO8601")
    check(when.notna().to_numpy(), texts, "the time '{}' is neither a number nor an ISO 8601 date")
    return when.astype("datetime64[ns, UTC]").astype("int64").to_numpy() / 1e9
