"""What each notebook depended on and wrote when it last ran *here*, and so whether it must again.

Kept under ``.cache``, never in ``results``, so that a clean clone executes every notebook; rows of
cells it takes from ``results`` (:mod:`rvdlib.lab.experiment.committed`). No notebook reads or writes a
file that another one writes.
"""

import json
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rvdlib import paths
from rvdlib.lab.experiment.fingerprint import (
    MACHINERY,
    Fingerprint,
    code_digests,
    difference,
    file_digest,
    library_versions,
)
from rvdlib.lab.profiles import PROFILES


class StudyRecords:
    """The records of one profile: notebook → fingerprint, in one file."""

    def __init__(self, profile: str):
        self.file = paths.STUDY_RECORDS / f"{profile}.json"
        self.folders = (paths.RESULTS / profile, paths.FIGURES / profile)
        self._records = self._read()

    def changes(self, name: str, parameters: dict[str, Any]) -> str:
        """Why a notebook must run: ``"new"``, or what has changed; empty if it need not."""
        if name not in self._records:
            return "new"
        old = self._records[name]
        new = self._dependencies(name, parameters)
        return difference(old, new | {"outputs": _digests(old["outputs"])})

    @contextmanager
    def running(self, name: str, parameters: dict[str, Any]) -> Iterator[None]:
        """Record a notebook that runs to its end inside; the files that change are its outputs.

        What it depends on is noted before, whatever is edited meanwhile.
        """
        dependencies, before = self._dependencies(name, parameters), self._stamps()
        yield
        after = self._stamps()
        outputs = {path for path, stamp in after.items() if before.get(path) != stamp}
        outputs |= self._records.get(name, {}).get("outputs", {}).keys() & after.keys()
        self._records[name] = dependencies | {"outputs": _digests(outputs)}
        paths.write_atomically(self.file, json.dumps(self._records, indent=1))

    @staticmethod
    def _dependencies(name: str, parameters: dict[str, Any]) -> Fingerprint:
        source = paths.NOTEBOOKS / f"{name}.ipynb"
        shared = (path for path in paths.PARAMS.glob("*.yml") if path.stem not in PROFILES)
        return {
            "notebook": {source.name: file_digest(source)},
            "parameters": {k: json.dumps(v, default=str) for k, v in parameters.items()},
            "shared parameters": {path.name: file_digest(path) for path in shared},
            "code": code_digests(without=MACHINERY),
            # A published data set is pinned by its hash, which is code.
            "data": {text: file_digest(path) for text, path in _named_files(parameters)},
            "versions": library_versions(),
        }

    def _stamps(self) -> dict[str, tuple[int, int]]:
        """Every file of the profile's results and figures, with its time and size.

        Not those of finished rows, which several notebooks share.
        """
        files = (p for folder in self.folders for p in folder.glob("*") if p.is_file())
        found = {path.relative_to(paths.OUTPUT).as_posix(): path.stat() for path in files}
        return {path: (status.st_mtime_ns, status.st_size) for path, status in found.items()}

    def _read(self) -> dict[str, Fingerprint]:
        try:
            records = json.loads(self.file.read_bytes())
            return {name: record for name, record in records.items() if record["outputs"]}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError):
            warnings.warn(f"{self.file} is damaged: every notebook is run again", stacklevel=3)
            return {}


def _digests(outputs: Iterable[str]) -> dict[str, str]:
    return {path: file_digest(paths.OUTPUT / path) for path in sorted(outputs)}


def _named_files(parameters: dict[str, Any]) -> Iterator[tuple[str, Path]]:
    """The values, those in lists too, that name a file as seen from a notebook."""
    for value in parameters.values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and (path := paths.NOTEBOOKS / text).is_file():
                yield text, path
