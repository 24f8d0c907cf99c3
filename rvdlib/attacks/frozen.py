"""Frozen poison: fake profiles in a file, with all that made them, for any victim or program to eat.

A ``.npz`` without pickles that holds

- ``data``, ``indices``, ``indptr``, ``shape``, ``format``: the profiles, (m, items) CSR of stars, under
  the names of ``scipy.sparse.save_npz``, so that SciPy and :func:`~rvdlib.attacks.from_file.from_file`
  read them, too;
- ``item_ids``: a JSON text, a list of the data set's own names of the items by column, so that a
  program that numbers items otherwise can tell which are meant;
- ``targets`` and ``levels`` of the :class:`~rvdlib.threat_model.ThreatModel` they were made for;
- ``origin``: a JSON text, what made them;
- ``sha256``: of all the others, name, type, shape and bytes, in the order of their names.

The same profiles and origin give the same bytes.
"""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from rvdlib.attacks.archives import CSR, MAX_BYTES, open_arrays, read_csr
from rvdlib.attacks.profiles import check_profiles
from rvdlib.data import Ratings
from rvdlib.paths import write_atomically
from rvdlib.sealing import seal
from rvdlib.threat_model import Catalogue, ThreatModel

_NAMES = (*CSR, "item_ids", "targets", "levels", "origin", "sha256")


