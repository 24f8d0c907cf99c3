"""Means, intervals, pairs and tests: all that the study says of chance stands here.

**The interval** of a table or figure is Student's t over seeds, 95 %, paired where two systems are
compared: each seed has a split, targets, fakes and initial weights of its own, and both systems meet
the same. With three seeds it is wide, 4.3 standard errors to each side; that is what three seeds know.
Of a metric that has a range (:data:`RANGES`) only what lies within it is given: the true mean does as
well, so the interval holds it as often as before.

**Beside it**, for target hit ratios, stands a hierarchical bootstrap: seeds are drawn with
replacement, in each of them targets, and of each target the users who have it in their list. It also
asks what other targets and users would have given. A percentile bootstrap of n seeds is too narrow
(of three, it covers 75 %), so its reach to either side is stretched by √(n/(n − 1)) t/z, as much as
the t-interval is wider than the normal one.

**A test** against a threshold is the one-sided t-test over seeds; several in one claim are held to
the level together (:func:`holm`).

Numbers are drawn from a stream of their own: the same values always have the same interval.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy.stats

from rvdlib.intervals import CONFIDENCE, Interval, defined, t_interval, t_quantile
from rvdlib.seeding import stream

# Which way each metric of a recommender is better: +1 where more is.
BETTER = {
    "hit_ratio": 1,
    "ndcg": 1,
    "rmse": -1,
    "rmse_holdout": -1,
    "catalogue_share": 1,
    "target_hit_ratio": -1,
    "train_seconds": -1,
}
# What a metric lies between. A difference of two has none of these.
RANGES = {
    **dict.fromkeys(["target_hit_ratio", "target_hit_ratio_clean", "hit_ratio", "ndcg"], (0, 1)),
    **dict.fromkeys(["catalogue_share", "fake_neighbor_share", "fakes_near_fakes"], (0, 1)),
    **dict.fromkeys(["real_users_removed", "fakes_removed"], (0, 1)),
    **dict.fromkeys(["rmse", "rmse_holdout", "list_length", "train_seconds"], (0, np.inf)),
    "rho": (-1, 1),
}
# The accuracy of a regime: its own metric. Only the rating regime's victims predict stars.
ACCURACY = {"rating": "rmse", "ranking": "ndcg"}


def interval_of(metric: str, values: Sequence[float]) -> Interval:
    """:func:`t_interval` of values of a metric, as far as it lies in the metric's range."""
    return _within(metric, t_interval(values))


def p_above(values: Sequence[float], threshold: float, inclusive: bool = False) -> float:
    """How surprising these values were if their mean were not above the threshold.

    Values without any spread leave no doubt: 0 above the threshold (at it, if ``inclusive``), 1
    below it.

    Returns:
        The p-value of the one-sided t-test; NaN of fewer than two values.
    """
    distances = defined(values) - threshold
    n = len(distances)
    if n < 2:
        return np.nan
    mean = distances.mean()
    error = distances.std(ddof=1) / np.sqrt(n)
    if error <= 1e-12 * max(1.0, abs(mean)):
        settled = 0 if abs(mean) <= 1e-12 else mean
        return 0.0 if settled > 0 or (inclusive and settled == 0) else 1.0
    return float(scipy.stats.t.sf(mean / error, n - 1))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's (1979) adjusted p-values of tests that are read together; NaN where there is no test."""
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p_values), np.nan)
    order = [
        place for place in np.argsort(p_values, kind="stable") if not np.isnan(p_values[place])
    ]
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's ρ of the pairs that are defined; NaN of fewer than three, or where a side is constant."""
    both = pd.DataFrame({"one": np.asarray(one), "other": np.asarray(other)}).dropna().rank()
    if len(both) < 3 or (both.nunique() < 2).any():
        return np.nan
    return float(np.corrcoef(both["one"], both["other"])[0, 1])


def summarise(frame: pd.DataFrame, by: list[str], values: list[str]) -> pd.DataFrame:
    """One row per group and metric: ``by``, metric, mean, low, high, n (the values not NaN)."""
    rows = [
        (*key, metric, *interval_of(metric, group[metric]))
        for key, group in frame.groupby(by, sort=False, dropna=False, observed=True)
        for metric in values
    ]
    return pd.DataFrame(rows, columns=[*by, "metric", *Interval._fields])


