"""The minutes of an audit: how many are left, a bar that shows it, and an end that cannot be missed."""

import math
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

    def __init__(self) -> None:
        super().__init__("the minutes were over")


class Clock:
    """Counts down ``minutes``; None: nothing ends by the clock. It shows itself to terminals alone.

    Attributes:
        all: seconds that there are, infinite without a limit.
    """

    def __init__(self, minutes: float | None, show: bool = False):
        self._start, self.all = time.monotonic(), 60 * minutes if minutes else math.inf
        spent = "{percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s" if minutes else "{n:.0f} s"
        options = {
            "disable": None if show else True,
            "file": sys.stderr,
            "leave": False,
            "mininterval": 1,
        }
        total = self.all if minutes else None
        self._bar = tqdm(total=total, bar_format="{desc} " + spent, **options)

    @property
    def seconds(self) -> float:
        """Since it started."""
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        return self.all - self.seconds

    def says(self, doing: str) -> None:
        """Show what is being done, and how much of the time has gone."""
        self._bar.set_description_str(doing, refresh=False)
        self._bar.n = min(self.seconds, self.all)
        self._bar.refresh()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Raise :class:`OutOfMinutes` well after the end, in whatever runs; in the main thread alone."""
        watched = threading.current_thread() is threading.main_thread() and self.all < math.inf
        before = signal.getsignal(signal.SIGALRM)
        try:
            if watched:
                signal.signal(signal.SIGALRM, _out)
                signal.setitimer(signal.ITIMER_REAL, max(0.01, _GRACE * self.all - self.seconds))
            yield
        finally:
            if watched:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
            self._bar.close()


def _out(*_: object) -> None:
    raise OutOfMinutes
