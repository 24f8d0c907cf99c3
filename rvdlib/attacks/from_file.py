"""Somebody else's fake users, read from a file: checked, never unpickled.

- ``.npy``: a dense (profiles, items) array, 0 where there is no rating.
- ``.npz``: the same under any one name, or a CSR matrix as ``scipy.sparse.save_npz`` writes it, or
  as :mod:`rvdlib.attacks.frozen` does, whose SHA-256 it must fit then. Its ``item_ids`` are not
  asked: whose columns stand for other items must reorder them first.
- ``.csv``: a header with the columns user, item and rating in any order, one rating a line.

Items are columns of the ratings matrix, counted from 0; ``np.searchsorted(ratings.item_ids, raw)``
turns raw ids into them. Users in a csv may be called anything; profiles keep their order of
appearance.
"""

import csv
import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from rvdlib.attacks.profiles import check_profiles
from rvdlib.threat_model import ThreatModel

MAX_BYTES = 1 << 30
CSR = ("data", "indices", "indptr", "shape", "format")
_COLUMNS = ("user", "item", "rating")


def from_file(
    threat: ThreatModel, rng: np.random.Generator, *, path: str | Path, draw: bool = False
) -> sp.csr_matrix:
    """The profiles in ``path``, in the file's order; the random stream is used only to draw.

    Args:
        draw: take m of the file's profiles at random, without repeats. By default the file must
            hold exactly m.

    Raises:
        ValueError: naming the file and the problem, if it cannot be read, holds another number of
            profiles, or one of its profiles does not keep the budget and the scale
            (:func:`rvdlib.attacks.profiles.check_profiles`). Undrawn profiles are checked, too.
    """
    path = Path(path)
    readers = {
        ".npy": _read_npy,
        ".npz": _read_npz,
        ".csv": partial(_read_csv, n_items=threat.n_items),
    }
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: profiles must be a {', '.join(readers)} file")
    try:
        profiles = readers[path.suffix.lower()](path)
        _check_count(profiles.shape[0], threat.n_fakes, draw)
        check_profiles(threat, profiles)
    except Exception as error:  # what a damaged archive makes NumPy and zlib raise has no end
        raise ValueError(f"{path}: {error}") from error
    profiles = profiles.astype(np.float32)
    if draw:
        return profiles[rng.choice(profiles.shape[0], threat.n_fakes, replace=False)]
    return profiles


def _check_count(found: int, n_fakes: int, draw: bool) -> None:
    if found < n_fakes or (found > n_fakes and not draw):
        remedy = "" if found < n_fakes else " (draw=True takes as many at random)"
        raise ValueError(f"holds {found} profiles, the budget is {n_fakes}{remedy}")


def _read_npy(path: Path) -> sp.csr_matrix:
    # Mapped, so that a header that promises more than the file holds allocates nothing.
    return _from_dense(np.load(path, mmap_mode="r", allow_pickle=False))


def _read_npz(path: Path) -> sp.csr_matrix:
    with open_arrays(path) as arrays:
        if len(arrays) == 1:
            return _from_dense(*arrays.values())
        return read_csr(arrays)


@contextmanager
def open_arrays(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays in an npz, none of them unpickled, each read when it is asked for.

    Raises:
        ValueError: if they are too large, or do not fit the ``sha256`` among them, if there is one.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise ValueError(f"unpacks to {size:,} bytes, more than {MAX_BYTES:,}")
    with np.load(path, allow_pickle=False) as arrays:
        if "sha256" in arrays and str(arrays["sha256"]) != seal(arrays):
            raise ValueError("was changed after it was written: its SHA-256 does not fit")
        yield arrays


def seal(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of name, type, shape and bytes of all arrays but ``sha256``, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(set(arrays) - {"sha256"}):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def read_csr(arrays: Mapping[str, np.ndarray]) -> sp.csr_matrix:
    """The matrix that ``scipy.sparse.save_npz`` made these arrays of; further ones are ignored.

    Raises:
        ValueError: unless it is a CSR matrix in canonical form.
    """
    if not set(CSR) <= set(arrays) or arrays["format"] != b"csr":
        raise ValueError(
            f"holds {sorted(arrays)}: expected one dense array or a CSR matrix of save_npz"
        )
    data, indices, indptr, shape, _ = (arrays[name] for name in CSR)
    _check_numeric(data)
    profiles = sp.csr_matrix((data, indices, indptr), shape=tuple(shape.tolist()))
    profiles.check_format(full_check=True)
    profiles.sort_indices()
    if not profiles.has_canonical_format:
        raise ValueError("rates an item twice in one profile")
    return profiles


def _read_csv(path: Path, n_items: int) -> sp.csr_matrix:
    users, items, stars = [], [], []
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines)
        header = [name.strip() for name in next(reader, [])]
        if sorted(header) != sorted(_COLUMNS):
            raise ValueError(f"line 1: expected the columns {', '.join(_COLUMNS)}, got {header}")
        for fields in filter(None, reader):
            try:
                row = dict(zip(header, fields, strict=True))
                users.append(row["user"])
                items.append(int(row["item"]))
                stars.append(float(row["rating"]))
            except ValueError as error:
                raise ValueError(f"line {reader.line_num}: {error}") from error
            if not 0 <= items[-1] < n_items:
                raise ValueError(
                    f"line {reader.line_num}: item must be from 0 to {n_items - 1}, got {items[-1]}"
                )
    rows, names = pd.factorize(np.array(users, dtype=object))
    profiles = sp.csr_matrix((stars, (rows, items)), shape=(len(names), n_items))
    if profiles.nnz != len(stars):
        raise ValueError("rates an item twice in one profile")
    profiles.sort_indices()
    return profiles


def _from_dense(array: np.ndarray) -> sp.csr_matrix:
    _check_numeric(array)
    if array.ndim != 2:
        raise ValueError(f"expected a (profiles, items) array, got the shape {array.shape}")
    return sp.csr_matrix(np.asarray(array))


def _check_numeric(array: np.ndarray) -> None:
    if array.dtype.kind not in "iuf":
        raise ValueError(f"expected numbers, got the type {array.dtype}")
