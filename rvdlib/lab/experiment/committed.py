"""Finished rows in the repository: ``results/PROFILE/cells``, tidy, sorted and fit for a diff.

One CSV file for each data set, kind of row, regime, victim and seed:
``ml-100k/cells-rating-MF-0.csv``, so that none is large. A line holds the key (SHA-256 of the
specification), the specification, what was measured at full precision, what it cost (``seconds`` of
wall time, ``peak_mib`` of the process), the fingerprint that it was ``computed_with``, and a checksum
of the line; long values stand in ``references.json``. A value that the row repeats of its
specification is written once.

A row counts as finished if its code and data are those of today. Versions of packages and the kernels
of a processor are on record and do not count: they move last digits, which `rvd verify` holds against
a tolerance. What `rvd verify` carried over to newer code has also ``carried_to``, the
fingerprint under which the row counts now, and ``verified_by``, the sample that was computed again.
"""

import csv
import functools
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.fingerprint import Fingerprint, difference
from rvdlib.lab.experiment.lines import (
    KEY,
    LAST,
    Kept,
    Line,
    checksum_of,
    columns_of,
    flat,
    key_of,
    line_of,
    references_in,
    restored,
)
from rvdlib.lab.experiment.plain_values import decode, encode
from rvdlib.lab.experiment.references import RESTORE, References
from rvdlib.lab.profiles import COMMITTED

NEW = "new"
Row = dict[str, Any]
KINDS = {"scenario": "cells", "quality": "recommenders", "retraining": "retrainings"}


class Found(NamedTuple):
    """A store's answer: the rows, or None and the reason why they must be computed."""

    rows: list[Row] | None
    reason: str = ""


class CommittedStore:
    """The rows of one profile."""

    def __init__(self, folder: Path):
        self.folder = folder

    def lookup(self, spec: Mapping[str, Any], fingerprint: Fingerprint) -> Found:
        """As :meth:`rvdlib.lab.experiment.store.CellStore.lookup`, under the same code and data.

        Raises:
            StudyError: names the file and line of a row that is damaged, or a file that is.
        """
        kept = self.kept(spec)
        if kept is None:
            return Found(None, NEW)
        if changed := changes(kept.fingerprint, fingerprint):
            return Found(None, changed)
        return Found([decode(kept.row)])

    def kept(self, spec: Mapping[str, Any]) -> Kept | None:
        """The row of this specification, whatever it was computed with; None if there is none."""
        encoded = encode(spec)
        return next(iter(self._restored(self.path(encoded), key_of(encoded))), None)

    def all(self) -> Iterator[Kept]:
        """Every row, checked."""
        for path in self._files():
            yield from self._restored(path)

    def seed(self) -> int:
        """One that follows from the checksums of all lines: another store has another one."""
        lines = (line for path in self._files() for line in self._lines(path).values())
        checksums = sorted(line[LAST[-1]] for line in lines)
        return int(hashlib.sha256("".join(checksums).encode()).hexdigest()[:8], 16)

    def write(self, rows: Iterable[Kept] = (), without: Iterable[str] = ()) -> None:
        """Drop the keys ``without``; put ``rows`` in, in place of those of the same specification.

        Only one process may write at once. One that is killed leaves each file old or new, and
        sound.
        """
        references, dropped = References(self.folder / "references.json"), {*without}
        known = {
            path: {key: line for key, line in self._lines(path).items() if key not in dropped}
            for path in self._files()
        }
        for kept in rows:
            lines = known.setdefault(self.path(kept.spec), {})
            lines[key_of(kept.spec)] = line_of(kept, references)
        if not known:
            return
        references.write()
        for path, lines in known.items():
            _write(path, lines, references)
        lines = (line for at in known.values() for line in at.values())
        references.write({text for line in lines for text in references_in(line)})

    def path(self, spec: Mapping[str, Any]) -> Path:
        """Where the row of an encoded specification stands."""
        columns = dict(flat(spec))
        kind = spec.get("what") or KINDS.get(first := next(iter(spec)), first)
        dataset = re.sub(r"[^\w-]+", "_", str(columns.get("dataset", "none"))).strip("_")
        of = [columns.get("regime", "any"), columns.get("victim"), columns.get("seed", 0)]
        place = [str(each) for each in (kind, *of) if each is not None]
        return self.folder / dataset / f"{'-'.join(place)}.csv"

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*/*.csv"))

    def _restored(self, path: Path, key: str = "") -> list[Kept]:
        """The rows of a file, or that of a key; once more if it was written meanwhile."""
        while True:
            lines = self._lines(path)
            wanted = {key} & lines.keys() if key else lines
            try:
                references = wanted and References(self.folder / "references.json")
                found = {key: restored(lines[key], references) for key in wanted}
            except StudyError:
                if self._lines(path) is lines:
                    raise
                continue
            for key, kept in found.items():
                if key_of(kept.spec) != key:
                    raise StudyError(f"{path}: the row of {key} was altered: {RESTORE}")
            return [*found.values()]

    def _lines(self, path: Path) -> dict[str, Line]:
        try:
            status = path.stat()
        except FileNotFoundError:
            return {}
        return _read(path, status.st_mtime_ns, status.st_size)


def committed_stores() -> tuple[CommittedStore, ...]:
    """Where rows are looked for: the user's results, and those that came with the clone."""
    results = dict.fromkeys([paths.RESULTS, paths.PROJECT / "results"])
    return tuple(store_of(name, folder) for folder in results for name in COMMITTED)


def store_of(profile: str, results: Path | None = None) -> CommittedStore:
    """The store of a profile, in the folder of results that the study writes to unless said."""
    return CommittedStore((results or paths.RESULTS) / profile / "cells")


def changes(old: Fingerprint, new: Fingerprint) -> str:
    """What counts of :func:`rvdlib.lab.experiment.fingerprint.difference`: data and code."""
    old, new = (
        {name: part[name] for name in ("data", "code") if name in part} for part in (old, new)
    )
    return difference(old, new)


@functools.lru_cache(maxsize=1024)
def _read(path: Path, changed: int, size: int) -> Mapping[str, Line]:
    """Key → line, every checksum checked."""
    lines: dict[str, Line] = {}
    try:
        text = path.read_bytes().decode()
        reader = csv.DictReader(io.StringIO(text), strict=True)
        whole = text.endswith("\n") and tuple((reader.fieldnames or [])[-len(LAST) :]) == LAST
        if not whole:
            raise StudyError(f"{path} is cut off, or its first line was altered: {RESTORE}")
        for fields in reader:
            whole = None not in fields and None not in fields.values()
            line = {name: text for name, text in fields.items() if text}
            if not whole or line.get(LAST[-1]) != checksum_of(line):
                wrong = "was altered" if whole else "is cut off or too long"
                raise StudyError(f"{path}, line {reader.line_num} {wrong}: {RESTORE}")
            if lines.setdefault(line[KEY], line) is not line:
                raise StudyError(f"{path}, line {reader.line_num} is there twice: {RESTORE}")
    except (csv.Error, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is damaged ({error}): {RESTORE}") from None
    return lines


def _write(path: Path, lines: Mapping[str, Line], references: References) -> None:
    if not lines:
        path.unlink(missing_ok=True)
        return
    # By key, so that the order of columns does not depend on which line was first.
    names = [name for _, line in sorted(lines.items()) for name in columns_of(line, references)]
    columns = [*dict.fromkeys(names), *LAST]
    ordered = sorted(lines.values(), key=lambda line: [line.get(name, "") for name in columns[1:]])
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(ordered)
    if not path.is_file() or path.read_text() != file.getvalue():
        paths.write_atomically(path, file.getvalue())
