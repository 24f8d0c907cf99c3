"""The minutes of an audit: how many are left, a bar that shows it, and an end that cannot be missed."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

_GRACE = 1.1  # of the minutes, after which whatever is running is interrupted


class OutOfMinutes(KeyboardInterrupt):
    """The minutes are over: like an interrupt, nothing that catches Exception holds it up."""


class Clock:
    """Counts down ``minutes``; None: nothing ends by the clock."""

    def __init__(self, minutes: float | None, show: bool = False):
        self._start, self._minutes = time.monotonic(), minutes
        total = None if minutes is None else round(60 * minutes)
        form = "{desc} {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s" if minutes else None
        self._bar = tqdm(
            total=total,
            disable=not show,
            file=sys.stderr,
            bar_format=form,
            leave=False,
            mininterval=1,
        )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        """Seconds; infinite without a limit."""
        return float("inf") if self._minutes is None else 60 * self._minutes - self.seconds

    @property
    def all(self) -> float:
        return float("inf") if self._minutes is None else 60 * self._minutes

    def says(self, doing: str) -> None:
        """Show what is being done, and how much of the time has gone."""
        self._bar.set_description_str(doing, refresh=False)
        self._bar.n = min(self.seconds, self._bar.total or self.seconds)
        self._bar.refresh()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Raise :class:`OutOfMinutes` well after the end, in whatever runs; in the main thread alone."""
        watched = (
            self._minutes is not None and threading.current_thread() is threading.main_thread()
        )
        if not watched:
            yield
            return

        def out(*_):
            raise OutOfMinutes

        before = signal.signal(signal.SIGALRM, out)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, _GRACE * self.all - self.seconds))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def close(self) -> None:
        self._bar.close()