def paired(
    level: pd.DataFrame, baseline: pd.DataFrame, metric: str, *, relative: bool = False
) -> pd.Series:
    """Seed by seed, what ``metric`` is in these rows less what it is in those.

    Rows of a seed are averaged first. A seed that only one side has is left out.

    Args:
        relative: give the change as a share of the baseline.

    Raises:
        ValueError: if a seed has not as many rows on both sides: their means are then no pair.
    """
    sizes = level.groupby("seed").size(), baseline.groupby("seed").size()
    shared = sizes[0].index.intersection(sizes[1].index)
    odd = shared[(sizes[0][shared] != sizes[1][shared]).to_numpy()]
    if len(odd):
        counts = " and ".join(str(size[odd[0]]) for size in sizes)
        raise ValueError(f"cannot pair {metric} on seed {odd[0]}: {counts} rows")
    means, bases = (rows.groupby("seed")[metric].mean()[shared] for rows in (level, baseline))
    return relative_change(means, bases) if relative else means - bases


def relative_change(level: pd.Series, base: pd.Series) -> pd.Series:
    """``level`` over ``base``, of the same index, less 1; of nothing there is no share: NaN."""
    return level / base.where(base != 0) - 1


def paired_difference(
    frame: pd.DataFrame,
    *,
    column: str,
    baseline: object,
    by: list[str],
    values: list[str],
    improvement: bool = False,
) -> pd.DataFrame:
    """:func:`paired` of each other level of ``column`` with ``baseline``, in each group of ``by``.

    ``improvement`` turns the sign where less is better (:data:`BETTER`).

    Returns:
        One row per group, level and metric: ``by``, ``column``, metric, mean, low, high, n.

    Raises:
        ValueError: if no row has the baseline, or rows do not pair.
    """
    if not (frame[column] == baseline).any():
        raise ValueError(f"no row has {column} = {baseline!r}")
    found = []
    for key, group in frame.groupby(by, sort=False):
        sides = dict(list(group.groupby(column, sort=False)))
        base = sides.pop(baseline, group.iloc[:0])
        for level, rows in sides.items():
            for metric in values:
                sign = BETTER[metric] if improvement else 1
                change = sign * paired(rows, base, metric)
                found.append((*key, level, metric, *t_interval(change)))
    return pd.DataFrame(found, columns=[*by, column, "metric", *Interval._fields])


def hierarchical_interval(
    rows: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0
) -> Interval:
    """The target hit ratio of these rows, over seeds, targets and users.

    Args:
        rows: columns seed, and ``target_hits`` and ``target_users``, lists with one number a target
            (:attr:`rvdlib.evaluation.Evaluation.target_counts`). The cells of a seed are averaged.
    """
    by_seed = _by_seed(rows)
    rng, n = stream(seed, "bootstrap"), len(by_seed)
    ratios = [np.divide(h, u, out=np.full(h.shape, np.nan), where=u > 0) for h, u in by_seed]
    mean = float(np.mean([np.nanmean(each, axis=1).mean() for each in ratios]))
    if n < 2:
        return Interval(mean, np.nan, np.nan, n)
    drawn = np.zeros((n, n_resamples))
    for place, (shares, (_, served)) in enumerate(zip(ratios, by_seed, strict=True)):
        cells, targets = shares.shape
        chosen = rng.integers(targets, size=(n_resamples, cells, targets))
        share = np.nan_to_num(shares)[np.arange(cells)[:, None], chosen]
        users = served[np.arange(cells)[:, None], chosen]
        resampled = rng.binomial(users, share) / np.maximum(users, 1)
        counted = np.maximum((users > 0).sum(axis=2), 1)
        drawn[place] = (resampled.sum(axis=2) / counted).mean(axis=1)
    seeds = rng.integers(n, size=(n_resamples, n))
    means = drawn[seeds, rng.integers(n_resamples, size=seeds.shape)].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    stretch = np.sqrt(n / (n - 1)) * t_quantile(n) / scipy.stats.norm.ppf(1 - tail)
    low, high = mean + stretch * (np.quantile(means, [tail, 1 - tail]) - mean)
    return _within("target_hit_ratio", Interval(mean, float(low), float(high), n))


def _within(metric: str, found: Interval) -> Interval:
    least, most = RANGES.get(metric, (-np.inf, np.inf))
    # max and min would take a bound for NaN.
    low, high = (float(np.clip(end, least, most)) for end in (found.low, found.high))
    return found._replace(low=low, high=high)


def _by_seed(rows: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray]]:
    """(cells, targets) hits and users, of each seed."""
    return [
        tuple(np.array(group[name].tolist()) for name in ("target_hits", "target_users"))
        for _, group in rows.groupby("seed")
    ]
