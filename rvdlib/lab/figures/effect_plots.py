"""Figures of what RVD does: to an attack, to accuracy, and as its choices change."""

from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.figures.style import (
    BLUE,
    COLUMN_WIDTH,
    GREY,
    ORANGE,
    RED,
    REGIME_TITLES,
    SKY,
    colours,
    dots,
    shared_legend,
)

# Notebook 03: what RVD does to an attack.

FORM_COLOURS = {"none": GREY, "RVD": ORANGE, "closed form": BLUE}


def user_map(people: pd.DataFrame) -> Figure:
    """Everybody on a plane, from columns x, y and kind (:meth:`rvdlib.lab.study.story.Story.map`)."""
    looks = {
        "user": {"c": "#C8C8C8", "s": 8, "label": "real users"},
        "fake": {"c": RED, "s": 22, "marker": "x", "linewidths": 1.2, "label": "fakes"},
        "neighbour": {
            "c": SKY,
            "s": 26,
            "edgecolors": "black",
            "linewidths": 0.5,
            "label": "neighbours",
        },
        "fake neighbour": {
            "c": RED,
            "s": 40,
            "edgecolors": "black",
            "marker": "X",
            "label": "fakes among them",
        },
        "served": {
            "c": BLUE,
            "s": 130,
            "marker": "*",
            "edgecolors": "black",
            "linewidths": 0.6,
            "label": "the user served",
        },
    }
    figure, axes = plt.subplots(figsize=(COLUMN_WIDTH * 0.8, COLUMN_WIDTH * 0.55))
    for kind, look in looks.items():
        chosen = people[people["kind"] == kind]
        if len(chosen):
            axes.scatter(chosen["x"], chosen["y"], **look)
    axes.set(xticks=[], yticks=[], xlabel="t-SNE of the latent vectors (no units)")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def target_hit_ratios(summary: pd.DataFrame) -> Figure:
    """THR@50 by attack, one colour a defence, intervals over seeds; a panel a victim and setting.

    Columns: regime, target_set, victim, attack, defense, mean, low, high.
    """
    settings = list(summary[["regime", "target_set"]].drop_duplicates().itertuples(index=False))
    victims = summary["victim"].unique()
    looks = colours(summary["defense"], FORM_COLOURS)
    figure, grid = plt.subplots(
        len(settings),
        len(victims),
        figsize=(COLUMN_WIDTH * 1.25, 1.7 * len(settings) + 0.9),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for (row, setting), (column, victim) in product(enumerate(settings), enumerate(victims)):
        axes = grid[row, column]
        regime, target_set = setting
        here = summary[(summary["regime"] == regime) & (summary["target_set"] == target_set)]
        dots(axes, here[here["victim"] == victim], "attack", "defense", looks)
        axes.tick_params(axis="x", rotation=90)
        if row == 0:
            axes.set_title(victim)
        if column == 0:
            axes.set_ylabel(f"{REGIME_TITLES[regime]}\n{target_set} targets\nTHR@50")
    for axes in grid[:, 0]:  # after all is drawn: a limit that is set ends autoscaling
        axes.set_ylim(bottom=0)
    shared_legend(figure, grid[0, 0])
    return figure


def accuracy_changes(changes: pd.DataFrame) -> Figure:
    """What a defence does to accuracy: one panel a regime and metric, victims along x.

    Columns: regime, victim, defense, metric, mean, low, high: differences from undefended.
    """
    titles = {"hit_ratio": "HR@50", "ndcg": "NDCG@50", "rmse": "RMSE (stars)"}
    regimes = changes["regime"].unique()
    looks = colours(changes["defense"], FORM_COLOURS)
    figure, grid = plt.subplots(
        len(regimes),
        len(titles),
        figsize=(COLUMN_WIDTH * 1.25, 1.9 * len(regimes) + 0.5),
        squeeze=False,
        sharex=True,
    )
    for (row, regime), (column, metric) in product(enumerate(regimes), enumerate(titles)):
        axes = grid[row, column]
        here = changes[(changes["regime"] == regime) & (changes["metric"] == metric)]
        axes.axhline(0, color=GREY, linewidth=0.8)
        dots(axes, here, "victim", "defense", looks)
        if row == 0:
            axes.set_title(titles[metric])
        if column == 0:
            axes.set_ylabel(f"{REGIME_TITLES[regime]}\nchange")
    shared_legend(figure, grid[0, 0])
    return figure


# Notebook 04: neighbours and depth.


def sweep(summary: pd.DataFrame, accuracy: str, accuracy_label: str) -> Figure:
    """THR and accuracy against each swept choice; one colour a victim, dashes an ω above 0.

    Columns: victim, swept, value, unobserved_weight, metric, mean, low, high.
    """
    rows = {"target_hit_ratio": "THR@50", accuracy: accuracy_label}
    labels = {"k": "neighbours k", "steps": "steps", "unobserved_weight": "unobserved weight ω"}
    swept = [name for name in labels if name in set(summary["swept"])]
    figure, grid = plt.subplots(
        len(rows),
        len(swept),
        figsize=(COLUMN_WIDTH * 1.2, 4.0),
        sharex="col",
        sharey="row",
        squeeze=False,
    )
    victims = colours(summary["victim"], {})
    for (i, metric), (j, name) in product(enumerate(rows), enumerate(swept)):
        axes = grid[i, j]
        here = summary[(summary["metric"] == metric) & (summary["swept"] == name)]
        by = ["victim"] if name == "unobserved_weight" else ["victim", "unobserved_weight"]
        for key, line in here.groupby(by, sort=False):
            paper = name == "unobserved_weight" or key[1] == 0
            label = key[0] if name == "unobserved_weight" else f"{key[0]}, ω = {key[1]:g}"
            axes.plot(
                line["value"],
                line["mean"],
                "o-" if paper else "s--",
                color=victims[key[0]],
                markersize=3,
                label=label,
            )
            axes.fill_between(
                line["value"],
                line["low"],
                line["high"],
                color=victims[key[0]],
                alpha=0.15,
                linewidth=0,
            )
        values = sorted(here["value"].unique())
        axes.set_xscale("symlog", linthresh=next(v for v in values if v > 0), linscale=0.5)
        axes.set_xticks(values, [f"{v:g}".lstrip("0") or "0" for v in values])
        axes.set_xticks([], minor=True)
        if i == len(rows) - 1:
            axes.set_xlabel(labels[name])
        if j == 0:
            axes.set_ylabel(rows[metric])
    shared_legend(figure, grid[0, 0])
    return figure
