"""Evaluated cells on disk: a cell computed once with the same code and data is not computed again.

One JSON file a cell. Its name is the SHA-256 of the cell's specification, all that identifies it;
inside stand the specification, a fingerprint of all else that its numbers depend on, the rows, and
a checksum over these three. Any number of processes may read and write at once.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rvdlib import paths
from rvdlib.lab.experiment.fingerprint import Fingerprint, difference

Row = dict[str, Any]


class Found(NamedTuple):
    """A store's answer: the rows, or None and the reason why they must be computed."""

    rows: list[Row] | None
    reason: str = ""


class CellStore:
    """Rows by specification, in a folder that is made when the first cell is saved."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder or paths.CELL_STORE

    def path(self, spec: Mapping[str, Any]) -> Path:
        """Where the cell of this specification is kept, whether or not it is there yet."""
        return self.folder / f"{_digest(_encoded(spec))}.json"

    def lookup(self, spec: Mapping[str, Any], fingerprint: Fingerprint) -> Found:
        """The rows of a cell, if they were computed under the same fingerprint.

        Otherwise ``rows`` is None and ``reason`` says why, e.g. ``"new"`` or
        ``"code changed: rvdlib/models/mf.py"``. A damaged record is one to compute again; it
        raises a ``UserWarning``.
        """
        path = self.path(spec)
        try:
            record = json.loads(path.read_bytes())
            content = {name: record[name] for name in ("spec", "fingerprint", "rows")}
            intact = record["sha256"] == _digest(content) and _digest(content["spec"]) == path.stem
        except FileNotFoundError:
            return Found(None, "new")
        except (ValueError, KeyError, TypeError, RecursionError):
            intact = False
        if not intact:
            warnings.warn(
                f"{path}: the record is damaged, its cell is computed again", stacklevel=2
            )
            return Found(None, "record corrupt")
        if changed := difference(content["fingerprint"], fingerprint):
            return Found(None, changed)
        return Found(_decoded(content["rows"]))

    def save(self, spec: Mapping[str, Any], fingerprint: Fingerprint, rows: list[Row]) -> None:
        """Keep a cell's rows: plain values and NumPy scalars, NaN and infinity included.

        Raises:
            TypeError: for a value that JSON has no word for; nothing is written then.
        """
        content = {
            "spec": _encoded(spec),
            "fingerprint": fingerprint,
            "rows": _encoded(rows),
        }
        record = content | {"sha256": _digest(content)}
        paths.write_atomically(self.path(spec), json.dumps(record, allow_nan=False))


def _digest(encoded: Any) -> str:
    """SHA-256 of the canonical JSON: sorted keys, no spaces."""
    canonical = json.dumps(encoded, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _encoded(value: Any) -> Any:
    """Into strict JSON, which knows neither NumPy nor NaN: ``{"$float": "nan"}``."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and key != "$float" for key in value):
            raise TypeError(f"keys must be text, and not '$float', to be stored: {list(value)}")
        return {key: _encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if "$float" in value:
            return float(value["$float"])
        return {key: _decoded(item) for key, item in value.items()}
    return [_decoded(item) for item in value] if isinstance(value, list) else value
