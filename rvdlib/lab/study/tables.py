"""Rows to tables: tidy frames in, what a reader sees out, and the csv beside it."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from rvdlib import paths
from rvdlib.lab.runner.ledger import read_table
from rvdlib.lab.runner.shown import ANSWER
from rvdlib.lab.runner.shown import trials as trials
from rvdlib.lab.runner.unchanged import same_table, tolerance_of
from rvdlib.lab.statistics import BETTER, Interval


def save(frame: pd.DataFrame, profile: str, name: str) -> None:
    """Write ``results/<profile>/<name>.csv``, whole or not at all.

    A table that says what it said before, within what :mod:`rvdlib.lab.runner.unchanged` states for it,
    stays as it was, to the byte.
    """
    path = paths.RESULTS / profile / f"{name}.csv"
    text = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    if path.is_file():
        old = path.read_text(errors="replace")
        text = old if same_table(old, text, tolerance_of(name)) else text
    paths.write_atomically(path, text)


def kept(frame: pd.DataFrame, profile: str, name: str) -> pd.DataFrame:
    """:func:`save`, and the table as it is kept: what a figure must be drawn from to stay, too."""
    save(frame, profile, name)
    return read_table(paths.RESULTS / profile / f"{name}.csv")


def format_interval(mean: float, low: float, high: float, decimals: int = 3) -> str:
    """``0.123 [0.110, 0.140]``; the mean alone where there is no interval; – where it is NaN."""
    if pd.isna(mean):
        return "–"
    if pd.isna(low):
        return f"{mean:.{decimals}f}"
    return f"{mean:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def with_interval(rows: pd.DataFrame, value: str = "mean", decimals: int = 3) -> pd.Series:
    """Columns ``value``, low and high as text (:func:`format_interval`)."""
    bounds = zip(rows[value], rows["low"], rows["high"], strict=True)
    shown = [format_interval(*row, decimals) for row in bounds]
    return pd.Series(shown, index=rows.index, dtype=object)


def answer(*sentences: str) -> str:
    """What a notebook opens with, in Markdown: a few sentences, a line each."""
    return "\n".join([f"{ANSWER}\n", *(f"- {sentence}" for sentence in sentences if sentence)])


def span(values: Iterable[float], form: str = "{:.3f}") -> str:
    """``0.100 to 0.300``; one number where all are shown alike, – where there is none."""
    shown = dict.fromkeys(form.format(value) for value in sorted(values))
    return " to ".join(dict.fromkeys([*shown][:1] + [*shown][-1:])) or "–"


def change(share: float) -> str:
    """``better by 3.4 %`` of a relative change of accuracy, positive for better."""
    return f"{'worse' if share < 0 else 'better'} by {100 * abs(share):.1f} %"


def wide(rows: pd.DataFrame, index: list[str], across: str, decimals: int = 3) -> pd.DataFrame:
    """Means with intervals, one column for each value of ``across``, all in the order given."""
    shown = rows.assign(shown=with_interval(rows, decimals=decimals))
    table = shown.pivot(index=index, columns=across, values="shown")
    return table.loc[shown[index].drop_duplicates().itertuples(index=False, name=None)][
        list(dict.fromkeys(shown[across]))
    ]


def listed(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows as they are, mean and interval in one column, the first column as the index."""
    columns = [name for name in rows if name not in Interval._fields]
    return rows[columns].assign(measured=with_interval(rows), n=rows["n"]).set_index(columns[0])


# Notebooks 01 and 02: the data, and the recommenders before anybody attacks.

_COUNT, _SHARE = "{:,.0f}", "{:.1%}"
FACTS = {
    "users": ("users", _COUNT),
    "items": ("items", _COUNT),
    "ratings": ("ratings", _COUNT),
    "density": ("density", "{:.2%}"),
    "lowest_rating": ("lowest rating, stars", "{:g}"),
    "highest_rating": ("highest rating, stars", "{:g}"),
    "rating_levels": ("steps of the scale", _COUNT),
    "ratings_per_user_median": ("ratings per user, median", "{:g}"),
    "top_share": ("ratings on the top 10 % of items", _SHARE),
    "filler_size": ("filler size F = ⌊ratings / users⌋", _COUNT),
    "n_fakes": ("fakes at 3 %", _COUNT),
    "users_evaluated": ("users evaluated", _COUNT),
    "train_ratings": ("training ratings", _COUNT),
    "train_unpopular_items": ("items with 1 to 5 training ratings", _COUNT),
    "train_unrated_items": ("items without a training rating", _COUNT),
}
METRICS = {
    "rmse_holdout": "RMSE, random fifth",
    "hit_ratio": "HR@50",
    "ndcg": "NDCG@50",
    "rmse": "RMSE, leave-one-out",
    "train_seconds": "training, CPU s",
}


def facts(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`rvdlib.lab.study.datasets.describe` as a table, one column a data set."""
    shown = {
        label: [form.format(value) for value in frame[name]]
        for name, (label, form) in FACTS.items()
        if name in frame
    }
    return pd.DataFrame(shown, index=frame["dataset"].rename(None)).T


def demands(found: pd.DataFrame, decimals: int = 3) -> pd.DataFrame:
    """Rows of :func:`rvdlib.lab.study.demands.demands` as a table: asked, reached, and whether it holds."""
    more = found["metric"].map(BETTER) > 0
    signs = np.where(more, np.where(found["strict"], ">", "≥"), "≤")
    asked = [
        "–" if pd.isna(bound) else f"{sign} {bound:.{decimals}f}"
        for bound, sign in zip(found["bound"], signs, strict=True)
    ]
    shown = found[["dataset", "regime", "system"]].assign(
        measure=found["metric"].map(METRICS),
        asked=asked,
        reached=with_interval(found, decimals=decimals),
        holds=found["holds"].map({True: "yes", False: "NO"}).fillna("not asked"),
    )
    return shown.rename(columns={"dataset": "data set", "system": "victim"}).set_index("data set")
