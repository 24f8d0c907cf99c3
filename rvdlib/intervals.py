"""A mean with its interval: Student's t, 95 %, over repetitions that are independent of each other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A mean, its interval, and the number of values that it rests on."""

    mean: float
    low: float
    high: float
    n: int


def t_interval(values: Sequence[float]) -> Interval:
    """The mean of the values that are not NaN, with its interval; one value alone has none."""
    values = defined(values)
    n = len(values)
    if n < 2:
        return Interval(float(values[0]) if n else np.nan, np.nan, np.nan, n)
    mean = float(values.mean())
    reach = float(t_quantile(n) * values.std(ddof=1) / np.sqrt(n)) if np.ptp(values) else 0.0
    return Interval(mean, mean - reach, mean + reach, n)


def defined(values: Sequence[float]) -> np.ndarray:
    """Those that are not NaN."""
    values = np.asarray(values, dtype=float)
    return values[~np.isnan(values)]


def t_quantile(n: int) -> float:
    """How many standard errors the interval of a mean of ``n`` values reaches to each side."""
    return float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
