"""Figures of the attacks: what fakes look like, what they do, and where they lie."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rvdlib.attacks import ATTACKS
from rvdlib.lab.figures import style

VICTIM_COLOURS = {
    "MF": style.BLUE,
    "NSVD": style.ORANGE,
    "AutoRec": style.GREEN,
    "CDAE": style.PURPLE,
}
NARROW = 0.7 * style.COLUMN_WIDTH  # letters of 6 points and more where it is printed 8.5 cm wide
THIN = {"elinewidth": 1.0}
NEAREST = {"fakes_near_fakes": "of a fake's nearest", "fake_neighbor_share": "of a user's nearest"}


def label_of(name: str) -> str:
    """What an attack is called; any other name is called what it is."""
    return ATTACKS[name].label if name in ATTACKS else name


def _colours(victims: pd.Series) -> dict[str, str]:
    """Victim → colour, of those that are there."""
    known = style.colours(victims, VICTIM_COLOURS)
    return {victim: known[victim] for victim in victims.unique()}


def _dots(
    axes: Axes,
    rows: pd.DataFrame,
    attacks: list[str],
    palette: Mapping[str, str],
    hollow: pd.Series,
    called: Sequence[str],
    apart: float = 0.0,
) -> None:
    """Means with intervals, attacks along y, a colour a victim.

    Args:
        hollow: of which rows the marks are, and those stand ``apart`` below their attack.
        called: the filled and the hollow ones in the legend.
    """
    for number, (victim, colour) in enumerate(palette.items()):
        shift = 0.5 * (number - (len(palette) - 1) / 2) / len(palette)
        told = f", {victim}" if len(palette) > 1 else ""
        own = rows["victim"] == victim
        sides = (rows[own & ~hollow], colour, 0), (rows[own & hollow], "white", apart)
        for (chosen, face, aside), name in zip(sides, called, strict=True):
            if len(chosen):
                y = [attacks.index(attack) + shift + aside for attack in chosen["attack"]]
                look = {"markerfacecolor": face, "color": colour, "label": name + told}
                look = style.DOT | look | THIN
                axes.errorbar(chosen["mean"], y, xerr=style.reach(chosen), **look)
    axes.set_yticks(range(len(attacks)), [label_of(name) for name in attacks])


def attack_effects(summary: pd.DataFrame) -> Figure:
    """THR@50 by attack, one colour a victim; a panel a setting, all on one scale from 0 to 1.

    Hollow: the fakes of the same attack crafted for other targets. The line is the victim that
    nobody attacked. Columns: regime, target_set, victim, attack, crafted_for, mean, low, high.
    """
    settings = [*summary[["regime", "target_set"]].drop_duplicates().itertuples(index=False)]
    palette = _colours(summary["victim"])
    attacks = [name for name in ATTACKS if name in set(summary["attack"])]
    rows, columns = -(-len(settings) // 2), min(2, len(settings))
    size = (NARROW, rows * (0.17 * len(attacks) + 0.6) + 0.6)
    share = {"sharex": True, "sharey": True}
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, **share)
    for axes in grid.ravel()[len(settings) :]:
        axes.remove()
    for axes, (regime, target_set) in zip(grid.ravel(), settings, strict=False):
        here = summary[(summary["regime"] == regime) & (summary["target_set"] == target_set)]
        clean, attacked = here[here["attack"] == "none"], here[here["attack"] != "none"]
        for victim, value in zip(clean["victim"], clean["mean"], strict=True):
            axes.axvline(value, color=palette[victim], linewidth=0.8, linestyle="--", zorder=1)
        hollow = attacked["crafted_for"] == "others"
        called = "crafted for its targets", "crafted for other targets"
        _dots(axes, attacked, attacks, palette, hollow, called, apart=0.28)
        axes.set_title(f"{style.REGIME_TITLES[regime]},\n{target_set} targets", fontsize="medium")
        axes.set_xlim(-0.03, 1.03)
    grid[0, 0].invert_yaxis()
    figure.supxlabel("THR@50 (dashed: not attacked)", fontsize="medium")
    if len(grid[0, 0].get_legend_handles_labels()[0]) > 1:
        style.shared_legend(figure, grid[0, 0], columns=2)
    return figure


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
        about = style.reach(spread, low="min", high="max")
        axes.errorbar(spread["mean"], places, xerr=about, color=style.BLUE, **style.DOT | THIN)
        axes.set_xlabel(title)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    others[2].axvline(0.5, color=style.GREY, linewidth=0.8)
    others[2].set_xlim(-0.05, 1.05)
    look = {"columnspacing": 1, "handlelength": 1.2, "title": "stars"}
    style.shared_legend(figure, stacked, columns=len(levels), **look)
    return figure


def neighbourhoods(summary: pd.DataFrame, papers: Collection[str], attack_size: float) -> Figure:
    """Attacks along y: the share of fakes among the ten nearest of a fake, and of a real user.

    A row of panels a setting, a colour a victim, filled for the attacks ``papers``, hollow for others.
    The line is the share of fakes among all users, ``attack_size`` / (1 + ``attack_size``). Columns:
    regime, target_set, victim, attack, crafted_for, metric, mean, low, high.
    """
    own = summary[(summary["crafted_for"] == "targets") & (summary["attack"] != "none")]
    settings = [*own[["regime", "target_set"]].drop_duplicates().itertuples(index=False)]
    palette, attacks = _colours(own["victim"]), [*own["attack"].unique()]
    size = (NARROW, len(settings) * (0.17 * len(attacks) + 0.5) + 0.6)
    figure, grid = plt.subplots(len(settings), 2, figsize=size, squeeze=False, sharey=True)
    for panels, (regime, target_set) in zip(grid, settings, strict=True):
        here = own[(own["regime"] == regime) & (own["target_set"] == target_set)]
        for axes, (metric, label) in zip(panels, NEAREST.items(), strict=True):
            look = {"color": style.GREY, "linewidth": 0.8, "linestyle": "--", "zorder": 1}
            axes.axvline(attack_size / (1 + attack_size), **look)
            rows = here[here["metric"] == metric]
            others = ~rows["attack"].isin(papers)
            _dots(axes, rows, attacks, palette, others, ("the paper's attacks", "others"))
            axes.set_title(f"{style.REGIME_TITLES[regime]},\n{label}", fontsize="medium")
            axes.set_xlim(left=0)
        panels[0].set_xlim(-0.03, 1.03)
    grid[0, 0].invert_yaxis()
    figure.supxlabel("share of fakes (dashed: among all users)", fontsize="medium")
    style.shared_legend(figure, grid[0, 0], columns=2)
    return figure


def under_attackers(table: pd.DataFrame, held: pd.DataFrame) -> Figure:
    """Defences along y: THR@50 under each attacker, the worst in colour, and HR@50 in words.

    A panel a regime, each with its own scale; means over victims and target sets. Columns: as from
    :func:`rvdlib.lab.study.adaptive.attackers` and :func:`rvdlib.lab.study.adaptive.held`.
    """
    regimes = list(dict.fromkeys(held["regime"]))
    by = ["regime", "defense"]
    level = held.groupby([*by, "metric"], sort=False)["mean"].mean().unstack(sort=False)
    attacked = table[table["attacker"] != "none"]
    found = {
        key: each.groupby("attacker")["mean"].mean()
        for key, each in attacked.groupby(by, sort=False)
    }
    rows = max(len(level.loc[regime]) for regime in regimes)
    size = (NARROW, len(regimes) * (0.2 * rows + 0.55) + 0.35)
    figure, panels = plt.subplots(len(regimes), 1, figsize=size, squeeze=False)
    for axes, regime in zip(panels[:, 0], regimes, strict=True):
        here = level.loc[regime].sort_values("target_hit_ratio", ascending=False)
        where = axes.get_yaxis_transform()  # x as a share of the panel's width
        beside = partial(axes.text, transform=where, va="center", fontsize=7)
        for place, (name, values) in enumerate(here.iterrows()):
            each = found[regime, name]
            clean, worst = values["target_hit_ratio_clean"], values["target_hit_ratio"]
            axes.plot(each, [place] * len(each), "|", color=style.GREY, markersize=6, zorder=2)
            axes.plot(clean, place, "o", color=style.SKY, zorder=3)
            axes.plot(worst, place, "D", color=style.RED, markersize=4.5, zorder=4)
            beside(1.02, place, f"{values['hit_ratio']:.2f}")
        beside(1.02, len(here) - 0.2, "HR@50")
        names = ["undefended" if name == "none" else name for name in here.index]
        axes.set_yticks(range(len(here)), names, fontsize=7)
        most = here["target_hit_ratio"].max()
        axes.set(xlim=(-0.03 * most, 1.03 * most), ylim=(-0.6, len(here) + 0.1))
        axes.set_title(style.REGIME_TITLES[regime], fontsize="medium", loc="left")
    panels[-1, 0].set_xlabel("THR@50")
    marks = {
        "not attacked": ("o", style.SKY),
        "each attacker": ("|", style.GREY),
        "the worst": ("D", style.RED),
    }
    handles = [plt.Line2D([], [], marker=m, color=c, linewidth=0) for m, c in marks.values()]
    figure.legend(handles, marks, loc="outside upper center", ncols=3, fontsize=7)
    return figure
