"""The split of a seed, and what is left of the ratings to choose by."""

import numpy as np
import pytest

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.lab.experiment import poison, splits
from rvdlib.lab.experiment.cells import Scenario, carry_out
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
def test_nothing_that_a_table_tests_on_is_in_a_split_to_choose_by(ratings, seed):
    split = split_of_seed(ratings, seed, "validation")
    seen = pairs(split.train)
    for held_out in (split.validation, split.test):
        seen |= set(zip(held_out.users.tolist(), held_out.items.tolist(), strict=True))
    assert seen < pairs(ratings.matrix)
    for other in TABLE_SEEDS:
        test = leave_one_out(ratings, stream(other, "split")).test
        assert not seen & set(zip(test.users.tolist(), test.items.tolist(), strict=True))


def test_choices_are_judged_by_the_validation_items(ratings):
    split = split_of_seed(ratings, 3, "validation")
    assert all(np.array_equal(*two) for two in zip(split.test, split.validation, strict=True))
    tables = split_of_seed(ratings, 3)
    assert not np.array_equal(tables.test.items, tables.validation.items)


def test_only_the_two_ways_to_evaluate_are_known(ratings):
    with pytest.raises(ValueError, match="evaluated_on must be one of test, validation"):
        split_of_seed(ratings, 0, "train")


@pytest.mark.parametrize("evaluated_on", splits.EVALUATED_ON)
def test_the_attacker_promotes_the_targets_that_are_evaluated(ml100k, evaluated_on):
    """Which items are unpopular depends on which ratings are held out."""
    how = {"attack": "random", "target_set": "unpopular", "seed": 5, "evaluated_on": evaluated_on}
    attacked = carry_out(Scenario(dataset="ml-100k", victim="PlainMF", regime="rating", **how))
    split, threat, _ = poison.aim("random", "ml-100k", **{k: how[k] for k in list(how)[1:]})
    assert np.array_equal(attacked.targets, threat.targets)
    assert pairs(split.train) == pairs(attacked.split.train)
    fakes = attacked.victim.train[split.train.shape[0] :]
    assert (fakes[:, attacked.targets].toarray() == fakes.max()).all()
