"""Fixtures that tests of several parts share."""

import pytest

from rvdlib.data import Ratings, load_dataset


@pytest.fixture(scope="session")
def ml100k() -> Ratings:
    """MovieLens-100K whole, from whichever source has it."""
    return load_dataset("ml-100k")
