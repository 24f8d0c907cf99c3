"""Figure of what part of RVD's loss does what."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.figures.style import COLUMN_WIDTH, REGIME_TITLES, colours, dots, shared_legend

ROWS = {"target_hit_ratio": "THR@50", "target_row_norm": "length of the\ntargets' rows"}


def parts_of_the_loss(summary: pd.DataFrame) -> Figure:
    """THR@50, and the length of the targets' decoder rows, by part; a column a regime and victim.

    Columns: regime, victim, attack, part, metric, mean, low, high.
    """
    panels = list(summary[["regime", "victim"]].drop_duplicates().itertuples(index=False))
    shades = colours(summary["attack"], {})
    figure, grid = plt.subplots(
        len(ROWS),
        len(panels),
        figsize=(max(COLUMN_WIDTH, 2.4 * len(panels)), 4.4),
        sharex="col",  # the regimes have not the same parts
        squeeze=False,
    )
    for column, (regime, victim) in enumerate(panels):
        here = summary[(summary["regime"] == regime) & (summary["victim"] == victim)]
        for row, (metric, label) in enumerate(ROWS.items()):
            axes = grid[row, column]
            dots(axes, here[here["metric"] == metric], "part", "attack", shades)
            axes.set_ylim(bottom=0)
            axes.tick_params(axis="x", rotation=90)
            if column == 0:
                axes.set_ylabel(label)
        grid[0, column].set_title(f"{victim}\n{REGIME_TITLES[regime]}")
    shared_legend(figure, grid[0, 0])
    return figure
