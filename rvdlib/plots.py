"""Rows to axes: one look for every figure, legible at column width and to colour-blind eyes."""

import io
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rvdlib import paths
from rvdlib.runner.unchanged import same_picture

COLUMN_WIDTH = 6.4  # inches

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#7F7F7F"


def set_style() -> None:
    """Fonts, grid and resolution of every figure; call it before the first."""
    sns.set_theme(
        context="paper",
        style="whitegrid",
        font_scale=1.1,
        rc={
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "grid.linewidth": 0.5,
            "legend.frameon": False,
            "savefig.dpi": 200,
        },
    )


def save(figure: Figure, profile: str, name: str) -> None:
    """Write ``figures/<profile>/<name>`` as PDF and PNG, the same bytes for the same figure.

    What looks as it did before (:func:`rvdlib.runner.unchanged.same_picture`, nothing moved by more
    than a hundredth of an inch) stays as it was, to the byte.
    """
    stem = paths.FIGURES / profile / name
    files = {
        stem.with_name(f"{name}.{kind}"): _saved(figure, kind, metadata)
        for kind, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None}))
    }
    plt.close(figure)
    pdf, png = files
    reach = round(plt.rcParams["savefig.dpi"] / 100)
    if pdf.is_file() and png.is_file() and same_picture(png.read_bytes(), files[png], reach):
        files = {path: path.read_bytes() for path in files}
    for path, content in files.items():
        paths.write_atomically(path, content)


def _saved(figure: Figure, kind: str, metadata: dict) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


# Notebook 03: what RVD does to an attack.

FORM_COLOURS = {"none": GREY, "RVD (paper)": ORANGE, "RVD (unobserved weight)": BLUE}
REGIME_TITLES = {"rating": "rating regime", "ranking": "ranking regime"}


def user_map(people: pd.DataFrame) -> Figure:
    """Everybody on a plane, from columns x, y and kind (:meth:`rvdlib.study.story.Story.map`)."""
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
        dots(axes, here[here["victim"] == victim], "attack", "defense", FORM_COLOURS)
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
        dots(axes, here, "victim", "defense", FORM_COLOURS)
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
    colours = dict(zip(summary["victim"].unique(), (BLUE, ORANGE, GREEN, PURPLE), strict=False))
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
                color=colours[key[0]],
                markersize=3,
                label=label,
            )
            axes.fill_between(
                line["value"],
                line["low"],
                line["high"],
                color=colours[key[0]],
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


def dots(axes: Axes, rows: pd.DataFrame, along: str, by: str, colours: dict[str, str]) -> None:
    """Means with intervals: categories along x, one colour and a small shift for each of ``by``."""
    places = {name: place for place, name in enumerate(rows[along].unique())}
    groups = [name for name in colours if name in set(rows[by])]
    for number, name in enumerate(groups):
        here = rows[rows[by] == name]
        x = here[along].map(places) + 0.22 * (number - (len(groups) - 1) / 2)
        reach = np.abs(here[["low", "high"]].to_numpy().T - here["mean"].to_numpy())
        axes.errorbar(
            x,
            here["mean"],
            np.nan_to_num(reach),
            fmt="o",
            markersize=3.5,
            color=colours[name],
            elinewidth=1.2,
            label=name,
        )
    axes.set_xticks(list(places.values()), list(places))
    axes.margins(x=0.12)
    axes.grid(axis="x", visible=False)


def shared_legend(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """One legend above all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), columns))
