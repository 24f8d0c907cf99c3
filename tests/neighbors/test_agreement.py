"""Agreement of neighbours between two trainings: by sets, by chance, and on real data."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.neighbors.agreement import (
    Agreement,
    NeighborsByChanceWarning,
    neighbor_agreement,
    warn_if_by_chance,
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(2, 30), k=st.integers(1, 8))
def test_it_is_the_mean_jaccard_index_of_sets(seed, n, k):
    """With lists of any length, none at all too."""
    rng = np.random.default_rng(seed)
    lists = np.array([[rng.permutation(12)[:k] for _ in range(n)] for _ in range(2)])
    lists[rng.random(lists.shape) < 0.3] = -1
    one, other = ([{*row} - {-1} for row in some.tolist()] for some in lists)
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a | b]
    expected = np.mean([len(a & b) / len(a | b) for a, b in pairs]) if pairs else 0
    found = neighbor_agreement(*lists)
    assert found.measured == pytest.approx(expected)
    assert found.k == k


def test_random_lists_agree_by_chance_and_the_same_lists_in_all():
    rng, n, k = np.random.default_rng(0), 600, 20
    draw = [np.array([rng.choice(n, k, replace=False) for _ in range(n)]) for _ in range(2)]
    random = neighbor_agreement(*draw)
    assert random.measured == pytest.approx(random.chance, abs=0.002)
    assert random.chance == pytest.approx(k / (2 * n - k), abs=0.002)
    assert random.by_chance
    same = neighbor_agreement(draw[0], draw[0][:, ::-1])
    assert same.measured == same.above_chance == 1
    assert not same.by_chance


def test_hubs_that_stand_in_every_list_are_chance():
    rng, n = np.random.default_rng(0), 500
    hubs = np.tile(np.arange(10), (n, 1))
    lists = [np.hstack([hubs, rng.integers(10, n, (n, 10))]) for _ in range(2)]
    found = neighbor_agreement(*lists)
    assert found.measured > 0.3
    assert found.by_chance
    assert neighbor_agreement(
        hubs, hubs
    ).by_chance  # the same for everybody says nothing of anybody


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros((3, 2), int), np.zeros((4, 2), int)),
        (np.zeros((3, 2), int), np.zeros((3, 3), int)),
        (np.zeros((1, 2), int), np.zeros((1, 2), int)),
        (np.zeros((3, 0), int), np.zeros((3, 0), int)),
        (np.zeros((3, 2)), np.zeros((3, 2))),
        (np.full((3, 2), -2), np.zeros((3, 2), int)),
        (np.zeros(3, int), np.zeros(3, int)),
    ],
)
def test_what_are_no_lists_of_the_same_users_is_refused(one, other):
    with pytest.raises(ValueError, match=r"lists"):
        neighbor_agreement(one, other)


def test_the_warning_says_what_was_found_and_what_to_do():
    with pytest.warns(
        NeighborsByChanceWarning, match=r"0\.021 .*by chance by 0\.020.*profile_overlap"
    ):
        warn_if_by_chance(Agreement(0.021, 0.02, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_by_chance(Agreement(0.4, 0.02, 30))
    assert "Do not use" not in str(Agreement(0.4, 0.02, 30))
