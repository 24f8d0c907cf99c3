"""Values of rows and specifications in strict JSON, and in cells of a CSV file, back bit for bit."""

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

NOT_FINITE = ("nan", "inf", "-inf")
REFERENCE = "@"  # what a reference begins with, in place of a long value


def digest(encoded: Any) -> str:
    """SHA-256 of the canonical JSON: sorted keys, no spaces."""
    canonical = json.dumps(encoded, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def encode(value: Any) -> Any:
    """Into strict JSON, which knows neither NumPy nor NaN: ``{"$float": "nan"}``.

    Raises:
        TypeError: for keys that are no text, or are ``$float``.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and key != "$float" for key in value):
            raise TypeError(f"keys must be text, and not '$float', to be stored: {list(value)}")
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def decode(value: Any) -> Any:
    """What :func:`encode` was given, in plain Python types."""
    if isinstance(value, dict):
        if "$float" in value:
            return float(value["$float"])
        return {key: decode(item) for key, item in value.items()}
    return [decode(item) for item in value] if isinstance(value, list) else value


def to_text(encoded: Any) -> str:
    """An encoded value as the text of a cell: JSON, but for plain words and ``nan``, ``inf``, ``-inf``.

    Never empty: an empty cell is none.
    """
    if isinstance(encoded, dict) and "$float" in encoded:
        return encoded["$float"]
    if isinstance(encoded, str) and _is_plain(encoded):
        return encoded
    return json.dumps(encoded, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def from_text(text: str) -> Any:
    """The encoded value that :func:`to_text` wrote."""
    if text in NOT_FINITE:
        return {"$float": text}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@functools.lru_cache(maxsize=4096)
def _is_plain(text: str) -> bool:
    """Whether a word can stand without quotes, and is not taken for something else."""
    usual = text.isprintable() and text == text.strip() and not text.startswith(REFERENCE)
    return bool(text) and usual and text not in NOT_FINITE and not _is_json(text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
