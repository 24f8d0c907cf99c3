"""The figure of the rivals: robustness against accuracy, every defence a point."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.figures.style import COLUMN_WIDTH, GREY, LOOKS, REGIME_TITLES, shared_legend

NARROW = 0.7 * COLUMN_WIDTH
SHOWN = {UNDEFENDED: "no defence"}
TIGHT = {"fontsize": 8, "columnspacing": 0.5, "handletextpad": 0.2, "handlelength": 1.2}


def pareto(levels: Mapping[tuple[str, str], pd.DataFrame]) -> Figure:
    """NDCG@50 where nobody attacks against THR@50 under the worst attacker, a panel a case.

    Low is robust, right is accurate. The line joins those that no other beats in both; oracles are not on
    it, and their accuracy is that under attack. Who is further behind all others in NDCG@50 than they are
    apart stands at the edge, with its value. ``levels`` as from
    :func:`rvdlib.lab.study.rivals_choice.levels`.
    """
    size = (NARROW, 2.1 * len(levels) + 1.3)
    figure, panels = plt.subplots(len(levels), 1, figsize=size, squeeze=False)
    for axes, ((dataset, regime), means) in zip(panels[:, 0], levels.items(), strict=True):
        last, *others = means["ndcg"].sort_values()
        reach = others[-1] - others[0]
        edge = others[0] - 0.12 * reach if others[0] - last > reach else -np.inf
        line = means.loc[front(means[means["kind"] != "told who is fake"])]
        x, look = line["ndcg"].clip(lower=edge), {"color": GREY, "linewidth": 0.8, "zorder": 1}
        axes.plot(x, line["target_hit_ratio"], **look)
        order = [name for name in LOOKS if name in means.index]
        order += [name for name in means.index if name not in LOOKS]
        for name in order:
            x, y, kind = means.loc[name, ["ndcg", "target_hit_ratio", "kind"]]
            axes.scatter(max(x, edge), y, **_look(name, kind))
            if x < edge:
                beside = {"xytext": (7, 0), "textcoords": "offset points", "va": "center"}
                axes.annotate(f"← {x:.3f}", (edge, y), fontsize="small", **beside)
        if np.isfinite(edge):
            axes.set_xlim(left=edge)
        axes.locator_params(axis="x", nbins=6)
        axes.set_title(f"{dataset}, {REGIME_TITLES[regime]}", fontsize="medium", loc="left")
        axes.set_ylabel("THR@50, worst attacker", fontsize="small")
    panels[-1, 0].set_xlabel("NDCG@50, not attacked (oracles: attacked)")
    shared_legend(figure, panels[0, 0], columns=3, **TIGHT)
    return figure


def _look(name: str, kind: str) -> dict:
    """Of a point; who has no look of his own is named in the table alone."""
    if kind == "told who is fake":
        return {"label": kind, "facecolor": "white", "edgecolor": GREY, "s": 20, "zorder": 2}
    if name not in LOOKS:
        return {"label": "another defence", "color": GREY, "marker": ".", "s": 22, "zorder": 2}
    look = dict(zip(("marker", "color"), LOOKS[name], strict=True))
    look |= {"edgecolor": "white", "linewidth": 0.4, "zorder": 3, "clip_on": False}
    return look | {"label": SHOWN.get(name, name), "s": 110 if name == UNDEFENDED else 46}


def front(means: pd.DataFrame) -> list[str]:
    """The defences that no other beats in THR@50 and NDCG@50 at once, by rising NDCG@50."""
    order = means.sort_values(["ndcg", "target_hit_ratio"], ascending=[False, True], kind="stable")
    thr = order["target_hit_ratio"]
    return [*order.index[thr < thr.cummin().shift(fill_value=np.inf)]][::-1]
