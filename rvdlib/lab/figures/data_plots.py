"""The figures of 01 and 02: the data, and the recommenders before anybody attacks."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.figures import style

KINDS = {"victim": style.BLUE, "reference": style.GREY, "peer": style.ORANGE}
SMALL = style.DOT | {"color": style.BLUE, "markersize": 4}
QUALITY_PANELS = {
    "rating": ("rmse_holdout", "RMSE in stars, random fifth\n(left is better)"),
    "ranking": ("hit_ratio", "HR@50, leave-one-out\n(right is better)"),
}


def long_tail(tails: pd.DataFrame, targets: pd.DataFrame) -> Figure:
    """Where the ratings are, and how many of them the attacked items have.

    Rows of :func:`rvdlib.lab.study.datasets.long_tail` and of ``target_popularity`` there.
    """
    shades = style.colours(tails["dataset"], {})
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(style.COLUMN_WIDTH, 2.3 + 0.25 * len(shades)), width_ratios=(1.1, 1)
    )
    for dataset, tail in tails.groupby("dataset", sort=False):
        x, y = 100 * tail["catalogue_share"], 100 * tail["rating_share"]
        left.plot(x, y, color=shades[dataset], label=dataset)
    left.axvline(10, color=style.GREY, linestyle=":", linewidth=1)
    left.set(
        xscale="log",
        xlim=(0.1, 100),
        ylim=(0, 100),
        xticks=[0.1, 1, 10, 100],
        xticklabels=["0.1 %", "1 %", "10 %", "100 %"],
        xlabel="items, the most rated first",
        ylabel="share of all ratings, %",
    )
    left.legend(loc="lower left", bbox_to_anchor=(-0.05, 1), ncols=2, handlelength=1.2)

    rows = list(targets.groupby(["dataset", "target_set"], sort=False))
    for row, ((dataset, _), group) in enumerate(rows):
        # Spread, because many targets have the same few ratings.
        spread = np.linspace(-0.25, 0.25, len(group)) if len(group) > 1 else 0
        look = {"s": 14, "color": shades[dataset], "linewidths": 0}
        right.scatter(group["train_ratings"], row + spread, **look)
    right.axvspan(0.8, 5.5, color=style.GREY, alpha=0.15, linewidth=0)
    labels = [f"{dataset}, {target_set}" for (dataset, target_set), _ in rows]
    right.set(
        xscale="log",
        ylim=(len(rows) - 0.5, -0.5),
        yticks=range(len(rows)),
        yticklabels=labels,
        xlabel="training ratings of a target\n(shaded: 1 to 5)",
    )
    right.set_xlim(left=0.8)
    right.xaxis.set_major_formatter("{x:g}")
    right.grid(axis="y", visible=False)
    return figure


def victim_quality(summary: pd.DataFrame, bounds: pd.DataFrame) -> Figure:
    """Every recommender at its own task: a row of panels a data set, a panel a regime.

    Open marks show what is trained for ratings at ranking, red strokes what is asked of a victim.

    Rows of :func:`rvdlib.lab.study.demands.summary`, in whose order systems appear from the top, and of
    ``demands`` there.
    """
    datasets = summary["dataset"].unique()
    size = (style.COLUMN_WIDTH * 1.15, 2.5 * len(datasets) + 0.5)
    figure, grid = plt.subplots(len(datasets), 2, figsize=size, squeeze=False)
    for panels, dataset in zip(grid, datasets, strict=True):
        for axes, (regime, (metric, label)) in zip(panels, QUALITY_PANELS.items(), strict=True):
            here = summary[(summary["dataset"] == dataset) & (summary["metric"] == metric)]
            own = here[here["regime"] == regime]
            places = {system: place for place, system in enumerate(own["system"])}
            others = here[(here["regime"] != regime) & here["system"].isin(places)]
            for rows, look in (
                *((own[own["kind"] == k], {"color": c, "label": k}) for k, c in KINDS.items()),
                (others.dropna(subset="mean"), {"mfc": "white", "label": "trained for ratings"}),
            ):
                if len(rows):
                    y, look = rows["system"].map(places), SMALL | look
                    axes.errorbar(rows["mean"], y, xerr=style.reach(rows), **look)
            asked = bounds[(bounds["dataset"] == dataset) & (bounds["regime"] == regime)]
            asked = asked[asked["metric"] == metric].dropna(subset="bound")
            y, look = asked["system"].map(places), {"color": style.RED, "linewidths": 1.6}
            axes.scatter(asked["bound"], y, marker="|", s=130, label="asked for", **look)
            axes.set(yticks=range(len(places)), yticklabels=list(places), xlabel=label)
            axes.set_ylim(len(places) - 0.5, -0.5)
            axes.set_title(f"{dataset}, {regime} regime", fontsize="medium")
    style.shared_legend(figure, grid[0, 0], columns=9)
    return figure
