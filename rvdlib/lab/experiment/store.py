"""Evaluated cells on disk: a cell computed once with the same code and data is not computed again.

One JSON file a cell. Its name is the SHA-256 of the cell's specification, all that identifies it;
inside stand the specification, a fingerprint of all else that its numbers depend on, the rows, what
they cost, and a checksum over these. Any number of processes may read and write at once.

A cell is looked for here first, then in the repository's stores
(:mod:`rvdlib.lab.experiment.committed`). One rule holds for both: it counts as finished if its code and
data are those of today. Versions of packages and kernels of a processor are on record; whether they
move numbers, `rvd verify` tells. Under ``RVD_RECOMPUTE=1`` (``rvd study --recompute``) only cells count
that were computed here, with the versions and kernels of today.
"""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rvdlib import paths
from rvdlib.lab.experiment.committed import (
    NEW,
    CommittedStore,
    Found,
    Row,
    changes,
    committed_stores,
)
from rvdlib.lab.experiment.fingerprint import Fingerprint, difference
from rvdlib.lab.experiment.plain_values import decode, digest, encode

RECOMPUTE = "RVD_RECOMPUTE"


class CellStore:
    """Rows by specification, in a folder that is made when the first cell is saved.

    Args:
        folder: ``.cache/cells`` unless said.
        committed: stores to look into after the folder; the repository's unless a folder or they are
            said.
    """

    def __init__(
        self, folder: Path | None = None, committed: Sequence[CommittedStore] | None = None
    ):
        if committed is None:
            committed = () if folder else committed_stores()
        self.folder = folder or paths.CELL_STORE
        self.strict = os.environ.get(RECOMPUTE) == "1"
        self.committed = () if self.strict else tuple(committed)

    def path(self, spec: Mapping[str, Any]) -> Path:
        """Where the cell of this specification is kept, whether or not it is there yet."""
        return self.folder / f"{digest(encode(spec))}.json"

    def lookup(self, spec: Mapping[str, Any], fingerprint: Fingerprint) -> Found:
        """The rows of a cell, if they were computed with the same code and data.

        Otherwise ``rows`` is None and ``reason`` says why, e.g. ``"new"`` or
        ``"code changed: rvdlib/models/mf.py"``. A damaged record is one to compute again; it
        raises a ``UserWarning``.
        """
        content, reason = self._content(spec)
        if content is not None:
            compare = difference if self.strict else changes
            reason = compare(content["fingerprint"], fingerprint)
            if not reason:
                return Found(decode(content["rows"]))
        for store in self.committed:
            found = store.lookup(spec, fingerprint)
            if found.rows is not None:
                return found
            reason = found.reason if reason == NEW else reason
        return Found(None, reason)

    def record(self, spec: Mapping[str, Any]) -> dict[str, Any] | None:
        """What is in the folder: spec, fingerprint, rows and cost, encoded; None if nothing sound is."""
        return self._content(spec)[0]

    def save(
        self,
        spec: Mapping[str, Any],
        fingerprint: Fingerprint,
        rows: list[Row],
        cost: Mapping[str, float] | None = None,
    ) -> None:
        """Keep a cell's rows: plain values and NumPy scalars, NaN and infinity included.

        ``cost``: ``seconds`` of computing them and ``peak_mib`` of the process.

        Raises:
            TypeError: for a value that JSON has no word for; nothing is written then.
        """
        content = {
            "spec": encode(spec),
            "fingerprint": fingerprint,
            "rows": encode(rows),
            "cost": encode(cost or {}),
        }
        record = content | {"sha256": digest(content)}
        paths.write_atomically(self.path(spec), json.dumps(record, allow_nan=False))

    def _content(self, spec: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        path = self.path(spec)
        try:
            content = json.loads(path.read_bytes())
            intact = content.pop("sha256") == digest(content)
            intact = intact and digest(content["spec"]) == path.stem
            intact = intact and content.keys() >= {"fingerprint", "rows"}
        except FileNotFoundError:
            return None, NEW
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            intact = False
        if intact:
            return content, ""
        warnings.warn(f"{path}: the record is damaged, its cell is computed again", stacklevel=4)
        return None, "record corrupt"
