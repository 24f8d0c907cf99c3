"""The figure of the rivals: robustness against accuracy, every defence a point."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.figures.style import (
    BLUE,
    COLUMN_WIDTH,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    REGIME_TITLES,
    SKY,
    shared_legend,
)

NARROW = 0.7 * COLUMN_WIDTH
# Whom a reader asks for; the others are in the table.
NAMED = {
    UNDEFENDED: ("X", "black"),
    "RVD": ("o", RED),
    "RVD, hardened": ("p", RED),
    "closed form": ("s", BLUE),
    "quorum": ("v", SKY),
    "closed form and quorum": ("^", SKY),
    "user-kNN": ("d", GREEN),
    "unobserved weight": ("D", PURPLE),
    "popularity": ("P", ORANGE),
}
OTHERS = {"another defence": (".", GREY), "told who is fake": ("x", GREY)}
SHOWN = {UNDEFENDED: "no defence"}


def pareto(levels: Mapping[tuple[str, str], pd.DataFrame]) -> Figure:
    """NDCG@50 where nobody attacks against THR@50 under the worst attacker, a panel a case.

    Low is robust, right is accurate. The line joins those that no other beats in both; oracles are not on
    it, and their accuracy is that under attack. ``levels`` as from
    :func:`rvdlib.lab.study.rivals_choice.levels`.
    """
    size = (NARROW, 2.6 * len(levels) + 1)
    figure, panels = plt.subplots(len(levels), 1, figsize=size, squeeze=False)
    for axes, ((dataset, regime), means) in zip(panels[:, 0], levels.items(), strict=True):
        oracles = means["kind"] == "told who is fake"
        line = means.loc[front(means[~oracles])]
        axes.plot(line["ndcg"], line["target_hit_ratio"], color=GREY, linewidth=0.8, zorder=1)
        others = ~oracles & ~means.index.isin(NAMED)
        for (label, (marker, colour)), here in zip(OTHERS.items(), (others, oracles), strict=True):
            at = means[here]
            look = {"marker": marker, "color": colour, "label": label, "s": 22, "zorder": 2}
            axes.scatter(at["ndcg"], at["target_hit_ratio"], **look)
        for name, (marker, colour) in NAMED.items():
            if name in means.index:
                x, y = means.loc[name, ["ndcg", "target_hit_ratio"]]
                look = {"marker": marker, "color": colour, "edgecolor": "white", "linewidth": 0.4}
                axes.scatter(x, y, s=46, zorder=3, label=SHOWN.get(name, name), **look)
        axes.set_title(f"{dataset}, {REGIME_TITLES[regime]}", fontsize="medium", loc="left")
        axes.set_ylabel("THR@50, worst attacker")
    panels[-1, 0].set_xlabel("NDCG@50, not attacked (oracles: attacked)")
    shared_legend(figure, panels[0, 0], columns=2, fontsize="small")
    return figure


def front(means: pd.DataFrame) -> list[str]:
    """The defences that no other beats in THR@50 and NDCG@50 at once, by rising NDCG@50."""
    order = means.sort_values(["ndcg", "target_hit_ratio"], ascending=[False, True], kind="stable")
    thr = order["target_hit_ratio"]
    return [*order.index[thr < thr.cummin().shift(fill_value=np.inf)]][::-1]
