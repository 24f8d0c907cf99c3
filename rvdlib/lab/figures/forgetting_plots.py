"""Figure of what part of RVD's loss does what."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rvdlib.lab.figures.style import COLUMN_WIDTH, DOT, REGIME_TITLES, colours, reach, shared_legend

ROWS = {"target_hit_ratio": "THR@50", "target_row_norm": "length of the\ntargets' rows"}


def parts_of_the_loss(summary: pd.DataFrame) -> Figure:
    """THR@50, and the length of the targets' decoder rows, by part; a column a regime and victim.

    Columns: regime, victim, attack, part, metric, mean, low, high.
    """
    panels = list(summary[["regime", "victim"]].drop_duplicates().itertuples(index=False))
    shades = colours(summary["attack"], {})
    size = (max(COLUMN_WIDTH, 2.4 * len(panels)), 4.4)
    shape = len(ROWS), len(panels)  # the regimes have not the same parts
    figure, grid = plt.subplots(*shape, figsize=size, sharex="col", squeeze=False)
    for column, (regime, victim) in enumerate(panels):
        here = summary[(summary["regime"] == regime) & (summary["victim"] == victim)]
        for row, (metric, label) in enumerate(ROWS.items()):
            _dots(grid[row, column], here[here["metric"] == metric], shades)
            if column == 0:
                grid[row, column].set_ylabel(label)
        grid[0, column].set_title(f"{victim}\n{REGIME_TITLES[regime]}")
    shared_legend(figure, grid[0, 0])
    return figure


def _dots(axes: Axes, rows: pd.DataFrame, shades: dict[str, str]) -> None:
    """Means with intervals: parts along x, one colour and a small shift for each attack."""
    places = {name: place for place, name in enumerate(rows["part"].unique())}
    attacks = list(rows["attack"].unique())
    apart = min(0.22, 0.8 / max(1, len(attacks)))
    for number, name in enumerate(attacks):
        own = rows[rows["attack"] == name]
        x = own["part"].map(places) + apart * (number - (len(attacks) - 1) / 2)
        axes.errorbar(x, own["mean"], reach(own), **DOT, color=shades[name], label=name)
    axes.set_xticks(list(places.values()), list(places), rotation=90)
    axes.margins(x=0.12)
    axes.grid(axis="x", visible=False)
    axes.set_ylim(bottom=0)
