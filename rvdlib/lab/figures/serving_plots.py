"""Figure of what serving costs as users become more."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from rvdlib.lab.figures.style import BLUE, COLUMN_WIDTH, ORANGE, shared_legend

_COLOURS = {"exact": BLUE, "graph": ORANGE}
_PANELS = {
    "p50_cpu_ms": "CPU ms a request",
    "build_seconds": "seconds to start",
    "held_mib": "MiB held",
}


def scale(rows: pd.DataFrame) -> Figure:
    """A request's time (the bar up to the 99th of a hundred), building, and memory, by users.

    ``rows`` as from :func:`rvdlib.lab.benchmark.real_time.at_scale`.
    """
    size = (0.7 * COLUMN_WIDTH, 1.5 * len(_PANELS) + 0.4)
    figure, panels = plt.subplots(len(_PANELS), 1, figsize=size, sharex=True)
    for panel, (column, label) in zip(panels, _PANELS.items(), strict=True):
        for search, own in rows.groupby("search", sort=False):
            own, colour = own.sort_values("users"), _COLOURS[search]
            panel.plot(own["users"], own[column], "o-", ms=4, color=colour, label=search)
            if column == "p50_cpu_ms":
                aside = own["users"] * (1.03 if search == "graph" else 1)
                panel.vlines(aside, own[column], own["p99_cpu_ms"], color=colour, lw=1)
        panel.set(xscale="log", yscale="log", ylabel=label)
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter(NullFormatter())
    panels[0].set(yscale="linear", ylim=(0, None))
    panels[-1].set_xlabel("users")
    shared_legend(figure, panels[0], columns=2)
    return figure
