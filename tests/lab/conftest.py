"""Fixtures of the laboratory's tests."""

import pandas as pd
import pytest

from rvdlib.data import synthetic_ratings
from rvdlib.seeding import stream


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> str:
    """A ratings file of somebody's own: 120 users, 150 items. Worker processes can read it too."""
    matrix = synthetic_ratings(120, 150, 2500, rng=stream(0, "ratings")).matrix.tocoo()
    frame = pd.DataFrame({"user": matrix.row, "item": matrix.col, "rating": matrix.data})
    path = tmp_path_factory.mktemp("data") / "own.csv"
    frame.to_csv(path, index=False)
    return str(path)
