"""Ratings that were acknowledged, one record a line, in a file that only grows.

A record is written, and the disk has it (fsync), before anybody is told or reads it. A line is a checksum
(CRC-32) and JSON; the first names the model that the ratings are for. What a writer left unfinished when
it was killed was never acknowledged: the next one cuts it off. Several processes may write and read, one
at a time (flock). Whoever serves a folder holds it (:func:`held`), so that nobody begins a log anew that
others write to.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Iterator
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
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
            got = True
        except BlockingIOError:
            got = False
        yield got
    finally:
        os.close(place)


def sync(folder: Path) -> None:
    """The names of its files, too, outlive a power cut."""
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
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


def _record(line: bytes) -> dict | None:
    """None of a line that was changed."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    return json.loads(text) if checksum == b"%08x" % zlib.crc32(text) else None


class UnusableLog(ServingError):
    """A log that cannot be read, or is of another model."""


class RatingsLog:
    """The log at ``path``, made if there is none. One thread at a time.

    Args:
        base: hash of the model's file.
        folded: of the model before, whose log is in this one already.

    Attributes:
        begin: where the ratings begin.
        done: whether this is that log: it waits to be begun anew.

    Raises:
        UnusableLog: for a file that is no log, or the log of another model or format; it stays as it is.
    """

    def __init__(self, path: str | Path, base: str, folded: str | None = None):
        self.path, own = Path(path), _line(_first(base))
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._locked = False
        try:
            with self.alone(cut_off=False):
                line, whole, _ = os.pread(self._file, 4096, 0).partition(b"\n")
                if not whole and own.startswith(line):  # new, or whoever began it was killed
                    os.ftruncate(self._file, 0)
                    self.append(_first(base))
                    sync(self.path.parent)
                    line = own[:-1]
            first = _record(line)
            if first is None or first.get("format") != FORMAT:
                raise UnusableLog(f"{self.path} is no log of ratings of this version: move it away")
            self.done = folded is not None and first.get("base") == folded
            if first.get("base") != base and not self.done:
                raise UnusableLog(
                    f"{self.path} has ratings for another model: move it away, or serve that model"
                )
        except BaseException:
            self.close()
            raise
        self.begin = len(line) + 1

    @contextmanager
    def alone(self, *, cut_off: bool = True) -> Iterator[None]:
        """Nobody else reads or writes, and nothing is unfinished; within another such, nothing more.

        Raises:
            OSError: if the file was moved away or replaced: whoever starts next would not find what is
                written to it.
        """
        if self._locked:
            yield
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._locked = True
        try:
            if not os.path.samefile(self.path, self._file):
                raise OSError(f"{self.path} is another file than before: start again")
            if cut_off:
                self._cut_off()
            yield
        finally:
            self._locked = False
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def append(self, record: dict) -> int:
        """Keep a record for good: when this returns, the disk has it. Where it ends."""
        line = _line(record)
        with self.alone():
            before = os.fstat(self._file).st_size
            try:
                if os.write(self._file, line) < len(line):
                    raise OSError(f"{self.path}: the disk is full")
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, before)
                raise
            return before + len(line)

    def read(self, position: int) -> tuple[list[dict], int]:
        """The records from a position on, and where they end."""
        records = []
        with self.alone(), open(self._file, "rb", closefd=False) as file:
            file.seek(position)
            for line in file:
                position += len(line)
                record = _record(line)
                if record is None:
                    raise UnusableLog(
                        f"{self.path}: the line that ends at byte {position} was changed: restore the "
                        "file, or cut it off before that line and lose what follows"
                    )
                records.append(record)
        return records, position

    def close(self) -> None:
        os.close(self._file)

    def _cut_off(self) -> None:
        size = end = os.fstat(self._file).st_size
        while end and os.pread(self._file, 1, end - 1) != b"\n":
            block = os.pread(self._file, min(end, 4096), max(0, end - 4096))
            end = end - len(block) + block.rfind(b"\n") + 1
        if end < size:
            os.ftruncate(self._file, end)
