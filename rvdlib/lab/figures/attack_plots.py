"""Figures of the attacks: what fakes look like, what they do, and where they lie."""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.figures.style import (
    BLUE,
    COLUMN_WIDTH,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    REGIME_TITLES,
    colours,
    dots,
    shared_legend,
)

VICTIM_COLOURS = {"MF": BLUE, "NSVD": ORANGE, "AutoRec": GREEN, "CDAE": PURPLE}


def attack_effects(summary: pd.DataFrame) -> Figure:
    """THR@50 by attack, one colour a victim; a panel a setting.

    Columns: regime, target_set, victim, attack, mean, low, high.
    """
    settings = summary[["regime", "target_set"]].drop_duplicates().itertuples(index=False)
    settings = list(settings)
    figure, grid = plt.subplots(
        len(settings),
        1,
        figsize=(COLUMN_WIDTH, 1.45 * len(settings) + 1),
        sharex=True,
        squeeze=False,
    )
    for axes, (regime, target_set) in zip(grid[:, 0], settings, strict=True):
        here = summary[(summary["regime"] == regime) & (summary["target_set"] == target_set)]
        dots(axes, here, "attack", "victim", colours(summary["victim"], VICTIM_COLOURS))
        axes.set_ylabel(f"{REGIME_TITLES[regime]}\n{target_set} targets\nTHR@50")
        axes.set_ylim(bottom=0)
        axes.tick_params(axis="x", rotation=90)
    shared_legend(figure, grid[0, 0])
    return figure


def attack_profiles(rows: pd.DataFrame, levels: np.ndarray) -> Figure:
    """Attacks along y: how fillers are rated, how popular they are, whom a fake is like.

    Columns: attack, rating_shares, filler_popularity, similarity, detection_auc; one row a
    seed and setting. Dots are means, bars reach from the least to the most.
    """
    attacks = list(dict.fromkeys(rows["attack"]))
    titles = {
        "filler_popularity": "a filler's raters\n(share of users)",
        "similarity": "cosine to the most\nsimilar real user",
        "detection_auc": "PCA detector\n(ROC AUC)",
    }
    figure, (stacked, *others) = plt.subplots(
        1,
        1 + len(titles),
        figsize=(COLUMN_WIDTH * 1.35, 0.27 * len(attacks) + 1.3),
        sharey=True,
        width_ratios=[1.5, *[1] * len(titles)],
    )
    places = np.arange(len(attacks))
    shares = np.array(
        [np.mean([*rows.loc[rows["attack"] == a, "rating_shares"]], 0) for a in attacks]
    )
    shades = plt.get_cmap("cividis")(np.linspace(0, 1, len(levels)))
    left = np.zeros(len(attacks))
    for level, share, shade in zip(levels, shares.T, shades, strict=True):
        stacked.barh(places, share, left=left, color=shade, label=f"{level:g}", height=0.75)
        left += share
    stacked.set_xlabel("filler ratings\n(share, by stars)")
    stacked.set_yticks(places, attacks)
    stacked.set_xlim(0, 1)
    stacked.invert_yaxis()
    for axes, (column, title) in zip(others, titles.items(), strict=True):
        spread = rows.groupby("attack", sort=False)[column].agg(["mean", "min", "max"]).loc[attacks]
        reach = np.abs(spread[["min", "max"]].to_numpy().T - spread["mean"].to_numpy())
        axes.errorbar(
            spread["mean"], places, xerr=np.nan_to_num(reach), fmt="o", color=BLUE, markersize=3.5
        )
        axes.set_xlabel(title)
    others[2].axvline(0.5, color=GREY, linewidth=0.8)
    others[2].set_xlim(-0.05, 1.05)
    figure.legend(*stacked.get_legend_handles_labels(), loc="outside upper left", ncols=len(levels))
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
            axes.set_title(attack)
        if j == 0:
            axes.set_ylabel(victim)
    figure.supxlabel("t-SNE of the latent vectors (no units)", fontsize="medium")
    shared_legend(figure, grid[0, 0])
    return figure


def cures(table: pd.DataFrame) -> Figure:
    """Defences along y: THR under the worst attacker, and what each costs in accuracy.

    Two panels a regime, bars are intervals. Columns: as from :func:`rvdlib.lab.study.adaptive.cures`.
    """
    measures = {"rating": "RMSE", "ranking": "NDCG@50"}
    regimes, defenses = (list(dict.fromkeys(table[name])) for name in ("regime", "defense"))
    figure, panels = plt.subplots(
        1,
        2 * len(regimes),
        figsize=(COLUMN_WIDTH * 1.35, 0.27 * len(defenses) + 1.1),
        sharey=True,
        squeeze=False,
    )
    places = np.arange(len(defenses))
    for number, regime in enumerate(regimes):
        here = table[table["regime"] == regime].set_index("defense").loc[defenses]
        for axes, column, scale in zip(
            panels[0, 2 * number : 2 * number + 2], ("thr", "change"), (1, 100), strict=True
        ):
            bounds = here[[f"{column}_low", f"{column}_high"]].to_numpy().T
            reach = np.nan_to_num(np.abs(bounds - here[column].to_numpy()))
            axes.errorbar(
                scale * here[column], places, xerr=scale * reach, fmt="o", color=BLUE, markersize=4
            )
        worst, change = panels[0, 2 * number : 2 * number + 2]
        worst.set_xlim(0, 1.08 * here["thr_high"].fillna(here["thr"]).max())
        worst.set_xlabel(f"{REGIME_TITLES[regime]}\nTHR@50 under the\nworst attacker")
        change.axvline(0, color=GREY, linewidth=0.8)
        change.set_xlabel(f"{REGIME_TITLES[regime]}\nunattacked {measures[regime]},\n% better")
    panels[0, 0].set_yticks(places, ["undefended" if d == "none" else d for d in defenses])
    panels[0, 0].invert_yaxis()
    return figure
