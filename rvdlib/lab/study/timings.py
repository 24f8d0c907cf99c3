"""What 14_timings says: what serving, training, rivals and crafting cost."""

import numpy as np
import pandas as pd

from rvdlib import paths
from rvdlib.lab.benchmark.rivals import KEY
from rvdlib.lab.runner.ledger import read_table
from rvdlib.lab.study import tables

# Of the costs of rivals, and of what 10 found: as shown.
SHOWN = {
    "train_seconds": "training, CPU s",
    "training": "training, × undefended",
    "ms_per_user": "serving, CPU ms a user",
    "serving": "serving, × undefended",
}
HELD = {"target_hit_ratio": "THR@50, worst attacker", "ndcg": "NDCG@50"}


def beside_what_they_hold(costs: pd.DataFrame, profile: str) -> pd.DataFrame:
    """What rivals cost, and what they hold by the table that 10 keeps for this profile.

    Where it has no such row, as of a rival that the profile does not compare, stands –.
    """
    path = paths.RESULTS / profile / "10_rivals.csv"
    found = read_table(path) if path.is_file() else pd.DataFrame(columns=[*KEY, "metric", "mean"])
    found = found[found["metric"].isin(HELD)].set_index([*KEY, "metric"])["mean"].unstack()
    held = found.reindex(index=pd.MultiIndex.from_frame(costs[KEY]), columns=[*HELD])
    cost = costs.set_index(KEY)[[*SHOWN]].map(_short)
    held = held.map(lambda mean: tables.format_interval(mean, np.nan, np.nan))
    return cost.join(held).rename(columns=SHOWN | HELD)


def answer(
    times: pd.DataFrame, trials: pd.DataFrame, costs: pd.DataFrame, crafting: pd.DataFrame
) -> str:
    """The answer of 14, of rows of :func:`rvdlib.lab.benchmark.latency.serving_times`,
    :func:`rvdlib.lab.experiment.quality.run_trials`, :func:`rvdlib.lab.benchmark.rivals.costs` and
    :func:`rvdlib.lab.study.attack_profiles.crafting`; times are of the first data set at the usual choices.
    """
    usual = times[(times["dial"] == "items") & (times["items"] == times["items"].iloc[0])]
    cost = usual.groupby(["group", "form"])["ms_per_user"].median().map(_short)
    slowest = trials.loc[trials["train_seconds"].idxmax()]
    trains, serves = (costs.loc[costs[name].idxmax()] for name in ("training", "serving"))
    (regime, attack), seconds = crafting["mean"].idxmax(), crafting["mean"].max()
    return tables.answer(
        f"At choices of the notebook's own a user's first 50 of {usual['items'].iloc[0]:,} items cost "
        f"{cost['many', 'undefended']} ms undefended, {cost['many', 'closed_form']} ms in "
        f"closed form, {cost['many', 'engine']} ms under RVD by the compiled engine and "
        f"{cost['few', 'plain_loop']} ms by the plain loop.",
        f"No victim trained longer than {slowest['train_seconds']:.0f} CPU seconds "
        f"({slowest['system']}, {slowest['dataset']}, {slowest['regime']} regime), and no process held "
        f"more than {trials['peak_mib'].max():,.0f} MiB.",
        f"Of the defences of 10 *{trains['defense']}* trains longest, {_short(trains['training'])} times as "
        f"long as the undefended victim ({trains['regime']} regime), and *{serves['defense']}* serves "
        f"slowest, {_short(serves['ms_per_user'])} CPU ms a user ({serves['regime']} regime).",
        f"The attack that costs most is {attack}, {_short(seconds)} CPU seconds on average ({regime} "
        "regime).",
    )


def _short(number: float) -> str:
    """Two digits that count, without an exponent: ``0.31``, ``280``."""
    return f"{float(f'{number:.2g}'):g}"
