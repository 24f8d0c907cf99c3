"""How serving goes, in numbers: how the defence changes lists, how long it takes, what it costs.

Written as Prometheus reads it (text format 0.0.4). No label is ever a user's id.
"""

import threading
from collections import deque

import numpy as np

_WINDOW = 4096  # of the last requests: what quantiles and means are of
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
        self._seconds: deque[float] = deque(maxlen=_WINDOW)
        self._lengths: deque[int] = deque(maxlen=_WINDOW)
        self._changed: deque[float] = deque(maxlen=_WINDOW)
        self._counts: dict[str, float] = {}
        self._gauges: Numbers = {}
        for kind in ("undefended", "popularity"):
            self._add(f'rvd_fallbacks_total{{list="{kind}"}}', 0)
        self._add("rvd_short_lists_total", 0)
        self._add("rvd_empty_lists_total", 0)

    def _add(self, name: str, by: float) -> None:
        self._counts[name] = self._counts.get(name, 0) + by

    def served(
        self, seconds: float, length: int, n_defended: int, n: int, fallback: str | None
    ) -> None:
        """``length`` items of ``n``, of which the defence listed ``n_defended``."""
        with self._lock:
            self._add("rvd_short_lists_total", n_defended < n)
            self._add("rvd_empty_lists_total", not n_defended)
            self._seconds.append(seconds)
            self._lengths.append(length)
            self._add("rvd_requests_total", 1)
            self._add("rvd_request_duration_seconds_sum", seconds)
            if fallback:
                self._add(f'rvd_fallbacks_total{{list="{fallback}"}}', 1)

    @property
    def wants_comparison(self) -> bool:
        with self._lock:
            return self._counts.get("rvd_requests_total", 0) % self.compared_every == 0

    def compared(self, items: np.ndarray, undefended: np.ndarray) -> None:
        """Of the undefended list, the share that the defended one does not have."""
        if len(undefended):
            with self._lock:
                self._changed.append(1 - np.isin(undefended, items).mean())

    def clicked(self, kind: str, hits: int, clicks: int) -> None:
        """What users rated after their list was made: the accuracy that can be seen while serving."""
        with self._lock:
            self._add(f'rvd_click_hits_total{{list="{kind}"}}', hits)
            if kind == "defended":
                self._add("rvd_clicks_total", clicks)

    def updated(self, n_ratings: int, n_removed: int) -> None:
        with self._lock:
            self._add("rvd_updates_total", 1)
            self._add("rvd_ratings_total", n_ratings)
            self._add("rvd_removed_users_total", n_removed)

    def counted(self, name: str, by: float = 1) -> None:
        """Somebody else's count, under its full name with labels."""
        with self._lock:
            self._add(name, by)

    def gauge(self, name: str, value: float) -> None:
        with self._lock:
            self._gauges[name] = value

    def numbers(self, defender) -> Numbers:
        """Name with labels → value, all that is known of the ``defender`` that these are of."""
        hits, misses = defender.cache.hits_and_misses
        with self._lock:
            found = dict(self._counts) | self._gauges
            for share in (0.5, 0.99):
                name = f'rvd_request_duration_seconds{{quantile="{share}"}}'
                found[name] = _quantile(self._seconds, share)
            found["rvd_request_duration_seconds_count"] = found.get("rvd_requests_total", 0)
            found["rvd_list_length_mean"] = _mean(self._lengths)
            found["rvd_list_changed_share_mean"] = _mean(self._changed)
        return found | {
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
        family = name.partition("{")[0]
        if family.endswith(("_sum", "_count")):
            family = family.rpartition("_")[0]
        families.setdefault(family, []).append(f"{name} {_number(value)}")
    lines = [
        "# Of the worker that answers: each counts for itself, and a sum takes a scrape of each."
    ]
    for family, members in families.items():
        summary = any("quantile=" in member for member in members)
        kind = "summary" if summary else "counter" if family.endswith("_total") else "gauge"
        lines += [f"# TYPE {family} {kind}", *members]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return "NaN" if np.isnan(value) else f"{value:.10g}"


def _quantile(values: deque, share: float) -> float:
    return float(np.quantile(values, share)) if values else float("nan")


def _mean(values: deque) -> float:
    return float(np.mean(values)) if values else float("nan")
