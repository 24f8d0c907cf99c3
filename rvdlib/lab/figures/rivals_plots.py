"""Figures of the rivals: robustness against accuracy, every defence a point with its name."""

import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.figures.style import BLUE, COLUMN_WIDTH, GREY, ORANGE, RED, REGIME_TITLES

NARROW = 0.7 * COLUMN_WIDTH  # letters of 6 points and more where it is printed 8.5 cm wide
NEAR = 0.08  # of the range of each axis, within which points share a label
LINE = {"arrowstyle": "-", "relpos": (0, 0.5), "shrinkA": 0, "color": GREY, "linewidth": 0.3}
BARE = {"color": GREY, "linestyle": ":", "linewidth": 1}
LOOKS = {
    "alone": {"marker": "o", "color": BLUE, "s": 16},
    "combination": {"marker": ".", "color": GREY, "s": 12},
    "told who is fake": {"marker": "x", "color": RED, "s": 20},
}


def pareto(levels: Mapping[tuple[str, str], pd.DataFrame]) -> Figure:
    """NDCG@50 where nobody attacks against THR@50 under the worst attacker, a panel a case.

    Low is robust, right is accurate; dotted, the undefended victim. The line joins those that no other
    beats in both; oracles are not on it, and their accuracy is that under attack. Of combinations
    those alone are named, beside the panel, that it joins.

    Args:
        levels: (data set, regime) → as from :func:`rvdlib.lab.study.rivals_choice.levels`.
    """
    size = (NARROW, 3.1 * len(levels) + 0.3)
    figure, panels = plt.subplots(len(levels), 1, figsize=size, squeeze=False)
    for axes, ((dataset, regime), means) in zip(panels[:, 0], levels.items(), strict=True):
        for kind, look in LOOKS.items():
            here = means[means["kind"] == kind]
            axes.scatter(here["ndcg"], here["target_hit_ratio"], label=kind, zorder=3, **look)
        bare = means.loc[UNDEFENDED]
        axes.axvline(bare["ndcg"], label="undefended", **BARE)
        axes.axhline(bare["target_hit_ratio"], **BARE)
        best = front(means[means["kind"] != "told who is fake"])
        line = means.loc[best]
        axes.plot(line["ndcg"], line["target_hit_ratio"], color=ORANGE, linewidth=1, zorder=2)
        _name(axes, means[(means["kind"] != "combination") | means.index.isin(best)])
        axes.set_title(f"{dataset}, {REGIME_TITLES[regime]}", fontsize="medium", loc="left")
        axes.set_ylabel("THR@50, worst attacker")
    panels[-1, 0].set_xlabel("NDCG@50, not attacked (oracles: attacked)")
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=7
    )
    return figure


def front(means: pd.DataFrame) -> list[str]:
    """The defences that no other beats in THR@50 and NDCG@50 at once, by rising NDCG@50."""
    order = means.sort_values(["ndcg", "target_hit_ratio"], ascending=[False, True], kind="stable")
    found, lowest = [], np.inf
    for name, row in order.iterrows():
        if row["target_hit_ratio"] < lowest:
            found.append(name)
            lowest = row["target_hit_ratio"]
    return found[::-1]


def together(means: pd.DataFrame) -> list[list[str]]:
    """The names of points that lie so close that one label stands for them, by rising THR@50."""
    points = means[["target_hit_ratio", "ndcg"]]
    reach = NEAR * (points.max() - points.min())
    groups: list[list[str]] = []
    for name, point in points.sort_values(["target_hit_ratio", "ndcg"], kind="stable").iterrows():
        near = (each for each in groups if ((points.loc[each[0]] - point).abs() <= reach).all())
        group = next(near, None)
        if group is None:
            groups.append(group := [])
        group.append(name)
    return groups


def _name(axes: Axes, means: pd.DataFrame) -> None:
    """Names right of the panel at about the height of their points, none over another."""
    low, high = axes.get_ylim()
    groups = together(means)
    labels = [textwrap.fill(" · ".join(each), 30).replace("none", "undefended") for each in groups]
    heights = np.array([label.count("\n") + 1 for label in labels]) * (high - low) * 0.047
    places = means.loc[[each[0] for each in groups], "target_hit_ratio"].to_numpy(copy=True)
    apart = (heights[:-1] + heights[1:]) / 2
    for n, gap in enumerate(apart):
        places[n + 1] = max(places[n + 1], places[n] + gap)
    places[-1] = min(places[-1], high - heights[-1] / 2)
    for n in reversed(range(len(apart))):
        places[n] = min(places[n], places[n + 1] - apart[n])
    for names, label, height in zip(groups, labels, places, strict=True):
        axes.annotate(
            label,
            means.loc[names[0], ["ndcg", "target_hit_ratio"]].tolist(),
            xytext=(1.04, height),
            textcoords=axes.get_yaxis_transform(),
            fontsize=6,
            va="center",
            arrowprops=LINE,
        )
    axes.set_ylim(low, high)
