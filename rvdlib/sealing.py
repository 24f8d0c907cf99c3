"""A hash over arrays: whether a file still holds what was written."""

import hashlib
from collections.abc import Mapping

import numpy as np


def seal(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of name, type, shape and bytes of all arrays but ``sha256``, in order of their names."""
    digest = hashlib.sha256()
    for name in sorted(set(arrays) - {"sha256"}):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
