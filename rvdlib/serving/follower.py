"""Keeps a defender at the end of the log, whoever writes to it; and the log short.

When a service starts, and no other one runs on the folder, the log's ratings become those of the
model's file. The file says of which log it has them, so whoever is killed between the file and the new
log leaves nothing to be taken twice, and nothing is lost.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rvdlib.seeding import stream
from rvdlib.serving.alarm import DEVIATIONS, Alarm
from rvdlib.serving.defender import CACHE_BYTES, RealTimeDefender
from rvdlib.serving.errors import ServingError
from rvdlib.serving.log import RatingsLog, begin_anew, held, sync
from rvdlib.serving.state import Base
from rvdlib.serving.storing import load, read_about, save

MODEL, LOG = "defender.safetensors", "ratings.log"  # in the folder of a service

POLL_SECONDS = 0.25  # after which a worker looks for what another one has taken


class Follower:
    """One worker's defender and the log, from its beginning on. Safe with threads.

    Attributes:
        problem: why it could not go on; None while it can.
    """

    def __init__(self, defender: RealTimeDefender, log: RatingsLog):
        self.defender, self.log = defender, log
        self.problem: str | None = None
        self._position, self._mutex = log.begin, threading.RLock()
        self._alarm = reference(defender.state.base)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        self.catch_up()
        self._look_for_fakes()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self.log.close()

    def catch_up(self) -> int:
        """Apply what the log has more; all of it is one update. The version then."""
        with self._mutex:
            records, end = self.log.read(self._position)
            if records:
                self._apply(records)
                self._look_for_fakes()
            self._position = end
            return self.defender.version

    def take(self, record: dict) -> int:
        """Apply a record to all that the log has, and keep it. The version then.

        Raises:
            ServingError: as :meth:`RealTimeDefender.update`.
            OSError: if the disk does not take it. In either case, nothing is kept or changed.
        """

        def keep() -> None:
            self._position = self.log.append(record)

        with self._mutex:
            with self.log.alone():
                self.catch_up()
                self.defender.update(record["ratings"], remove=record["remove"], keep=keep)
            self._look_for_fakes()
            return self.defender.version

    def _apply(self, records: list[dict]) -> None:
        ratings: dict[tuple, float] = {}
        removed = set()
        for record in records:
            for user in record.get("remove", ()):
                ratings = {key: stars for key, stars in ratings.items() if key[0] != user}
                if self.defender.state.find(user) >= 0:
                    removed.add(user)
            ratings |= {(user, item): stars for user, item, stars in record.get("ratings", ())}
        try:
            self.defender.update(((*key, stars) for key, stars in ratings.items()), remove=removed)
        except ServingError:
            # A record is kept when all before it was applied and it was possible, so this is of a log
            # that somebody else wrote. What cannot be is left out.
            self.defender.monitors.add({"rvd_skipped_records_total": len(records) == 1})
            for record in records if len(records) > 1 else ():
                self._apply([record])

    def _follow(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            try:
                self.catch_up()
            except Exception as error:  # whatever it is: this worker must not pass for ready
                self.problem = f"{type(error).__name__}: {error}"
                return

    def _look_for_fakes(self) -> None:
        """What the ratings looked like when the model was made is taken to be without fakes."""
        surge = self._alarm.surge(self.defender.state.arrays.train)
        self.defender.monitors.gauge("rvd_surge", surge)
        self.defender.monitors.gauge("rvd_alarm", surge > DEVIATIONS)


def reference(base: Base) -> Alarm:
    """Of the ratings that the model was made with, whatever has been folded into them since."""
    return base.reference or Alarm.calibrated(base.arrays.train, stream(0, "alarm", "reference"))


@contextmanager
def taken_up(folder: Path, cache_bytes: int = CACHE_BYTES) -> Iterator[RealTimeDefender]:
    """The folder's defender, which is held until the end: nobody replaces the model or the log meanwhile.

    All ratings that were acknowledged go into the model's file first, if nobody else holds the folder.

    Raises:
        ServingError: for a model or a log that cannot be used.
    """
    with held(folder, alone=True) as alone:
        if alone and (folder / LOG).is_file():
            _fold(folder)
    with held(folder):  # whoever came between the two may have folded: the model is read after that
        yield load(folder / MODEL, cache_bytes=cache_bytes)


def _fold(folder: Path) -> None:
    about = read_about(folder / MODEL)
    log = RatingsLog(folder / LOG, about["sha256"], about.get("folded"))
    try:
        if not log.done:
            follower = Follower(load(folder / MODEL), log)
            if not follower.catch_up():
                return
            known = reference(follower.defender.state.base)
            save(follower.defender, folder / MODEL, reference=known, folded=about["sha256"])
            sync(folder)
            about = read_about(folder / MODEL)
        begin_anew(folder / LOG, about["sha256"])
    finally:
        log.close()
