"""Fakes among neighbours."""

import numpy as np
import pytest

from rvdlib.lab.experiment.exposure import fake_share

N_REAL = 90


def test_fakes_are_counted_among_neighbours():
    fakes = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    assert fake_share(np.where(fakes, N_REAL, N_REAL - 1), N_REAL) == pytest.approx(9 / 20)


def test_without_neighbours_nothing_is_said_of_them():
    assert np.isnan(fake_share(np.full((2, 1), np.nan), N_REAL))
    assert np.isnan(fake_share(np.full((2, 3), -1), N_REAL))


def test_in_a_shorter_list_nobody_counts_as_nobody():
    neighbors = np.array([[N_REAL, 3, -1], [N_REAL, N_REAL + 1, 2], [-1, -1, -1]])
    assert fake_share(neighbors, N_REAL) == pytest.approx(3 / 5)
