"""Frozen poison: fake profiles in a file, with all that made them, for any victim or program to eat.

A ``.npz`` without pickles that holds

- ``data``, ``indices``, ``indptr``, ``shape``, ``format``: the profiles, (m, items) CSR of stars, under
  the names of ``scipy.sparse.save_npz``, so that SciPy and :func:`~rvdlib.attacks.from_file.from_file`
  read them, too;
- ``item_ids``: by column, the data set's own name of the item, so that a program that numbers items
  otherwise can tell which are meant;
- ``targets`` and ``levels`` of the :class:`~rvdlib.threat_model.ThreatModel` they were made for;
- ``origin``: a JSON text, what made them;
- ``sha256``: of all the others, name, type, shape and bytes, in the order of their names.

The same profiles and origin give the same bytes.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from rvdlib.attacks.from_file import CSR, open_arrays, read_csr, seal
from rvdlib.attacks.profiles import check_profiles
from rvdlib.paths import write_atomically
from rvdlib.threat_model import ThreatModel

_NAMES = (*CSR, "item_ids", "targets", "levels", "origin", "sha256")


@dataclass(frozen=True, eq=False)
class FrozenPoison:
    """Fake profiles and where they come from.

    Attributes:
        profiles: (m, items) CSR of stars, float32.
        item_ids: (items,) raw ids by column, as text.
        targets: (T,) item indices that they promote.
        levels: the rating scale, ascending.
        origin: names → what JSON can hold. ``rvd attack`` writes attack, options, dataset,
            dataset_sha256, seed, attack_size, filler_size, visible_share, target_set,
            rvdlib_version and objectives.

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
        ids = self.item_ids
        if ids.dtype.kind != "U" or ids.shape != shape[1:] or len(np.unique(ids)) < len(ids):
            raise ValueError(
                f"item_ids must be {shape[1]} different texts, got {ids.dtype} of {ids.shape}"
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

    def save(self, path: str | Path) -> None:
        """Write ``path`` whole or not at all.

        Raises:
            ValueError: unless the name ends in .npz.
        """
        path = Path(path)
        if path.suffix.lower() != ".npz":
            raise ValueError(f"{path}: frozen profiles need a name that ends in .npz")
        origin = json.dumps(self.origin, sort_keys=True, allow_nan=False)
        arrays = {
            "data": self.profiles.data.astype("<f4"),
            "indices": self.profiles.indices.astype("<i4"),
            "indptr": self.profiles.indptr.astype("<i4"),
            "shape": np.array(self.profiles.shape, dtype="<i8"),
            "format": np.array(b"csr"),
            # As wide as the longest, whatever they were stored in.
            "item_ids": np.array(self.item_ids.tolist(), dtype="<U"),
            "targets": self.targets.astype("<i8"),
            "levels": self.levels.astype("<f4"),
            "origin": np.array(origin),
        }
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
                missing = sorted(set(_NAMES) - set(arrays))
                if missing:
                    raise ValueError(f"no frozen profiles, it has no {missing[0]}")
                profiles = read_csr(arrays)
                origin = json.loads(str(arrays["origin"]))
                ids, targets, levels = (arrays[name] for name in ("item_ids", "targets", "levels"))
            return cls(profiles, ids, targets, levels, origin)
        except Exception as error:  # what a damaged archive makes NumPy and zlib raise has no end
            raise ValueError(f"{path}: {error}") from error
