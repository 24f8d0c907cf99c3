"""The figures of 05: what each form costs and buys, and what two of them have in common."""

from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from rvdlib.lab.figures import style

FORM_LOOKS = {
    "undefended": (*style.LOOKS["undefended"], "undefended"),
    "closed_form": (*style.LOOKS["closed form"], "closed form"),
    "engine": (*style.LOOKS["RVD"], "RVD: engine"),
    "functional": ("D", style.PURPLE, "RVD: torch.func"),
    "plain_loop": ("v", style.ORANGE, "RVD: plain loop"),
}


def serving(times: pd.DataFrame, many: pd.DataFrame) -> Figure:
    """Milliseconds a user against k, steps and the catalogue's size; seconds against users served.

    Markers are medians over rounds, bars go from the least to the most; of what served many users
    and few, those of many are drawn. Rows of :func:`rvdlib.lab.benchmark.latency.serving_times` and of
    ``times_of_many`` there.
    """
    figure, grid = plt.subplots(2, 2, figsize=(style.COLUMN_WIDTH, 5.2))
    of_many = set(times.loc[times["group"] == "many", "form"])
    drawn = times[(times["group"] == "many") == times["form"].isin(of_many)]
    labels = {"k": "neighbours k", "steps": "steps T", "items": "items in the catalogue"}
    for axes, (dial, label) in zip(grid.flat, labels.items(), strict=False):
        here = drawn[drawn["dial"] == dial]
        _lines(axes, here, "value", "ms_per_user")
        axes.set(xlabel=label, ylabel="ms per user")
        if dial != "items":
            values = sorted(here["value"].unique())
            axes.set_xticks(values, [f"{value:g}" for value in values])
            axes.set_xticks([], minor=True)
    _lines(grid[1, 1], many, "served", "seconds")
    grid[1, 1].set(xlabel="users served", ylabel="seconds")
    style.shared_legend(figure, grid[0, 0], columns=3)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, along: str, measured: str) -> None:
    axes.set(xscale="log", yscale="log")
    for form, (marker, colour, label) in FORM_LOOKS.items():
        line = rows[rows["form"] == form].groupby(along)[measured].agg(["median", "min", "max"])
        if len(line):
            reach = line["median"] - line["min"], line["max"] - line["median"]
            look = {"color": colour, "marker": marker, "markersize": 4, "elinewidth": 1.2}
            axes.errorbar(line.index, line["median"], reach, label=label, capsize=2, **look)
    axes.margins(0.08)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())  # labels between powers of ten overlap


POINT_LOOKS = {
    "RVD": style.LOOKS["RVD"],
    "closed form, ω = 0": ("^", style.GREEN),
    "closed form, ω > 0": style.LOOKS["closed form"],
}
ACCURACY_LABELS = {"rmse": "RMSE (stars)", "ndcg": "NDCG@50"}


def trade_off(points: pd.DataFrame) -> Figure:
    """THR@50 under attack against accuracy: a panel a regime and victim, a point a choice.

    Small points are all choices, the thin line joins each form's front; the large ones are the
    choices of ``params/defenses.yml``, the star is the undefended victim, both with intervals. Down
    and to the better side is better: RMSE's axis is turned round.

    ``points``: rows of :func:`rvdlib.lab.study.trade_off.points`.
    """
    regimes, victims = points["regime"].unique(), points["victim"].unique()
    size = style.COLUMN_WIDTH * (1 if len(victims) < 3 else 1.25), 2.6 * len(regimes) + 0.5
    shape = len(regimes), len(victims)
    figure, grid = plt.subplots(*shape, figsize=size, sharey="row", squeeze=False)
    for (row, regime), (column, victim) in product(enumerate(regimes), enumerate(victims)):
        axes = grid[row, column]
        here = points[(points["regime"] == regime) & (points["victim"] == victim)]
        metric = here["metric"].iloc[0]
        for form, (marker, colour) in POINT_LOOKS.items():
            of_form = here[here["form"] == form]
            front = of_form[of_form["front"]].sort_values("thr")
            axes.plot(front["accuracy"], front["thr"], color=colour, linewidth=0.8, alpha=0.7)
            look = {"color": colour, "marker": marker, "linestyle": "none"}
            axes.plot(of_form["accuracy"], of_form["thr"], markersize=3.5, label=form, **look)
            look |= {"markersize": 8, "markeredgecolor": "black", "zorder": 3}
            _crosses(axes, of_form[of_form["chosen"]], **look)
        bare = here[here["form"] == "none"]
        look = {"color": "black", "marker": "*", "markersize": 11, "linestyle": "none", "zorder": 4}
        _crosses(axes, bare, label="undefended", **look)
        axes.set_xlabel(f"{ACCURACY_LABELS[metric]}, better to the right")
        axes.locator_params(axis="x", nbins=5)
        if metric == "rmse":
            axes.invert_xaxis()
        if column == 0:
            axes.set_ylabel(f"{style.REGIME_TITLES[regime]}\nTHR@50 under attack")
        if row == 0:
            axes.set_title(victim)
    for axes in grid[:, 0]:  # after all is drawn: a limit that is set ends autoscaling
        axes.set_ylim(bottom=-0.04 * axes.get_ylim()[1])  # room for points at 0
    look = {"color": "white", "marker": "o", "linestyle": "none", "markeredgecolor": "black"}
    grid[0, 0].plot([], [], markersize=8, label="large: as the defender chose", **look)
    grid[0, 0].plot([], [], color="black", linewidth=0.8, alpha=0.7, label="best in hindsight")
    style.shared_legend(figure, grid[0, 0], columns=3)
    return figure


def _crosses(axes: Axes, rows: pd.DataFrame, **look) -> None:
    """Means, with intervals along both axes."""
    x, y = (style.reach(rows, name, f"{name}_low", f"{name}_high") for name in ("accuracy", "thr"))
    axes.errorbar(rows["accuracy"], rows["thr"], y, x, elinewidth=0.8, **look)


def gradient_flow(found: pd.DataFrame) -> Figure:
    """How far the moves of :func:`rvdlib.lab.study.gradient_flow.agreement` are, and come apart."""
    shades = style.colours(found["victim"], {})
    dashes = dict(zip(found["regime"].unique(), ("-", "--"), strict=False))
    figure, (left, right) = plt.subplots(1, 2, figsize=(style.COLUMN_WIDTH, 2.9))
    for (regime, victim), line in found.groupby(["regime", "victim"], sort=False):
        look = {"color": shades[victim], "linestyle": dashes[regime]}
        label = f"{victim}, {regime}"
        left.plot(line["steps"], 1 - line["correlation"], "o", markersize=3.5, label=label, **look)
        right.plot(line["steps"], line["largest_difference"], "o", markersize=3.5, **look)
        right.plot(line["steps"], line["largest_move"], marker="none", alpha=0.35, **look)
    left.set(ylabel="1 − correlation of the moves")
    right.set(ylabel="largest difference, stars")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="steps T of descent; λ = k/(2ηT)")
    right.annotate("pale: the move itself", (0.97, 0.04), xycoords="axes fraction", ha="right")
    style.shared_legend(figure, left)
    return figure
