"""Figure of what is left to unlearn, measured and bounded."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rvdlib.lab.figures.style import GREY, REGIME_TITLES, colours

COLUMN = 4.4, 3.3  # inches; legible when set 8.5 cm wide
LEAST = 1e-3  # of what is left: below it nothing matters to anybody's list


def distance_left(loose: pd.DataFrame, served_after: int) -> Figure:
    """What is left of the distance to the clean optimum, by epochs: measured, and as the bound says.

    A panel a regime, a colour a victim; solid lines are measured, dashed ones bounds. Columns: regime,
    victim, epochs, metric (``left`` and ``bounded``), mean.
    """
    regimes = list(dict.fromkeys(loose["regime"]))
    victims = colours(loose["victim"], {})
    figure, panels = plt.subplots(
        1, len(regimes), figsize=COLUMN, sharex=True, sharey=True, squeeze=False
    )
    for axes, regime in zip(panels[0], regimes, strict=True):
        here = loose[loose["regime"] == regime]
        axes.axvline(served_after, color=GREY, linewidth=0.8)
        for victim, colour in victims.items():
            for metric, line in (("left", "-"), ("bounded", "--")):
                of = here[(here["victim"] == victim) & (here["metric"] == metric)]
                look = {"color": colour, "marker": "o", "markersize": 2.5}
                axes.plot(of["epochs"], of["mean"], line, **look)
        axes.set(xscale="log", yscale="log", title=REGIME_TITLES[regime], xlabel="epochs")
    low = max(LEAST, loose["mean"].min() / 2)
    high = max(2.0, loose["mean"].max() * 1.3)
    panels[0, 0].set(ylim=(low, high), ylabel="distance left, of the start")
    shown = [Line2D([], [], color=colour, label=name) for name, colour in victims.items()]
    styles = (("measured", "k", "-"), ("bound", "k", "--"), ("served", GREY, "-"))
    shown += [Line2D([], [], color=c, linestyle=line, label=name) for name, c, line in styles]
    figure.legend(
        handles=shown, loc="outside upper center", ncols=3, columnspacing=1.2, handlelength=1.6
    )
    return figure
