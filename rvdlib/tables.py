"""Rows to tables: tidy frames in, what a reader sees out, and the csv beside it."""

import io

import pandas as pd

from rvdlib import paths


def save(frame: pd.DataFrame, profile: str, name: str) -> None:
    """Write ``results/<profile>/<name>.csv``, whole or not at all."""
    text = io.StringIO()
    frame.to_csv(text, index=False, float_format="%.6g")
    paths.write_atomically(paths.RESULTS / profile / f"{name}.csv", text.getvalue())


def with_interval(rows: pd.DataFrame, decimals: int = 3) -> pd.Series:
    """``0.123 [0.110, 0.140]`` from columns mean, low and high; the mean alone without interval."""

    def cell(row) -> str:
        if pd.isna(row["mean"]):
            return "–"
        text = f"{row['mean']:.{decimals}f}"
        if pd.isna(row["low"]):
            return text
        return f"{text} [{row['low']:.{decimals}f}, {row['high']:.{decimals}f}]"

    return rows.apply(cell, axis=1)
