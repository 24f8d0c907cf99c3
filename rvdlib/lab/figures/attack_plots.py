"""Figures of the attacks: what fakes look like, what they do, and where they lie."""

from collections.abc import Iterable
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.exposure import MOST, SHARES, TARGET_HIT_RATIOS
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
    colours,
    shared_legend,
)

VICTIM_COLOURS = {"MF": BLUE, "NSVD": ORANGE, "AutoRec": GREEN, "CDAE": PURPLE}
NARROW = 0.7 * COLUMN_WIDTH  # letters of 6 points and more where it is printed 8.5 cm wide


def label_of(name: str) -> str:
    """What an attack is called; any other name is called what it is."""
    return ATTACKS[name].label if name in ATTACKS else name


def attack_effects(summary: pd.DataFrame) -> Figure:
    """THR@50 by attack, one colour a victim; a panel a setting, all on one scale from 0 to 1.

    Hollow: the fakes of the same attack crafted for other targets. The line is the victim that
    nobody attacked. Columns: regime, target_set, victim, attack, crafted_for, mean, low, high.
    """
    settings = summary[["regime", "target_set"]].drop_duplicates().itertuples(index=False)
    settings, victims = list(settings), list(dict.fromkeys(summary["victim"]))
    palette = colours(victims, VICTIM_COLOURS)
    attacks = [name for name in ATTACKS if name in set(summary["attack"])]
    rows, columns = -(-len(settings) // 2), min(2, len(settings))
    size = (NARROW, rows * (0.17 * len(attacks) + 0.6) + 0.6)
    figure, grid = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for axes in grid.ravel()[len(settings) :]:
        axes.remove()
    for axes, (regime, target_set) in zip(grid.ravel(), settings, strict=False):
        here = summary[(summary["regime"] == regime) & (summary["target_set"] == target_set)]
        for number, victim in enumerate(victims):
            told = f", {victim}" if len(victims) > 1 else ""
            colour = palette[victim]
            own = here[here["victim"] == victim]
            clean = own.loc[own["attack"] == "none", "mean"]
            for value in clean:
                axes.axvline(value, color=colour, linewidth=0.8, linestyle="--", zorder=1)
            for crafted_for, face, called, side in (
                ("targets", colour, "crafted for its targets", 0),
                ("others", "white", "crafted for other targets", 0.28),
            ):
                chosen = own[(own["crafted_for"] == crafted_for) & (own["attack"] != "none")]
                shift = side + 0.5 * (number - (len(victims) - 1) / 2) / len(victims)
                look = {"markerfacecolor": face, "color": colour, "label": called + told}
                if len(chosen):
                    places = [attacks.index(name) + shift for name in chosen["attack"]]
                    _bars(axes, places, chosen, **look)
        axes.set_title(f"{REGIME_TITLES[regime]},\n{target_set} targets", fontsize="medium")
        axes.set_yticks(range(len(attacks)), [label_of(name) for name in attacks])
        axes.set_xlim(-0.03, 1.03)
    grid[0, 0].invert_yaxis()
    figure.supxlabel("THR@50 (dashed: not attacked)", fontsize="medium")
    if len(grid[0, 0].get_legend_handles_labels()[0]) > 1:
        shared_legend(figure, grid[0, 0], columns=2)
    return figure


def _bars(axes: Axes, places: Iterable[float], rows: pd.DataFrame, **look) -> None:
    """Means as dots at heights ``places``, intervals from low to high."""
    reach = np.abs(rows[["low", "high"]].to_numpy().T - rows["mean"].to_numpy())
    look = {"fmt": "o", "markersize": 3.5, "elinewidth": 1.0, **look}
    axes.errorbar(rows["mean"], list(places), xerr=np.nan_to_num(reach), **look)


def attack_profiles(rows: pd.DataFrame, levels: np.ndarray) -> Figure:
    """Attacks along y: how fillers are rated, how popular they are, whom a fake is like.

    Columns: attack, rating_shares, filler_popularity, similarity, detection_auc; one row a
    seed and setting. Dots are means, bars reach from the least to the most.
    """
    attacks = list(dict.fromkeys(rows["attack"]))
    titles = {
        "filler_popularity": "raters of a filler\n(share of users)",
        "similarity": "most similar real user\n(cosine)",
        "detection_auc": "PCA detector\n(ROC AUC)",
    }
    size = (NARROW, 2 * (0.17 * len(attacks) + 0.75) + 0.3)
    figure, grid = plt.subplots(2, 2, figsize=size, sharey=True)
    stacked, *others = grid.ravel()
    places = np.arange(len(attacks))
    shares = np.array(
        [np.mean([*rows.loc[rows["attack"] == a, "rating_shares"]], 0) for a in attacks]
    )
    shades = plt.get_cmap("cividis")(np.linspace(0, 1, len(levels)))
    left = np.zeros(len(attacks))
    for level, share, shade in zip(levels, shares.T, shades, strict=True):
        stacked.barh(places, share, left=left, color=shade, label=f"{level:g}", height=0.75)
        left += share
    stacked.set_xlabel("ratings of fillers\n(share, by stars)")
    names = {"none": "real users"}
    stacked.set_yticks(places, [names.get(name) or label_of(name) for name in attacks])
    stacked.set_xlim(0, 1)
    stacked.invert_yaxis()
    for axes, (column, title) in zip(others, titles.items(), strict=True):
        spread = rows.groupby("attack", sort=False)[column].agg(["mean", "min", "max"]).loc[attacks]
        _bars(axes, places, spread.rename(columns={"min": "low", "max": "high"}), color=BLUE)
        axes.set_xlabel(title)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    others[2].axvline(0.5, color=GREY, linewidth=0.8)
    others[2].set_xlim(-0.05, 1.05)
    figure.legend(
        *stacked.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(levels),
        columnspacing=1,
        handlelength=1.2,
        title="stars",
    )
    return figure


def latent_maps(people: pd.DataFrame) -> Figure:
    """Everybody on a plane: a row a victim, a column an attack.

    Columns: victim, attack, x, y, kind.
    """
    victims, attacks = (list(people[name].unique()) for name in ("victim", "attack"))
    size = COLUMN_WIDTH * 1.25 / len(attacks)
    figure, grid = plt.subplots(
        len(victims),
        len(attacks),
        figsize=(size * len(attacks), 0.85 * size * len(victims) + 0.5),
        squeeze=False,
    )
    for (i, victim), (j, attack) in product(enumerate(victims), enumerate(attacks)):
        axes = grid[i, j]
        here = people[(people["victim"] == victim) & (people["attack"] == attack)]
        for kind, look in (
            ("user", {"c": "#C8C8C8", "s": 4, "label": "real users"}),
            ("fake", {"c": RED, "s": 14, "marker": "x", "linewidths": 0.9, "label": "fakes"}),
        ):
            chosen = here[here["kind"] == kind]
            axes.scatter(chosen["x"], chosen["y"], rasterized=True, **look)
        axes.set(xticks=[], yticks=[])
        if i == 0:
            axes.set_title(label_of(attack))
        if j == 0:
            axes.set_ylabel(victim)
    figure.supxlabel("t-SNE of the latent vectors (no units)", fontsize="medium")
    shared_legend(figure, grid[0, 0])
    return figure


def by_fakes(summary: pd.DataFrame) -> Figure:
    """THR by how many of a user's neighbours are fakes; an area is the share of such users.

    A row a regime, a column a defence, one colour an attacker. Columns: regime, attacker, defense,
    metric, mean; the metrics are those of :mod:`rvdlib.lab.experiment.exposure`.
    """
    shown = summary[summary["attacker"] != "none"]
    groups = shown.set_index("metric").groupby(["regime", "defense", "attacker"])["mean"]
    means = dict(list(groups))
    regimes, defenses, attackers = (
        list(dict.fromkeys(shown[name])) for name in ("regime", "defense", "attacker")
    )
    size = (NARROW, 1.5 * len(regimes) + 1.1)
    figure, grid = plt.subplots(
        len(regimes), len(defenses), figsize=size, sharex=True, sharey=True, squeeze=False
    )
    shades = [GREY, BLUE, SKY, GREEN, ORANGE, RED, PURPLE, "black"]
    for (row, regime), (column, defense) in product(enumerate(regimes), enumerate(defenses)):
        axes = grid[row, column]
        for number, attacker in enumerate(attackers):
            found = means.get((regime, defense, attacker))
            if found is None:
                continue
            colour = shades[number % len(shades)]
            x = np.arange(len(SHARES)) + 0.12 * (number - (len(attackers) - 1) / 2)
            share, y = (found[names].to_numpy() for names in (SHARES, TARGET_HIT_RATIOS))
            axes.plot(x, y, color=colour, linewidth=0.7, zorder=2)
            axes.scatter(x, y, 3 + 60 * share, colour, linewidths=0, zorder=3, label=attacker)
        axes.set_ylim(-0.04, 1.04)
        if row == 0:
            axes.set_title(defense, fontsize="medium")
        if column == 0:
            axes.set_ylabel(f"{REGIME_TITLES[regime]}\nTHR@50")
    grid[0, 0].set_xticks(range(len(SHARES)), [*map(str, range(MOST)), f"{MOST}+"])
    figure.supxlabel("fakes among a user's neighbours", fontsize="medium")
    handles = [plt.Line2D([], [], marker="o", color=c, linewidth=0.7) for c in shades]
    labels = [label_of(attacker) for attacker in attackers]
    figure.legend(handles[: len(labels)], labels, loc="outside upper center", ncols=2)
    return figure


def cures(table: pd.DataFrame) -> Figure:
    """Defences along y: THR under the worst attacker, who is named, and the cost in accuracy.

    A row a regime, bars are intervals. Columns: as from :func:`rvdlib.lab.study.adaptive.cures`.
    """
    measures = {"rating": "RMSE", "ranking": "NDCG@50"}
    regimes, defenses = (list(dict.fromkeys(table[name])) for name in ("regime", "defense"))
    size = (NARROW, len(regimes) * (0.27 * len(defenses) + 0.95))
    figure, panels = plt.subplots(
        len(regimes), 2, figsize=size, sharey=True, squeeze=False, width_ratios=[1.7, 1]
    )
    places = np.arange(len(defenses))
    for (worst, change), regime in zip(panels, regimes, strict=True):
        here = table[table["regime"] == regime].set_index("defense").loc[defenses]
        for axes, column, scale in ((worst, "thr", 1), (change, "change", 100)):
            columns = {column: "mean", f"{column}_low": "low", f"{column}_high": "high"}
            _bars(axes, places, scale * here[[*columns]].rename(columns=columns), color=BLUE)
        for place, name, value in zip(places, here["worst"], here["thr"], strict=True):
            x, side = (0.0, "left") if value > 0.5 else (1.0, "right")
            worst.text(
                x, place - 0.28, label_of(name), ha=side, va="center", fontsize=6, color=GREY
            )
        worst.set_xlim(-0.03, 1.03)
        worst.set_title(REGIME_TITLES[regime], fontsize="medium")
        worst.set_xlabel("THR@50 under the\nworst attacker (named)")
        change.axvline(0, color=GREY, linewidth=0.8)
        change.xaxis.set_major_locator(MaxNLocator(3))
        change.set_xlabel(f"{measures[regime]},\n% better")
    panels[0, 0].set_yticks(places, ["undefended" if d == "none" else d for d in defenses])
    panels[0, 0].set_ylim(len(defenses) - 0.5, -0.6)
    return figure
