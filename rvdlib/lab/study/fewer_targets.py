"""Fakes that do not rate every target, which the protocol leaves out: what 07 says of them.

Of what :mod:`rvdlib.lab.tuning.fewer_targets` measured. Whoever is strongest is chosen after the fact, on
these very seeds, as in 07's other tables.
"""

import pandas as pd

from rvdlib.lab.runner.in_short import EVERY_SET, MORE, STRONGEST
from rvdlib.lab.statistics import summarise
from rvdlib.lab.study import tables
from rvdlib.lab.study.adaptive import under_strongest
from rvdlib.lab.tuning.fewer_targets import CLEAN, EVERY, ONE, TWO

SETTING = ["target_set", "defense"]
NOBODY, THR = "not attacked", "target_hit_ratio"


def by_fakes(trials: pd.DataFrame) -> pd.DataFrame:
    """THR@50 where nobody attacks, under the strongest of those with every target in every fake, and under
    the same fakes with every target, one each, and two; and how much more the stronger of the last two reaches
    than the strongest, by seed.

    Args:
        trials: a row a target set, seed, defense and kind of ``fakes``: ``results/search/fewer_targets.csv``.

    Returns:
        Columns target_set (of each, then the mean of all), defense, fakes, metric, mean, low, high, n.
    """
    few = trials["fakes"].isin([ONE, TWO])
    every = under_strongest(trials[~few & (trials["fakes"] != CLEAN)], SETTING, "fakes")
    fewer = under_strongest(trials[few], SETTING, "fakes")
    reached, before = (rows.set_index([*SETTING, "seed"])[THR] for rows in (fewer, every))
    gained = (reached - before.reindex(reached.index)).reset_index().assign(fakes=MORE)
    own = trials[trials["fakes"].isin([EVERY, ONE, TWO])]
    clean = trials[trials["fakes"] == CLEAN].assign(fakes=NOBODY)
    shown = pd.concat([clean, every.assign(fakes=STRONGEST), own, gained])
    means = shown.groupby(["fakes", "defense", "seed"], sort=False)[THR].mean().reset_index()
    shown = pd.concat([shown, means.assign(target_set=EVERY_SET)], ignore_index=True)
    by = [*SETTING, "fakes"]
    # A difference may be below 0, where a target hit ratio's interval ends.
    more = shown["fakes"] == MORE
    levels = summarise(shown[~more], by, [THR])
    differences = summarise(shown[more].rename(columns={THR: "gained"}), by, ["gained"])
    return pd.concat([levels, differences], ignore_index=True)


def shown(found: pd.DataFrame) -> pd.DataFrame:
    """:func:`by_fakes` as a reader sees it: a row a target set and defence, a column a kind of fakes."""
    return tables.wide(found, SETTING, "fakes").rename_axis(columns=None)
