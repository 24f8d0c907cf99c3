"""Figures of what RVD does: to an attack, to accuracy, and as its choices change."""

from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rvdlib.lab.figures import style

# Notebook 03: what RVD does to an attack.

NARROW = 3.35  # inches, a column of a paper
TIGHT = {"handletextpad": 0.2, "columnspacing": 0.8, "borderaxespad": 0.1}
SMALL = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "xtick.major.pad": 1,
    "ytick.major.pad": 1,
}


def user_map(people: pd.DataFrame) -> Figure:
    """Everybody on a plane, from columns x, y and kind (:meth:`rvdlib.lab.study.story.Story.map`)."""
    edge = {"edgecolors": "black"}
    looks = {
        "user": {"c": "#C8C8C8", "s": 8, "label": "real users"},
        "fake": {"c": style.RED, "s": 22, "marker": "x", "linewidths": 1.2, "label": "fakes"},
        "neighbour": edge | {"c": style.SKY, "s": 26, "linewidths": 0.5, "label": "neighbours"},
        "fake neighbour": edge
        | {"c": style.RED, "s": 40, "marker": "X", "label": "fakes among them"},
        "served": edge
        | {"c": style.BLUE, "s": 130, "marker": "*", "linewidths": 0.6, "label": "the user served"},
    }
    figure, axes = plt.subplots(figsize=(style.COLUMN_WIDTH * 0.8, style.COLUMN_WIDTH * 0.55))
    for kind, look in looks.items():
        chosen = people[people["kind"] == kind]
        if len(chosen):
            axes.scatter(chosen["x"], chosen["y"], **look)
    axes.set(xticks=[], yticks=[], xlabel="t-SNE of the latent vectors (no units)")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def target_hit_ratios(levels: pd.DataFrame, changes: pd.DataFrame) -> Figure:
    """THR@50 under attack, and what each defence changes of it; a row of panels a setting.

    Left: means, an open dot for the victim that nobody attacks. Right: differences from undefended
    with their paired intervals over seeds. Both of regime, target_set, victim, and system or defense.
    """
    settings = list(dict.fromkeys(zip(levels["regime"], levels["target_set"], strict=True)))
    victims = list(levels["victim"].unique())
    size = (NARROW, (0.22 * len(victims) + 0.5) * len(settings) + 0.5)
    with plt.rc_context(SMALL):
        figure, grid = plt.subplots(len(settings), 2, figsize=size, sharey=True, squeeze=False)
        for (left, right), setting in zip(grid, settings, strict=True):
            here, change = (
                table[(table["regime"] == setting[0]) & (table["target_set"] == setting[1])]
                for table in (levels, changes)
            )
            clean = here[here["system"] == "not attacked"]
            y, look = [victims.index(victim) for victim in clean["victim"]], {"clip_on": False}
            look |= {"color": "black", "fillstyle": "none", "markersize": 4}
            left.plot(clean["mean"], y, "o", label="not attacked", **look)
            _along(left, here[here["system"] != "not attacked"], "system", victims)
            _along(right, change, "defense", victims)
            right.axvline(0, color=style.GREY, linewidth=0.8)
            left.set_xlim(left=0)
            left.set_title(f"{style.REGIME_TITLES[setting[0]]}, {setting[1]} targets", loc="left")
        grid[-1, 0].set_xlabel("THR@50 under attack")
        grid[-1, 1].set_xlabel("change by the defence")
        _named(figure, grid[0, 0], victims)
    return figure


