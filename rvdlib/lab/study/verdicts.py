"""The paper's claims held against the cells: a measured figure, its interval, a verdict.

A claim that something reaches a threshold is *reproduced* where the whole interval over seeds does,
*partly* where the mean does but not the interval (or, of several metrics, some do and some do not),
*not reproduced* where the mean does not, *not measured* where there is no figure, for want of a
victim or of a hit to reduce.
"""

import sys

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.statistics import Interval, bootstrap_interval
from rvdlib.lab.study.tables import format_interval

DEEP = ["AutoRec", "CDAE"]
LEAST_REDUCTION = 0.2  # C1: "20 to 60 %"
ABOVE_ZERO = sys.float_info.min  # a threshold: no fall at all is no fall
MAINTAINED = 0.05  # C2 gives no figure: a loss of at most 5 %


def judge(interval: Interval, threshold: float) -> str:
    """Whether a quantity that is claimed to be above ``threshold`` is."""
    if pd.isna(interval.mean):
        return "not measured"
    if interval.mean < threshold:
        return "not reproduced"
    return "reproduced" if interval.low >= threshold else "partly"


def claims(rows: pd.DataFrame) -> pd.DataFrame:
    """C1 to C4, for each regime, target set and form; ``rows`` as from ``effects.with_lift``."""
    attacked = rows[rows["attack"] != "none"]
    forms = [form for form in attacked["defense"].unique() if form != UNDEFENDED]
    found = []
    for setting, here in attacked.groupby(["regime", "target_set"], sort=False):
        held = [_susceptibility(here)]
        for form in forms:
            under = here[here["defense"] == form]
            judged = _reduction(under), _ease(under), _maintained(under)
            held += [(*one, form) for one in judged]
        found += [(claim, what, *setting, form, *rest) for claim, what, *rest, form in held]
    columns = ["claim", "what", "regime", "target_set", "defense", "measured", "verdict"]
    return pd.DataFrame(found, columns=columns).sort_values(
        "claim", kind="stable", ignore_index=True
    )


def _over_seeds(rows: pd.DataFrame, column: str) -> pd.Series:
    return rows.groupby("seed")[column].mean()


def _reduction(under):
    interval = bootstrap_interval(_over_seeds(under, "reduction"))
    what = f"THR falls by at least {LEAST_REDUCTION:.0%}"
    shown = format_interval(*interval[:3])
    return "C1", what, shown, judge(interval, LEAST_REDUCTION)


def _susceptibility(here):
    bare = here[here["defense"] == UNDEFENDED]
    interval = _deep_less_shallow(bare, "target_hit_ratio", sign=-1)
    what = "AutoRec, CDAE have a lower THR than MF, NSVD (difference)"
    return "C3", what, format_interval(*interval[:3]), judge(interval, 0), UNDEFENDED


def _ease(under):
    interval = _deep_less_shallow(under, "reduction", sign=1)
    what = "RVD reduces the THR of AutoRec, CDAE more than of MF, NSVD (difference)"
    return "C4", what, format_interval(*interval[:3]), judge(interval, 0)


def _deep_less_shallow(rows: pd.DataFrame, column: str, sign: int) -> Interval:
    deep = rows["victim"].isin(DEEP)
    difference = _over_seeds(rows[deep], column) - _over_seeds(rows[~deep], column)
    return bootstrap_interval(sign * difference)


def _maintained(under):
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
    return "C2", what, ", ".join(parts), verdict
