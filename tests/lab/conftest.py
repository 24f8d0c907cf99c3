"""Fixtures of the laboratory's tests."""

import pandas as pd
import pytest

from rvdlib.data import synthetic_ratings
from rvdlib.lab.experiment import cells, trained
from rvdlib.seeding import stream


def small_victims(patch, **hyperparameters):
    """Victims have these hyper-parameters, ω = 0.1 in the ranking regime, and may be beaten."""

    def chosen(dataset, regime, victim):
        return hyperparameters | {"unobserved_weight": 0.1 if regime == "ranking" else 0.0}

    patch.setattr(cells, "victim_hyperparameters", chosen)
    patch.setattr(trained, "may_be_beaten", lambda *names: True)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> str:
    """A ratings file of somebody's own: 120 users, 150 items. Worker processes can read it too."""
    matrix = synthetic_ratings(120, 150, 2500, rng=stream(0, "ratings")).matrix.tocoo()
    frame = pd.DataFrame({"user": matrix.row, "item": matrix.col, "rating": matrix.data})
    path = tmp_path_factory.mktemp("data") / "own.csv"
    frame.to_csv(path, index=False)
    return str(path)