def accuracy_changes(changes: pd.DataFrame) -> Figure:
    """By how much a defence betters each accuracy: right of the line is good everywhere.

    Paired intervals over seeds. The ranking regime's scores are no stars: it has no RMSE. Columns: regime,
    victim, defense, metric, mean, low, high.
    """
    titles = {"hit_ratio": "HR@50", "ndcg": "NDCG@50", "rmse": "RMSE (stars)"}
    regimes, victims = (list(changes[name].unique()) for name in ("regime", "victim"))
    size, shape = (NARROW, (0.25 * len(victims) + 0.45) * len(regimes) + 0.5), (len(regimes), 3)
    with plt.rc_context(SMALL):
        figure, grid = plt.subplots(*shape, figsize=size, sharey=True, squeeze=False)
        for (row, regime), (column, metric) in product(enumerate(regimes), enumerate(titles)):
            axes = grid[row, column]
            if metric == "rmse" and regime == "ranking":
                axes.set_visible(False)
                continue
            here = changes[(changes["regime"] == regime) & (changes["metric"] == metric)]
            axes.axvline(0, color=style.GREY, linewidth=0.8)
            _along(axes, here, "defense", victims)
            axes.set_title(titles[metric])
            axes.set_xlabel("better by →")
            if column == 0:
                axes.set_ylabel(style.REGIME_TITLES[regime])
        _named(figure, grid[0, 0], victims)
    return figure


def _named(figure: Figure, axes: Axes, victims: list[str]) -> None:
    axes.set_yticks(range(len(victims)), victims)
    axes.set_ylim(len(victims) - 0.5, -0.5)
    style.shared_legend(figure, axes, columns=3, **TIGHT)


def _along(axes: Axes, rows: pd.DataFrame, by: str, victims: list[str]) -> None:
    """Means along x, with intervals if there are any; victims along y, ``by`` a little apart."""
    names = list(dict.fromkeys(rows[by]))
    shades = style.colours(names, {name: colour for name, (_, colour) in style.LOOKS.items()})
    for number, name in enumerate(names):
        here = rows[rows[by] == name]
        y = [victims.index(v) + 0.7 * ((number + 0.5) / len(names) - 0.5) for v in here["victim"]]
        label = "undefended" if name == "none" else name
        around = style.reach(here) if "low" in here else None
        look = {"fmt": style.LOOKS.get(name, "o")[0], "color": shades[name], "label": label}
        look |= {"markersize": 5 if name == "none" else 3.2, "elinewidth": 0.9}
        axes.errorbar(here["mean"], y, xerr=around, **look).lines[0].set_clip_on(False)
    axes.xaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
    axes.grid(axis="y", visible=False)


# Notebook 04: neighbours and depth.


def sweep(summary: pd.DataFrame, accuracy: str, accuracy_label: str) -> Figure:
    """THR and accuracy against each swept choice; one colour a victim.

    Columns: victim, swept, value, metric, mean, low, high.
    """
    rows = {"target_hit_ratio": "THR@50", accuracy: accuracy_label}
    labels = {"k": "neighbours k", "steps": "steps", "unobserved_weight": "unobserved weight ω"}
    swept = [name for name in labels if name in set(summary["swept"])]
    size, share = (style.COLUMN_WIDTH * 1.2, 4.0), {"sharex": "col", "sharey": "row"}
    figure, grid = plt.subplots(2, len(swept), figsize=size, squeeze=False, **share)
    victims = style.colours(summary["victim"], {})
    for (i, metric), (j, name) in product(enumerate(rows), enumerate(swept)):
        axes = grid[i, j]
        here = summary[(summary["metric"] == metric) & (summary["swept"] == name)]
        for victim, line in here.groupby("victim", sort=False):
            x, look = line["value"], {"color": victims[victim]}
            axes.plot(x, line["mean"], "o-", markersize=3, label=victim, **look)
            axes.fill_between(x, line["low"], line["high"], alpha=0.15, linewidth=0, **look)
        values = sorted(here["value"].unique())
        axes.set_xscale("symlog", linthresh=next(v for v in values if v > 0), linscale=0.5)
        axes.set_xticks(values, [f"{v:g}".lstrip("0") or "0" for v in values])
        axes.set_xticks([], minor=True)
        if i == len(rows) - 1:
            axes.set_xlabel(labels[name])
        if j == 0:
            axes.set_ylabel(rows[metric])
    style.shared_legend(figure, grid[0, 0])
    return figure
