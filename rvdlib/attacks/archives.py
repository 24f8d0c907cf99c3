"""Arrays in an npz, none of them unpickled, and the CSR matrix among them."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from rvdlib.sealing import seal

MAX_BYTES = 1 << 30
CSR = ("data", "indices", "indptr", "shape", "format")


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
    check_numeric(data)
    for name in ("indices", "indptr"):
        if arrays[name].dtype.kind not in "iu":  # a cast would make 1.9 the item 1
            raise ValueError(f"{name} must be integers, got the type {arrays[name].dtype}")
    profiles = sp.csr_matrix((data, indices, indptr), shape=tuple(shape.tolist()))
    profiles.check_format(full_check=True)
    profiles.sort_indices()
    if not profiles.has_canonical_format:
        raise ValueError("rates an item twice in one profile")
    return profiles


def check_numeric(array: np.ndarray) -> None:
    """Raise ``ValueError`` unless these are integers or floats."""
    if array.dtype.kind not in "iuf":
        raise ValueError(f"expected numbers, got the type {array.dtype}")