@dataclass(frozen=True, eq=False)
class FrozenPoison:
    """Fake profiles and where they come from.

    Attributes:
        profiles: (m, items) CSR of stars, float32.
        item_ids: (items,) raw ids by column, as text, in an array of Python's own.
        targets: (T,) item indices that they promote.
        levels: the rating scale, ascending.
        origin: names → what JSON can hold. ``rvd attack`` writes attack, options, dataset,
            dataset_sha256, seed, attack_size, filler_size, visible_share, target_set,
            crafted_for, rvdlib_version and objectives.

    Raises:
        ValueError: if ``item_ids`` are not one text a column, all different; if the profiles do not
            promote all targets, on the scale and with one number of fillers; or ``origin`` is
            nothing that JSON can hold.
    """

    profiles: sp.csr_matrix
    item_ids: np.ndarray
    targets: np.ndarray
    levels: np.ndarray
    origin: Mapping

    def __post_init__(self):
        shape = self.profiles.shape
        ids = self.item_ids.tolist() if self.item_ids.ndim == 1 else []
        different = {each for each in ids if isinstance(each, str)}
        if not len(different) == len(ids) == shape[1]:
            raise ValueError(
                f"item_ids must be {shape[1]} different texts, got {len(different)} among {len(ids)}"
            )
        per_profile = np.diff(self.profiles.indptr)
        filler_size = int(per_profile[0]) - len(self.targets) if shape[0] else 0
        nobody = sp.csr_matrix((1, shape[1]), dtype=np.float32)
        check_profiles(
            ThreatModel(nobody, self.targets, shape[0], max(0, filler_size), self.levels),
            self.profiles,
        )
        try:
            json.dumps(self.origin, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"origin must be what JSON can hold: {error}") from None

    def profiles_for(self, data: Ratings | Catalogue, *, by_id: bool = False) -> sp.csr_matrix:
        """The profiles, each item in its column of ``data``: (m, items) CSR of stars, float32.

        Args:
            data: the data set that they were made for. In whatever order it has its items, they are
                found by their raw ids.
            by_id: take any data set that has the items that the profiles rate.

        Raises:
            ValueError: for another data set, by its SHA-256 where both have one, else by its name;
                or one that lacks an item which the profiles rate. The message names both.
        """
        own, other = self._label(), f"{data.name!r} (SHA-256 {data.sha256[:12] or 'unknown'})"
        if not (by_id or self._is_of(data)):
            raise ValueError(
                f"was frozen for {own}, not for {other}: the columns may be other items. "
                "by_id=True takes the items of the same raw id"
            )
        ids = [str(raw) for raw in data.item_ids.tolist()]
        if ids == self.item_ids.tolist():
            return self.profiles
        places = {raw: place for place, raw in enumerate(ids)}
        columns = np.array([places.get(raw, -1) for raw in self.item_ids.tolist()])
        cells = self.profiles.tocoo()
        lacking = cells.col[columns[cells.col] < 0]
        if len(lacking):
            raise ValueError(
                f"rates the item {self.item_ids[lacking[0]]!r} of {own}, which {other} does not have"
            )
        moved = sp.csr_matrix(
            (cells.data, (cells.row, columns[cells.col])), shape=(cells.shape[0], len(ids))
        )
        moved.sort_indices()
        return moved

    def _is_of(self, data: Ratings | Catalogue) -> bool:
        origin = self.origin
        for key, known in (("dataset_sha256", data.sha256), ("dataset", data.name)):
            if origin.get(key) and known:
                return origin[key] == known
        return [str(raw) for raw in data.item_ids.tolist()] == self.item_ids.tolist()

    def _label(self) -> str:
        name, sha256 = (self.origin.get(key) for key in ("dataset", "dataset_sha256"))
        return f"{name!r} (SHA-256 {str(sha256 or 'unknown')[:12]})"

    def save(self, path: str | Path) -> None:
        """Write ``path`` whole or not at all.

        Raises:
            ValueError: unless the name ends in .npz, or if it were too large to be read again.
            OSError: if it cannot be written.
        """
        path = check_frozen_name(path)
        arrays = {
            "data": self.profiles.data.astype("<f4"),
            "indices": self.profiles.indices.astype("<i4"),
            "indptr": self.profiles.indptr.astype("<i4"),
            "shape": np.array(self.profiles.shape, dtype="<i8"),
            "format": np.array(b"csr"),
            # Not an array of texts: each would take as much room as the longest.
            "item_ids": np.array(json.dumps(self.item_ids.tolist())),
            "targets": self.targets.astype("<i8"),
            "levels": self.levels.astype("<f4"),
            "origin": np.array(json.dumps(self.origin, sort_keys=True, allow_nan=False)),
        }
        size = sum(array.nbytes for array in arrays.values())
        if size > MAX_BYTES - 10_000:  # beside the arrays there are their headers
            raise ValueError(f"{path} would unpack to {size:,} bytes, more than {MAX_BYTES:,}")
        content = io.BytesIO()
        np.savez_compressed(content, **arrays, sha256=np.array(seal(arrays)))
        write_atomically(path, content.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "FrozenPoison":
        """Read what :meth:`save` has written.

        Raises:
            ValueError: naming the file and the problem, if it cannot be read, has been changed, or
                holds what is not a :class:`FrozenPoison`.
        """
        try:
            with open_arrays(Path(path)) as arrays:
                return cls.from_arrays(arrays)
        except Exception as error:  # what a damaged archive makes NumPy and zlib raise has no end
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "FrozenPoison":
        """Read the arrays of an open archive; ValueError if they are no frozen profiles."""
        missing = sorted(set(_NAMES) - set(arrays))
        if missing:
            raise ValueError(f"no frozen profiles, it has no {missing[0]}")
        ids, origin = arrays["item_ids"], json.loads(str(arrays["origin"]))
        ids = json.loads(str(ids)) if ids.ndim == 0 else ids.tolist()
        if not isinstance(ids, list) or not isinstance(origin, dict):
            raise ValueError("item_ids must be a list, and origin have names")
        profiles, targets, levels = read_csr(arrays), arrays["targets"], arrays["levels"]
        return cls(profiles, texts(ids), targets, levels, origin)


def texts(ids: Iterable) -> np.ndarray:
    """Raw ids as text, in an array of Python's own strings: none takes the room of another."""
    return np.array([*map(str, ids)], dtype=object)


def check_frozen_name(path: str | Path) -> Path:
    """The path, if it is one for frozen profiles.

    Raises:
        ValueError: unless the name ends in .npz.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: frozen profiles need a name that ends in .npz")
    return path
