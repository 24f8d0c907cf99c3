"""What 14_timings says: what serving, training and crafting cost, in sentences."""

import pandas as pd

from rvdlib.lab.study import tables


def answer(times: pd.DataFrame, trials: pd.DataFrame, crafting: pd.DataFrame) -> str:
    """The answer of 14.

    Args:
        times: rows of :func:`rvdlib.lab.benchmark.latency.serving_times`; those of the first data
            set at the usual choices are read.
        trials: rows of :func:`rvdlib.lab.experiment.quality.run_trials`.
        crafting: rows of :func:`rvdlib.lab.study.attack_profiles.crafting`.
    """
    usual = times[(times["dial"] == "items") & (times["items"] == times["items"].iloc[0])]
    cost = usual.groupby(["group", "form"])["ms_per_user"].median().map(_short)
    slowest = trials.loc[trials["train_seconds"].idxmax()]
    (regime, attack), seconds = crafting["mean"].idxmax(), crafting["mean"].max()
    return tables.answer(
        f"A user's first 50 of {usual['items'].iloc[0]:,} items cost "
        f"{cost['many', 'undefended']} ms undefended, {cost['many', 'closed_form']} ms in "
        f"closed form, {cost['many', 'engine']} ms under RVD by the compiled engine and "
        f"{cost['few', 'plain_loop']} ms by the plain loop.",
        f"No victim trained longer than {slowest['train_seconds']:.0f} CPU seconds "
        f"({slowest['system']}, {slowest['dataset']}, {slowest['regime']} regime), and no process held "
        f"more than {trials['peak_mib'].max():,.0f} MiB.",
        f"The attack that costs most is {attack}, {_short(seconds)} CPU seconds on average ({regime} "
        "regime).",
    )


def _short(number: float) -> str:
    """Two digits that count, without an exponent: ``0.31``, ``280``."""
    return f"{float(f'{number:.2g}'):g}"
