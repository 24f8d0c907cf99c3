"""Fakes that do not rate every target, which the protocol leaves out: what 07 says of them.

Of what :mod:`rvdlib.lab.tuning.fewer_targets` measured. Whoever is strongest is chosen after the fact, on
these very seeds, as in 07's other tables.
"""

import pandas as pd

from rvdlib.lab.runner.in_short import EVERY, MORE
from rvdlib.lab.statistics import paired, summarise
from rvdlib.lab.study import tables
from rvdlib.lab.study.adaptive import under_strongest
from rvdlib.lab.tuning.fewer_targets import CLEAN, ONE, TWO

SETTING = ["target_set", "defense"]
THR = "target_hit_ratio"
# Columns: what fakes there are.
NOBODY = "not attacked"


def by_fakes(trials: pd.DataFrame) -> pd.DataFrame:
    """THR@50 where nobody attacks, under the strongest attacker with every target in every fake, and under
    either kind with fewer; and how much more the stronger of these two reaches, by seed.

    Args:
        trials: a row a target set, seed, defense and kind of ``fakes``: ``results/search/fewer_targets.csv``.

    Returns:
        Columns target_set, defense, fakes, metric, mean, low, high, n.
    """
    few = trials["fakes"].isin([ONE, TWO])
    every = under_strongest(trials[~few & (trials["fakes"] != CLEAN)], SETTING, "fakes")
    fewer = under_strongest(trials[few], SETTING, "fakes")
    clean = trials[trials["fakes"] == CLEAN].assign(fakes=NOBODY)
    shown = pd.concat([clean, every.assign(fakes=EVERY), trials[few]])
    more = [
        paired(here, every[(every[SETTING] == list(key)).all(axis=1)], THR)
        .rename(MORE)
        .reset_index()
        .assign(**dict(zip(SETTING, key, strict=True)), fakes=MORE)
        for key, here in fewer.groupby(SETTING, sort=False)
    ]
    by = [*SETTING, "fakes"]
    levels = summarise(shown, by, [THR])
    gained = summarise(pd.concat(more), by, [MORE])
    order = {name: place for place, name in enumerate(trials["defense"].unique())}
    found = pd.concat([levels, gained], ignore_index=True)
    places = found["defense"].map(order)
    return found.iloc[places.argsort(kind="stable")].reset_index(drop=True)


def shown(found: pd.DataFrame) -> pd.DataFrame:
    """:func:`by_fakes` as a reader sees it: a row a target set and defence, a column a kind of fakes."""
    sets = found["target_set"].unique()
    ordered = pd.concat([found[found["target_set"] == name] for name in sets])
    columns = [NOBODY, EVERY, ONE, TWO, MORE]
    return tables.wide(ordered, SETTING, "fakes")[columns].rename_axis(columns=None)
