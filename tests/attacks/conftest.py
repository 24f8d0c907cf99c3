"""What the tests of attacks share: a small data set, seen by an attacker of two targets."""

import numpy as np
import pytest

from rvdlib.data import Split, leave_one_out, synthetic_ratings
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel, build_threat_model


@pytest.fixture(scope="session")
def split() -> Split:
    ratings = synthetic_ratings(150, 60, 3000, rng=stream(0, "ratings"))
    return leave_one_out(ratings, stream(0, "split"))


@pytest.fixture(scope="session")
def threat(split) -> ThreatModel:
    """Visible users, some of whom have rated the targets 3 and 40; 15 fakes."""
    return build_threat_model(split, np.array([3, 40]), stream(0, "threat"), attack_size=0.1)
