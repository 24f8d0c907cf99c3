"""Means with 95 % bootstrap intervals: over seeds, paired over seeds, and over sampled users.

All intervals are percentile intervals, drawn from a stream of their own, so that the same numbers
always have the same interval. With the study's handful of seeds they run narrow (five normal
values: about 83 % coverage, not 95 %); they show spread, they do not test hypotheses.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

from rvdlib.evaluation import Evaluation
from rvdlib.seeding import stream

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean, its interval, and the number of values that it rests on."""

    mean: float
    low: float
    high: float
    n: int


def bootstrap_interval(values: np.ndarray, *, n_resamples: int = 9999, seed: int = 0) -> Interval:
    """The mean of the values that are not NaN, with its interval; one value alone has none."""
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return Interval(float(values[0]) if len(values) else np.nan, np.nan, np.nan, len(values))
    if np.ptp(values) == 0:
        return Interval(*[float(values[0])] * 3, len(values))
    low, high = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=n_resamples,
        batch=max(1, 1_000_000 // len(values)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=stream(seed, "bootstrap"),
    ).confidence_interval
    return Interval(float(values.mean()), float(low), float(high), len(values))


def summarise(frame: pd.DataFrame, by: list[str], values: list[str]) -> pd.DataFrame:
    """One row per group and metric: ``by``, metric, mean, low, high, n (the values not NaN)."""
    rows = [
        (*key, metric, *bootstrap_interval(group[metric].to_numpy()))
        for key, group in frame.groupby(by, sort=False, dropna=False, observed=True)
        for metric in values
    ]
    return pd.DataFrame(rows, columns=[*by, "metric", *Interval._fields])


def paired_difference(
    frame: pd.DataFrame,
    *,
    column: str,
    baseline: object,
    by: list[str],
    values: list[str],
    on: str = "seed",
) -> pd.DataFrame:
    """Difference of each other level of ``column`` from ``baseline``, paired by ``by`` and ``on``.

    Seeds without a partner are left out; n tells how many pairs there were.

    Returns:
        One row per group, level and metric: ``by``, ``column``, metric, mean, low, high, n.

    Raises:
        ValueError: if no row has the baseline, or a pair is not unique.
    """
    keys = [*by, on]
    is_baseline = frame[column] == baseline
    if not is_baseline.any():
        raise ValueError(f"no row has {column} = {baseline!r}")
    repeated = frame.duplicated([*keys, column])
    if repeated.any():
        first = frame.loc[repeated, [*keys, column]].iloc[0].to_dict()
        raise ValueError(f"cannot pair on {on!r}: more than one row has {first}")
    pairs = frame[~is_baseline].merge(
        frame.loc[is_baseline, keys + values], on=keys, how="left", suffixes=("", "_baseline")
    )
    for metric in values:
        pairs[metric] -= pairs[f"{metric}_baseline"]
    return summarise(pairs, [*by, column], values)


def user_sample_interval(
    evaluation: Evaluation,
    metric: str,
    *,
    population: int | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """What it costs to evaluate a sample of users: the interval of ``metric`` over users.

    Args:
        metric: a property of :class:`Evaluation`, e.g. ``target_hit_ratio``.
        population: how many users the sample was drawn from, without repeats. Deviations shrink by
            √(1 − n/population), to nothing when all were evaluated. By default endless.
    """
    n = len(evaluation.users)
    if population is not None and population < n:
        raise ValueError(f"population must be at least the {n} users sampled, got {population}")
    value = getattr(evaluation, metric)
    if np.isnan(value):
        return Interval(np.nan, np.nan, np.nan, n)
    rng = stream(seed, "bootstrap", "users")
    resampled = np.array(
        [getattr(evaluation.take(rng.integers(n, size=n)), metric) for _ in range(n_resamples)]
    )
    tail = (1 - CONFIDENCE) / 2
    bounds = np.nanquantile(resampled, [tail, 1 - tail])
    shrink = 1.0 if population is None else np.sqrt(1 - n / population)
    return Interval(value, *(value + (bounds - value) * shrink).tolist(), n)
