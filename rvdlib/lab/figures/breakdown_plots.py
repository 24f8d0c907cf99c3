"""Figures of how many fakes a data set can take."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.figures.style import GREY, REGIME_TITLES, colours, shared_legend

WIDTH = 4.4  # inches; legible when set 8.5 cm wide
MARKERS = "osD^vP"


def fakes_taken(drawn: pd.DataFrame, least_kept: float) -> Figure:
    """Accuracy and list length that are left, against the fakes that a quorum takes.

    A column a regime, a line a data set, whose points are quorums. The upper row ends in grey where
    less than ``least_kept`` is left.

    Args:
        drawn: columns dataset, regime, taken (fakes per real user), kept, list_length.
    """
    regimes = list(dict.fromkeys(drawn["regime"]))
    shades = colours(drawn["dataset"], {})
    figure, panels = plt.subplots(
        2, len(regimes), figsize=(WIDTH, 4.2), sharex=True, sharey="row", squeeze=False
    )
    for column, regime in enumerate(regimes):
        upper, lower = panels[:, column]
        for (dataset, colour), marker in zip(shades.items(), MARKERS * 9, strict=False):
            here = drawn[(drawn["regime"] == regime) & (drawn["dataset"] == dataset)]
            here = here.sort_values("taken")
            look = {"color": colour, "marker": marker, "markersize": 3.5, "label": dataset}
            upper.plot(100 * here["taken"], 100 * here["kept"], **look)
            lower.plot(100 * here["taken"], here["list_length"], **look)
        upper.axhspan(0, 100 * least_kept, color=GREY, alpha=0.15, linewidth=0)
        upper.set_title(REGIME_TITLES[regime])
    panels[0, 0].set(xlim=(0, None), ylim=(0, None), ylabel="NDCG@50 kept, %")
    panels[1, 0].set(ylim=(0, None), ylabel="items in a list")
    figure.supxlabel("fakes that are taken, % of users", fontsize="medium")
    shared_legend(figure, panels[0, 0])
    return figure


def growth(grown: pd.DataFrame) -> Figure:
    """THR@50 against the size of an attack: a row a data set, a column a regime.

    Columns: dataset, regime, attack_size, label (the first is the undefended victim's), mean, low, high.
    """
    regimes, datasets = (list(dict.fromkeys(grown[name])) for name in ("regime", "dataset"))
    shades = colours(grown["label"], {grown["label"].iloc[0]: GREY})
    shape, size = (len(datasets), len(regimes)), (WIDTH, 0.9 + 1.8 * len(datasets))
    share = {"sharex": True, "sharey": True}
    figure, panels = plt.subplots(*shape, figsize=size, squeeze=False, **share)
    for axes_of, dataset in zip(panels, datasets, strict=True):
        for axes, regime in zip(axes_of, regimes, strict=True):
            for (label, colour), marker in zip(shades.items(), MARKERS * 9, strict=False):
                here = grown[(grown["regime"] == regime) & (grown["dataset"] == dataset)]
                here = here[here["label"] == label].sort_values("attack_size")
                x = 100 * here["attack_size"]
                axes.plot(x, here["mean"], color=colour, marker=marker, markersize=3, label=label)
                axes.fill_between(x, here["low"], here["high"], color=colour, alpha=0.15, lw=0)
            axes.set(ylim=(0, 1.02), title=f"{dataset}, {regime}")
        axes_of[0].set_ylabel("THR@50")
    figure.supxlabel("fakes, % of users", fontsize="medium")
    shared_legend(figure, panels[0, 0], columns=2)
    return figure
