"""Figures of how many fakes a data set can take."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rvdlib.lab.figures.style import GREY, LOOKS, colours, dataset_panels, shared_legend, shown_in

WIDTH = 4.4  # inches; legible when set 8.5 cm wide
MARKERS = "osD^vP"
NAMES = dict.fromkeys(["none", "undefended"], "no defence")


def fakes_taken(drawn: pd.DataFrame, least_kept: float) -> Figure:
    """Accuracy against the fakes that a quorum takes: a row a data set, a column a regime.

    A colour and mark a distance, each point a quorum; in grey, less than ``least_kept`` is kept. Columns:
    dataset, regime, distance (as shown), taken (fakes per real user), kept.
    """
    shades = colours(drawn["distance"], {})
    figure, panels = _panels(drawn, height=1.35)
    for (dataset, regime), axes in panels.items():
        here = drawn[(drawn["regime"] == regime) & (drawn["dataset"] == dataset)]
        for (distance, colour), marker in zip(shades.items(), MARKERS, strict=False):
            points = (
                100 * here[here["distance"] == distance].sort_values("taken")[["taken", "kept"]]
            )
            look = {"marker": marker, "markersize": 3, "linewidth": 1.1, "color": colour}
            axes.plot(points["taken"], points["kept"], label=distance, **look)
        axes.axhspan(0, 100 * least_kept, color=GREY, alpha=0.12, linewidth=0)
        axes.set_xlim(0, None)
    axes.set_ylim(0, 105 * max(1, drawn["kept"].max()))  # of all panels
    figure.supxlabel("fakes that are taken, % of users", fontsize="medium")
    figure.supylabel("accuracy that is kept, %", fontsize="medium")
    shared_legend(
        figure, next(iter(panels.values())), columns=2, title="neighbours by", fontsize="small"
    )
    return figure


def growth(grown: pd.DataFrame, title: str | None = None) -> Figure:
    """THR@50 against the size of the attack: a panel for each data set and regime that is there.

    Each has its own scale, from 0; defences stand side by side at each size. What differs in numbers
    alone (*quorum 3 of 30*, *quorum 6 of 30*) has one look, the second dashed and hollow. Columns:
    dataset, regime, attack_size, label, mean, low, high. ``title``: of the legend.
    """
    cases, labels = [*grown.groupby(["dataset", "regime"], sort=False)], grown["label"].unique()
    families = [re.sub(r"( of)? \d.*", "", label) for label in labels]
    places = {size: np.sqrt(100 * size) for size in sorted(grown["attack_size"].unique())}
    apart = 0.7 / len(labels) * np.diff([*places.values()]).min(initial=1)
    rows, columns = -(-len(cases) // 2), min(2, len(cases))
    free = len(cases) < rows * columns  # a panel's room, for the legend
    above = 0.8 + 0.2 * -(-len(labels) // 2)  # of two columns
    size = (WIDTH, 1.5 * rows + (0.7 if free else above))
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, sharex=True)
    for axes, (case, found) in zip(grid.flat, cases, strict=False):
        for number, (label, family) in enumerate(zip(labels, families, strict=True)):
            here = found[found["label"] == label].sort_values("attack_size")
            if here.empty:
                continue
            x = here["attack_size"].map(places) + apart * (number - (len(labels) - 1) / 2)
            marker, colour = LOOKS[family]
            look = {"color": colour, "marker": marker, "markersize": 6 if marker == "*" else 4}
            if family in families[:number]:
                look |= {"linestyle": "--", "markerfacecolor": "white"}
            shown = {"label": NAMES.get(label, label), "linewidth": 1.1, "clip_on": False}
            axes.plot(x, here["mean"], **look, **shown)
            axes.vlines(x, here["low"], here["high"], color=colour, linewidth=0.8)
        axes.set_title(", ".join(case), fontsize="medium")
        axes.set_xticks([*places.values()], [f"{100 * each:g}" for each in places])
        axes.set_ylim(0, 1.05 * found[["mean", "high"]].max(axis=None))
    figure.supxlabel("fakes, % of users (square-root scale)", fontsize="medium")
    figure.supylabel("THR@50", fontsize="medium")
    if free:
        grid[-1, 1].axis("off")
        grid[-2, 1].tick_params(labelbottom=True)
        look = {"loc": "center", "title": title, "fontsize": "small", "handlelength": 1.5}
        grid[-1, 1].legend(*shown_in(figure, grid[0, 0]), **look)
    else:
        shared_legend(figure, grid[0, 0], columns=2, title=title)
    return figure


def _panels(rows: pd.DataFrame, height: float) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """Of the data sets, ``height`` inches each, and the regimes of these rows."""
    datasets, regimes = (rows[name].unique() for name in ("dataset", "regime"))
    return dataset_panels(datasets, regimes, (WIDTH, 1.2 + height * len(datasets)))
