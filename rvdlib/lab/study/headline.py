"""The answer of notebook 03 in levels: what a recommender is worth, attacked and defended."""

import numpy as np
import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.runner.shown import COLUMNS
from rvdlib.lab.statistics import summarise
from rvdlib.lab.study import tables
from rvdlib.lab.study.effects import CLOSED_FORM, DEFENSES, RVD

SETTING = ["regime", "target_set", "defense"]


def headline(rows: pd.DataFrame) -> pd.DataFrame:
    """Levels, not changes: what a recommender is worth under each defence, attacked and not.

    Means over victims and attacks, with intervals over seeds. Defences stand in the order of
    :data:`DEFENSES`, others after them.

    Returns:
        Columns regime, target_set, defense, metric, mean, low, high, n: the target hit ratio
        without attack and under it, then accuracy and the share of the catalogue under attack.
    """
    first, *under = COLUMNS
    by, clean = [*SETTING, "seed"], rows["attack"] == "none"
    levels = rows[~clean].groupby(by, sort=False)[under].mean()
    levels[first] = rows[clean].groupby(by)["target_hit_ratio"].mean()
    found = summarise(levels.reset_index(), SETTING, [*COLUMNS])
    settings = found.groupby(SETTING[:2], sort=False).ngroup()
    places = found["defense"].map({name: place for place, name in enumerate(DEFENSES)})
    order = np.lexsort((places.fillna(len(DEFENSES)), settings))
    return found.iloc[order].reset_index(drop=True)


def shown(headline: pd.DataFrame) -> pd.DataFrame:
    """Rows of :func:`headline` as a reader sees them: means with intervals, a row a system."""
    return tables.wide(headline, SETTING, "metric").rename(columns=COLUMNS)


def answer(headline: pd.DataFrame) -> str:
    """The answer of 03, of rows of :func:`headline`: each regime, then popularity."""
    means = headline.pivot(index=SETTING, columns="metric", values="mean")
    sentences = []
    for regime, rows in headline.groupby("regime", sort=False):
        here, raised = means.loc[regime], []
        for targets in dict.fromkeys(rows["target_set"]):
            thr = here.loc[targets, "target_hit_ratio"]
            raised.append(
                f"from {here.loc[(targets, UNDEFENDED), 'target_hit_ratio_clean']:.3f} to "
                f"{thr[UNDEFENDED]:.3f} ({targets} targets), and under RVD to {thr[RVD]:.3f}, "
                f"under the closed form to {thr[CLOSED_FORM]:.3f}"
            )
        hits = here["hit_ratio"].groupby("defense").mean()
        sentences.append(
            f"In the {regime} regime the attacks raise the THR@50 of undefended victims "
            f"{', and '.join(raised)}; HR@50 goes from {hits[UNDEFENDED]:.3f} to {hits[RVD]:.3f} "
            f"under RVD and to {hits[CLOSED_FORM]:.3f} under the closed form."
        )
    return tables.answer(*sentences, _beside_popularity(headline))


def _beside_popularity(headline: pd.DataFrame) -> str:
    """What the most popular items alone reach in the rating regime, on its first set of targets."""
    rating = headline[headline["regime"] == "rating"]
    if "popularity" not in set(rating["defense"]):
        return ""
    first = rating[rating["target_set"] == rating["target_set"].iloc[0]]
    means = first.pivot(index="defense", columns="metric", values="mean")
    thr, hits = means["target_hit_ratio"], means["hit_ratio"]
    worse = (thr > thr["popularity"]) & (hits < hits["popularity"])
    beaten = [name for name in dict.fromkeys(first["defense"]) if worse[name]]
    shown = ", ".join("the undefended victim" if name == UNDEFENDED else name for name in beaten)
    return (
        "In the rating regime the most popular items alone, the same list for everybody, have THR@50 "
        f"{thr['popularity']:.3f} and HR@50 {hits['popularity']:.3f}, both better than those of: "
        f"{shown or 'none'}."
    )
