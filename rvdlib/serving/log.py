"""Ratings that were acknowledged, one record a line, in a file that only grows.

A record is written, and the disk has it (fsync), before anybody is told. A line is a checksum (CRC-32)
and JSON; the first names the model that the ratings are for. What a writer left unfinished when it was
killed was never acknowledged: the next one cuts it off. Several processes may write, one at a time
(flock), and each reads what the others wrote. Whoever serves a folder holds it (:func:`held`), so that
nobody begins a log anew that others write to.
"""

import fcntl
import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rvdlib.paths import write_atomically
from rvdlib.serving.errors import ServingError

FORMAT = 1


@contextmanager
def held(folder: Path, *, alone: bool = False) -> Iterator[bool]:
    """Hold a folder with others; ``alone``: without, and False where others hold it."""
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        got = True
    except BlockingIOError:
        got = False
    try:
        yield got
    finally:
        os.close(place)


def sync(folder: Path) -> None:
    """The names of its files, too, outlive a power cut."""
    place = os.open(folder, os.O_RDONLY)
    os.fsync(place)
    os.close(place)


def begin_anew(path: Path, base: str) -> None:
    """A log without ratings in the place of another, whole or not at all; of a folder that is held alone."""
    write_atomically(path, _line(_first(base)))
    sync(path.parent)


def _first(base: str) -> dict:
    return {"format": FORMAT, "base": base}


def _line(record: dict) -> bytes:
    text = json.dumps(record, allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


class UnusableLog(ServingError):
    """A log that cannot be read, or is of another model."""


class RatingsLog:
    """The log at ``path``, made if there is none.

    Args:
        base: hash of the model's file.
        folded: of the model before, whose log is in this one already.

    Attributes:
        done: whether this is that log: it waits to be begun anew.

    Raises:
        UnusableLog: for a log of another model or format, or a line that was changed.
    """

    def __init__(self, path: str | Path, base: str, folded: str | None = None):
        self.path, self._mutex = Path(path), threading.Lock()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with self._alone():
            if not os.fstat(self._file).st_size:
                self._write(_first(base))
                sync(self.path.parent)
        first = next(iter(self._lines(0)), None)
        if first is None or first[0].get("format") != FORMAT:
            raise UnusableLog(f"{self.path} is no log of ratings of this version: move it away")
        self.done = folded is not None and first[0].get("base") == folded
        if first[0].get("base") != base and not self.done:
            raise UnusableLog(
                f"{self.path} has ratings for another model: move it away, or serve that model"
            )
        self.begin = first[1]

    def append(self, record: dict, check: Callable[[], object] = lambda: None) -> None:
        """Keep a record for good; when this returns, it is on the disk.

        ``check`` runs while nobody else can write, and the record is not kept if it raises.
        """
        with self._alone():
            check()
            self._write(record)

    def read(self, position: int) -> tuple[list[dict], int]:
        """The whole records from a position on, and where they end."""
        found = list(self._lines(position))
        return [record for record, _ in found], found[-1][1] if found else position

    def close(self) -> None:
        os.close(self._file)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread or process writes, and nothing is unfinished."""
        with self._mutex:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                self._cut_off()
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def _cut_off(self) -> None:
        size = end = os.fstat(self._file).st_size
        while end and os.pread(self._file, 1, end - 1) != b"\n":
            block = os.pread(self._file, min(end, 4096), max(0, end - 4096))
            end = end - len(block) + block.rfind(b"\n") + 1
        if end < size:
            os.ftruncate(self._file, end)

    def _write(self, record: dict) -> None:
        line, before = _line(record), os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(f"{self.path}: the disk is full")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, before)
            raise

    def _lines(self, position: int) -> Iterator[tuple[dict, int]]:
        """Records, each with the position behind it."""
        with self.path.open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                position += len(line)
                checksum, _, text = line.rstrip(b"\n").partition(b" ")
                if checksum != b"%08x" % zlib.crc32(text):
                    raise UnusableLog(
                        f"{self.path}: the line that ends at byte {position} was changed: restore the "
                        "file, or cut it off before that line and lose what follows"
                    )
                yield json.loads(text), position
