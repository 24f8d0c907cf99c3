"""Types and ranges that options of the attacks must keep; a NaN keeps none."""

import math
from numbers import Integral, Real


def check_counts(least: int, /, **options: int) -> None:
    """Raise ``ValueError`` unless each is a whole number of at least ``least``."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def check_positive(**options: float) -> None:
    """Raise ``ValueError`` unless each is finite and above 0."""
    for name, value in options.items():
        if not 0 < _number(name, value) < math.inf:
            raise ValueError(f"{name} must be above 0 and finite, got {value}")


def check_shares(**options: float) -> None:
    """Raise ``ValueError`` unless each is between 0 and 1."""
    for name, value in options.items():
        if not 0 <= _number(name, value) <= 1:
            raise ValueError(f"{name} must be between 0 and 1, got {value}")


def check_positive_shares(**options: float) -> None:
    """Raise ``ValueError`` unless each is above 0 and at most 1."""
    for name, value in options.items():
        if not 0 < _number(name, value) <= 1:
            raise ValueError(f"{name} must be above 0, up to 1, got {value}")


def check_not_negative(**options: float) -> None:
    """Raise ``ValueError`` unless each is finite and at least 0."""
    for name, value in options.items():
        if not 0 <= _number(name, value) < math.inf:
            raise ValueError(f"{name} must be at least 0 and finite, got {value}")


def _number(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return value
