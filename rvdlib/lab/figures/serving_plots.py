"""Figure of what serving costs as users become more."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.figures.style import BLUE, COLUMN_WIDTH, ORANGE

_COLOURS = {"exact": BLUE, "graph": ORANGE}
_PANELS = {
    "p50_cpu_ms": "ms of the processor a request",
    "build_seconds": "seconds until it serves",
    "held_mib": "MiB held",
}


def scale(rows: pd.DataFrame) -> Figure:
    """A request's time (the bar up to the 99th of a hundred), building, and memory, by users.

    ``rows`` as from :func:`rvdlib.lab.benchmark.real_time.at_scale`.
    """
    figure, panels = plt.subplots(1, len(_PANELS), figsize=(1.6 * COLUMN_WIDTH, 2.8))
    for panel, (column, label) in zip(panels, _PANELS.items(), strict=True):
        for search, own in rows.groupby("search", sort=False):
            own = own.sort_values("users")
            panel.plot(own["users"], own[column], "o-", ms=4, color=_COLOURS[search], label=search)
            if column == "p50_cpu_ms":
                panel.vlines(
                    own["users"], own[column], own["p99_cpu_ms"], color=_COLOURS[search], lw=1
                )
        panel.set_xscale("log")
        panel.set_yscale("symlog" if column == "held_mib" else "log")
        panel.set_xlabel("users")
        panel.set_ylabel(label)
    panels[0].legend()
    return figure
