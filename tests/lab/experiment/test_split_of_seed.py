"""The split of a seed, and what is left of the ratings to choose by."""

import numpy as np
import pytest

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.lab.experiment.splits import TABLE_SEEDS, split_of_seed, without_test_ratings
from rvdlib.seeding import stream


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(60, 40, 700, rng=stream(0, "ratings"))


def pairs(matrix):
    return set(zip(*matrix.nonzero(), strict=True))


def test_all_other_ratings_are_searched_on_as_they_are(ratings):
    left = without_test_ratings(ratings)
    tests = [leave_one_out(ratings, stream(s, "split")).test for s in TABLE_SEEDS]
    expected = ratings.matrix.toarray()
    for test in tests:
        expected[test.users, test.items] = 0
    assert np.array_equal(left.matrix.toarray(), expected)
    assert left.matrix.nnz == (expected > 0).sum() < ratings.n_ratings
    assert left.matrix.has_sorted_indices
    assert np.array_equal(left.levels, ratings.levels)


@pytest.mark.parametrize("seed", [0, 2001])
def test_choices_are_judged_by_validation_items_that_no_table_tests_on(ratings, seed):
    split, tables = split_of_seed(ratings, seed, "validation"), split_of_seed(ratings, seed)
    judged, validation = (
        set(zip(*map(np.ndarray.tolist, held_out[:2]), strict=True))
        for held_out in (split.test, tables.validation)
    )
    tested = set()
    for other in TABLE_SEEDS:
        test = leave_one_out(ratings, stream(other, "split")).test
        tested |= set(zip(test.users.tolist(), test.items.tolist(), strict=True))
    assert judged == validation - tested
    assert validation > judged > set()
    stars = ratings.matrix[split.test.users, split.test.items]
    assert np.array_equal(np.asarray(stars).ravel(), split.test.stars)
    assert (split.train != tables.train).nnz == 0


def test_only_the_two_ways_to_evaluate_are_known(ratings):
    with pytest.raises(ValueError, match="evaluated_on must be one of test, validation"):
        split_of_seed(ratings, 0, "train")
