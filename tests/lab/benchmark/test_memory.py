"""Peak memory: of a process that only serves, large enough for its scores and not much larger."""

import numpy as np
import pytest

from rvdlib.lab.benchmark import memory
from rvdlib.lab.benchmark.latency import made_up
from rvdlib.lab.experiment import machine

USERS, ITEMS = 6040, 3706  # as many as ML-1M has
CHOICES = {"k": 10, "unobserved_weight": 0.1, "proximal_weight": 1.0}


@pytest.fixture(scope="module")
def victim():
    return made_up("MF", USERS, ITEMS).victim


def test_as_many_users_as_ml_1m_has_are_served_in_one_call_in_little_more_than_their_scores(victim):
    ballast = np.ones(2**27)  # this process's own memory is not to count: 1 GiB
    few, all_of_them = (
        memory.of_one_call(victim, np.arange(n), victim.train, **CHOICES) for n in (1, USERS)
    )
    scores = 4 * USERS * ITEMS / 2**20
    assert machine.peak_mib() > 1024 + few["before"] / 2
    assert ballast[-1] == 1
    assert 50 < all_of_them["before"] < 1000
    assert all_of_them["peak"] < 2048
    assert scores < all_of_them["peak"] - few["peak"] < 4 * scores
