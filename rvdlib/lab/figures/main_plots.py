"""The figure of the main results: what each defence leaves of an attack, on every data set."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rvdlib.lab.figures.style import BLUE, GREY, ORANGE, PURPLE, dataset_panels, shared_legend

WIDTH = 4.4  # inches; legible when set 8.5 cm wide
LOOKS = {"the paper's": ("o", BLUE), "stronger": ("s", ORANGE), "knows the defence": ("^", PURPLE)}
SHOWN = (-0.1, 1.4)  # of the share of the lift; what lies beyond stands at the edge, in numbers


def lift_left(remains: pd.DataFrame, datasets: Sequence[str]) -> Figure:
    """A row a data set, a column a regime, a line a defence; one mark and colour a kind of attack.

    A panel without a complete seed says so; a hollow mark is of one seed. Columns: dataset, regime, kind,
    defense, value, low, high, n.
    """
    regimes = list(dict.fromkeys(remains["regime"])) or ["rating"]
    defenses = list(dict.fromkeys(remains["defense"]))
    height = 0.9 + len(datasets) * (0.45 + 0.17 * max(1, len(defenses)))
    figure, panels = dataset_panels(datasets, regimes, (WIDTH, height))
    for (dataset, regime), axes in panels.items():
        here = remains[(remains["dataset"] == dataset) & (remains["regime"] == regime)]
        _panel(axes, here, defenses)
    first = next(iter(panels.values()))
    first.set(xlim=SHOWN, ylim=(max(1, len(defenses)) - 0.5, -0.5))
    first.set_yticks(range(len(defenses)), defenses)
    figure.supxlabel("share of the attacks' lift that is left", fontsize="medium")
    shared_legend(figure, first, columns=3)
    return figure


def _panel(axes: Axes, here: pd.DataFrame, defenses: list[str]) -> None:
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.grid(axis="y", visible=False)
    if here["value"].notna().sum() == 0:
        middle = {"x": 0.5, "y": 0.5, "ha": "center", "va": "center"}
        box = {"facecolor": "white", "edgecolor": "none"}
        said = "not computed" if here.empty else "hardly any lift"  # of which there is no share
        axes.text(s=said, transform=axes.transAxes, color=GREY, bbox=box, **middle)
    for place, (kind, (marker, colour)) in enumerate(LOOKS.items()):
        rows = here[here["kind"] == kind].dropna(subset="value")
        y = np.array([defenses.index(name) for name in rows["defense"]]) + 0.25 * (place - 1)
        x, low, high = (rows[name].clip(*SHOWN) for name in ("value", "low", "high"))
        reach = np.nan_to_num(np.array([x - low, high - x]))
        look = {"fmt": marker, "color": colour, "markersize": 3.5, "elinewidth": 1.1}
        axes.errorbar([], [], **look, label=kind)
        for one, fill in ((rows["n"] > 1, colour), (rows["n"] == 1, "white")):
            axes.errorbar(x[one], y[one], xerr=reach[:, one], **look, markerfacecolor=fill)
        for value, height in zip(rows["value"], y, strict=True):
            if value > SHOWN[1]:
                at = {"xy": (SHOWN[1], height), "xytext": (-4, 0), "textcoords": "offset points"}
                axes.annotate(f"{value:.1f}", **at, ha="right", va="center", size=5, color=colour)
