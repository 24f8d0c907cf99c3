"""How serving goes, in numbers: how the defence changes lists, how long it takes, what it costs.

Written as Prometheus reads it (text format 0.0.4). No label is ever a user's id.
"""

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

_WINDOW = 4096  # of the last requests: what quantiles and means are of
_ABOUT = (
    "# Of the worker that answers. Requests are its own: a sum takes a scrape of each worker. Updates, "
    "ratings, removals, clicks and the alarm are of the one log, and alike in all."
)
Numbers = dict[str, float]


class Monitors:
    """Counts since the start, and the last requests. Safe with threads.

    Attributes:
        list_length: of the lists that later clicks are looked for in.
        most_clicks: users of an update whose clicks are looked for.
    """

    list_length, most_clicks = 50, 20
    compared_every = 200  # requests: more often, and it would be one of a hundred that wait longest

    def __init__(self):
        self._lock = threading.Lock()
        self._seconds, self._lengths, self._changed = (deque(maxlen=_WINDOW) for _ in range(3))
        names = ("requests", "short_lists", "empty_lists")
        self._numbers: Numbers = {f"rvd_{name}_total": 0 for name in names}
        for kind in ("undefended", "popularity"):
            self._numbers[f'rvd_fallbacks_total{{list="{kind}"}}'] = 0

    def add(self, by: Numbers) -> None:
        """Add to counts, by their names with labels."""
        with self._lock:
            for name, value in by.items():
                self._numbers[name] = self._numbers.get(name, 0) + value

    def gauge(self, name: str, value: float) -> None:
        with self._lock:
            self._numbers[name] = value

    def served(
        self, seconds: float, length: int, n_defended: int, n: int, fallback: str | None
    ) -> None:
        """``length`` items of ``n``, of which the defence listed ``n_defended``."""
        with self._lock:
            self._seconds.append(seconds)
            self._lengths.append(length)
        by = {
            "rvd_requests_total": 1,
            "rvd_request_duration_seconds_sum": seconds,
            "rvd_short_lists_total": n_defended < n,
            "rvd_empty_lists_total": not n_defended,
        }
        self.add(by | ({f'rvd_fallbacks_total{{list="{fallback}"}}': 1} if fallback else {}))

    @property
    def wants_comparison(self) -> bool:
        return self._numbers["rvd_requests_total"] % self.compared_every == 0

    def compared(self, defended: np.ndarray, undefended: np.ndarray) -> None:
        """Of the undefended list, the share that the defended one does not have."""
        if len(undefended):
            with self._lock:
                self._changed.append(1 - np.isin(undefended, defended).mean())

    def numbers(self, defender) -> Numbers:
        """Name with labels → value, all that is known of the ``defender`` that these are of."""
        hits, misses = defender.cache.hits_and_misses
        with self._lock:
            found = self._numbers | {
                f'rvd_request_duration_seconds{{quantile="{share}"}}': _of(
                    np.quantile, self._seconds, share
                )
                for share in (0.5, 0.99)
            }
            found["rvd_list_length_mean"] = _of(np.mean, self._lengths)
            found["rvd_list_changed_share_mean"] = _of(np.mean, self._changed)
        return found | {
            "rvd_request_duration_seconds_count": found["rvd_requests_total"],
            "rvd_cache_hits_total": hits,
            "rvd_cache_misses_total": misses,
            "rvd_cache_bytes": defender.cache.n_bytes,
            "rvd_model_version": defender.version,
            "rvd_users": defender.state.n_users,
        }


def as_prometheus(numbers: Numbers) -> str:
    """The text that a scrape gets: each family with its type, then its numbers."""
    families: dict[str, list[str]] = {}
    for name, value in sorted(numbers.items()):
        family = name.partition("{")[0].removesuffix("_sum").removesuffix("_count")
        written = "NaN" if np.isnan(value) else f"{value:.10g}"
        families.setdefault(family, []).append(f"{name} {written}")
    lines = [_ABOUT]
    for family, members in families.items():
        summary = any("quantile=" in member for member in members)
        kind = "summary" if summary else "counter" if family.endswith("_total") else "gauge"
        lines += [f"# TYPE {family} {kind}", *members]
    return "\n".join(lines) + "\n"


def _of(statistic, values: Sequence[float], *given: float) -> float:
    return float(statistic(values, *given)) if values else float("nan")
