"""Rows to tables: tidy frames in, what a reader sees out, and the csv beside it."""

import io

import pandas as pd

from rvdlib import paths


def save(frame: pd.DataFrame, profile: str, name: str) -> None:
    """Write ``results/<profile>/<name>.csv``, whole or not at all."""
    text = io.StringIO()
    frame.to_csv(text, index=False, float_format="%.6g")
    paths.write_atomically(paths.RESULTS / profile / f"{name}.csv", text.getvalue())


def format_interval(mean: float, low: float, high: float, decimals: int = 3) -> str:
    """``0.123 [0.110, 0.140]``; the mean alone where there is no interval; – where it is NaN."""
    if pd.isna(mean):
        return "–"
    if pd.isna(low):
        return f"{mean:.{decimals}f}"
    return f"{mean:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def with_interval(rows: pd.DataFrame, decimals: int = 3) -> pd.Series:
    """Columns mean, low and high as text (:func:`format_interval`)."""
    bounds = zip(rows["mean"], rows["low"], rows["high"], strict=True)
    return pd.Series([format_interval(*row, decimals) for row in bounds], index=rows.index)


def wide(rows: pd.DataFrame, index: list[str], across: str, decimals: int = 3) -> pd.DataFrame:
    """Means with intervals, one column for each value of ``across``, all in the order given."""
    shown = rows.assign(shown=with_interval(rows, decimals))
    table = shown.pivot(index=index, columns=across, values="shown")
    return table.loc[shown[index].drop_duplicates().itertuples(index=False, name=None)][
        list(dict.fromkeys(shown[across]))
    ]
