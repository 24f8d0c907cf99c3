"""Fakes among neighbours, counted user by user."""

import numpy as np
import pytest

from rvdlib.evaluation import Evaluation
from rvdlib.lab.experiment.exposure import SHARES, TARGET_HIT_RATIOS, exposure, fake_share

N_REAL = 90


def rows(fakes):
    """Neighbours of whom these are fake."""
    return np.where(fakes, N_REAL, N_REAL - 1)


def evaluation(target_ranks, raters):
    n_users = len(target_ranks)
    nothing = np.full(n_users, np.nan)
    ranks, raters = np.array(target_ranks, dtype=float), np.array(raters, dtype=bool)
    targets = np.arange(ranks.shape[1])
    lists = np.zeros((n_users, 50), dtype=int)
    return Evaluation(
        50, np.arange(n_users), targets, ranks, raters, nothing, nothing, lists, n_items=100
    )


def test_users_are_grouped_by_how_many_fakes_they_listen_to():
    fakes = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    ranks = [[80, 80], [1, 80], [50, 51], [3, 4], [80, 2]]
    raters = [[0, 0], [0, 0], [0, 1], [0, 0], [0, 0]]
    found = exposure(rows(fakes), N_REAL, evaluation(ranks, raters))
    assert found["fake_neighbor_share"] == pytest.approx(9 / 20)
    assert [found[name] for name in SHARES] == [0.2, 0.4, 0, 0.4]
    none, one, two, more = (found[name] for name in TARGET_HIT_RATIOS)
    # Of target 1 the second of the two with one fake is a rater.
    assert (none, one, more) == (0, pytest.approx((2 / 2 + 0 / 1) / 2), pytest.approx(0.75))
    assert np.isnan(two)


def test_the_groups_make_up_the_whole():
    rng = np.random.default_rng(0)
    fakes = rng.random((200, 10)) < 0.15
    measured = evaluation(rng.integers(1, 100, (200, 3)), np.zeros((200, 3)))
    found = exposure(rows(fakes), N_REAL, measured)
    shares, ratios = ([found[name] for name in names] for names in (SHARES, TARGET_HIT_RATIOS))
    assert sum(shares) == pytest.approx(1)
    mean = np.dot(shares, ratios)
    assert mean == pytest.approx(measured.target_hit_ratio)


def test_without_neighbours_nothing_is_said_of_them():
    measured = evaluation([[1], [80]], [[0], [0]])
    found = exposure(np.full((2, 1), np.nan), N_REAL, measured)
    assert set(found) == {"fake_neighbor_share", *SHARES, *TARGET_HIT_RATIOS}
    assert np.isnan(list(found.values())).all()
    assert np.isnan(fake_share(np.full((2, 1), np.nan), N_REAL))


def test_in_a_shorter_list_nobody_counts_as_nobody():
    neighbors = np.array([[N_REAL, 3, -1], [N_REAL, N_REAL + 1, 2], [-1, -1, -1]])
    assert fake_share(neighbors, N_REAL) == pytest.approx(3 / 5)
    found = exposure(neighbors, N_REAL, evaluation([[1], [80], [80]], [[0]] * 3))
    assert [found[name] for name in SHARES] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert np.isnan(fake_share(np.full((2, 3), -1), N_REAL))
