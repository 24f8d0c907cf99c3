"""The paper's claims held against the cells: a measured figure, its interval, a verdict.

A claim that something reaches a threshold is *reproduced* where the whole interval over seeds does,
*partly* where the mean does but not the interval (or, of several metrics, some do and some do not),
*not reproduced* where the mean does not, *not measured* where there is no figure, for want of a
victim or of a hit to reduce.
"""

import pandas as pd

from rvdlib.statistics import Interval, bootstrap_interval
from rvdlib.study.cells import UNDEFENDED
from rvdlib.study.effects import BASELINES
from rvdlib.tables import format_interval

DEEP = ["AutoRec", "CDAE"]
LEAST_REDUCTION = 0.2  # C1: "20 to 60 %"
MAINTAINED = 0.05  # C2 gives no figure: a loss of at most 5 %


def judge(interval: Interval, threshold: float) -> str:
    """Whether a quantity that is claimed to be above ``threshold`` is."""
    if pd.isna(interval.mean):
        return "not measured"
    if interval.mean < threshold:
        return "not reproduced"
    return "reproduced" if interval.low >= threshold else "partly"


def claims(rows: pd.DataFrame) -> pd.DataFrame:
    """C1 to C4, for each regime and form of RVD; ``rows`` as from ``effects.with_lift``."""
    attacked = rows[rows["attack"] != "none"]
    forms = [form for form in attacked["defense"].unique() if form not in BASELINES]
    found = []
    for regime in attacked["regime"].unique():
        here = attacked[attacked["regime"] == regime]
        found.append(_susceptibility(here, regime))
        for form in forms:
            under = here[here["defense"] == form]
            found += [_reduction(under, regime, form), _ease(under, regime, form)]
            found.append(_maintained(under, regime, form))
    columns = ["claim", "what", "regime", "defense", "measured", "verdict"]
    return pd.DataFrame(found, columns=columns).sort_values(
        "claim", kind="stable", ignore_index=True
    )


def _over_seeds(rows: pd.DataFrame, column: str) -> pd.Series:
    return rows.groupby("seed")[column].mean()


def _reduction(under, regime, form):
    interval = bootstrap_interval(_over_seeds(under, "reduction"))
    what = f"THR falls by at least {LEAST_REDUCTION:.0%}"
    shown = format_interval(*interval[:3])
    return "C1", what, regime, form, shown, judge(interval, LEAST_REDUCTION)


def _susceptibility(here, regime):
    bare = here[here["defense"] == UNDEFENDED]
    interval = _deep_less_shallow(bare, "target_hit_ratio", sign=-1)
    what = "AutoRec, CDAE have a lower THR than MF, NSVD (difference)"
    return "C3", what, regime, UNDEFENDED, format_interval(*interval[:3]), judge(interval, 0)


def _ease(under, regime, form):
    interval = _deep_less_shallow(under, "reduction", sign=1)
    what = "RVD reduces the THR of AutoRec, CDAE more than of MF, NSVD (difference)"
    return "C4", what, regime, form, format_interval(*interval[:3]), judge(interval, 0)


def _deep_less_shallow(rows: pd.DataFrame, column: str, sign: int) -> Interval:
    deep = rows["victim"].isin(DEEP)
    difference = _over_seeds(rows[deep], column) - _over_seeds(rows[~deep], column)
    return bootstrap_interval(sign * difference)


def _maintained(under, regime, form):
    """Relative change of each metric; the claim holds if no victim is worse by more than 5 %."""
    parts, verdicts = [], []
    for column, name, better in (("hit_ratio", "HR", 1), ("ndcg", "NDCG", 1), ("rmse", "RMSE", -1)):
        changes = []
        for _, rows in under.groupby("victim", sort=False):
            bare = _over_seeds(rows, f"{column}_undefended")
            relative = _over_seeds(rows, column) / bare - 1
            changes.append(bootstrap_interval(relative).mean)
            verdicts.append(judge(bootstrap_interval(better * relative), -MAINTAINED))
        low, high = min(changes), max(changes)
        parts.append(f"{name} {low:+.0%}" + (f" to {high:+.0%}" if high > low else ""))
    verdict = verdicts[0] if len(set(verdicts)) == 1 else "partly"
    what = f"no accuracy metric of any victim worsens by more than {MAINTAINED:.0%}"
    return "C2", what, regime, form, ", ".join(parts), verdict
