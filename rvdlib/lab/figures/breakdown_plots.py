"""Figures of how many fakes a data set can take."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rvdlib.lab.figures.style import GREY, colours, dataset_panels, shared_legend

WIDTH = 4.4  # inches; legible when set 8.5 cm wide
MARKERS = "osD^vP"
NAMES = {"none": "no defence"}


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
    """THR@50 under the strongest attack, against its size: a row a data set, a column a regime.

    Columns: dataset, regime, attack_size, label (the first is the undefended victim's), mean, low, high.
    ``title``: of the legend.
    """
    shades = colours(grown["label"], {grown["label"].iloc[0]: GREY})
    figure, panels = _panels(grown, height=1.5)
    for (dataset, regime), axes in panels.items():
        found = grown[(grown["regime"] == regime) & (grown["dataset"] == dataset)]
        if found.empty:
            middle = {"ha": "center", "va": "center", "transform": axes.transAxes}
            axes.text(0.5, 0.5, "not measured", color=GREY, **middle)
        for (label, colour), marker in zip(shades.items(), MARKERS * 9, strict=False):
            here = found[found["label"] == label].sort_values("attack_size")
            x = 100 * here["attack_size"]
            look = {"color": colour, "marker": marker, "markersize": 3}
            axes.plot(x, here["mean"], label=NAMES.get(label, label), **look)
            axes.fill_between(x, here["low"], here["high"], color=colour, alpha=0.12, lw=0)
        axes.set(ylim=(0, 1.02))
    figure.supxlabel("fakes, % of users", fontsize="medium")
    figure.supylabel("THR@50", fontsize="medium")
    shared_legend(figure, next(iter(panels.values())), columns=2, title=title)
    return figure


def _panels(rows: pd.DataFrame, height: float) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """Of the data sets, ``height`` inches each, and the regimes of these rows."""
    datasets, regimes = (rows[name].unique() for name in ("dataset", "regime"))
    return dataset_panels(datasets, regimes, (WIDTH, 1.2 + height * len(datasets)))
