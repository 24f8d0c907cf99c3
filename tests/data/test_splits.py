"""Properties that every split has, whatever the ratings."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from rvdlib.data import Ratings, leave_one_out, random_holdout
from rvdlib.seeding import stream

seeds = st.integers(0, 2**32)


@st.composite
def some_ratings(draw):
    n_items = draw(st.integers(5, 12))
    profiles = draw(st.lists(st.sets(st.integers(0, n_items - 1), min_size=1), min_size=1))
    pairs = [(user, item) for user, items in enumerate(profiles) for item in items]
    stars = draw(st.lists(st.integers(1, 5), min_size=len(pairs), max_size=len(pairs)))
    users, items = zip(*pairs, strict=True)
    return Ratings.from_triples(users, items, stars, name="made up")


def held_out_matrix(held_out, shape):
    return sp.csr_matrix((held_out.stars, (held_out.users, held_out.items)), shape=shape)


def assert_partition(split):
    """Training, validation and test are disjoint and together all of the ratings."""
    shape = split.ratings.matrix.shape
    parts = [split.train, *(held_out_matrix(h, shape) for h in (split.validation, split.test))]
    assert sum(part.nnz for part in parts) == split.ratings.n_ratings
    assert (sum(parts) != split.ratings.matrix).nnz == 0
    assert split.train.shape == shape
    assert split.train.has_sorted_indices


def profile_sizes(matrix):
    return np.diff(matrix.indptr)


@given(some_ratings(), seeds, st.integers(3, 6))
def test_leave_one_out_takes_one_test_and_one_validation_item_of_each_eligible_user(
    ratings, seed, min_ratings
):
    sizes = profile_sizes(ratings.matrix)
    eligible = np.flatnonzero(sizes >= min_ratings)
    assume(len(eligible))
    split = leave_one_out(ratings, stream(seed, "split"), min_ratings)
    assert_partition(split)
    assert split.test.users.tolist() == split.validation.users.tolist() == eligible.tolist()
    expected = sizes - 2 * (sizes >= min_ratings)
    assert profile_sizes(split.train).tolist() == expected.tolist()
    assert expected.min() >= 1


def test_the_same_seed_gives_the_same_split_and_another_one_another(ml100k):
    one, same, two = (leave_one_out(ml100k, stream(seed, "split")) for seed in (0, 0, 1))
    assert np.array_equal(one.test.items, same.test.items)
    assert np.array_equal(one.validation.items, same.validation.items)
    assert (one.test.items == two.test.items).mean() < 0.05
    assert (one.validation.items == two.validation.items).mean() < 0.05
    assert (one.test.items != one.validation.items).all()


def test_every_item_of_a_profile_is_as_likely_to_be_held_out_as_any_other():
    n_users, size = 30_000, 5
    users, items = np.divmod(np.arange(n_users * size), size)
    ratings = Ratings.from_triples(users, items, np.ones(n_users * size), name="even")
    split = leave_one_out(ratings, stream(0, "split"))
    pairs = np.bincount(split.test.items * size + split.validation.items, minlength=size**2)
    apart = pairs.reshape(size, size)[~np.eye(size, dtype=bool)]
    assert apart.sum() == n_users
    assert chisquare(apart).pvalue > 0.001


def test_training_cannot_be_written_to(ml100k):
    split = leave_one_out(ml100k, stream(0, "split"))
    with pytest.raises(ValueError, match="read-only"):
        split.train.data[0] = 0


def test_users_with_few_ratings_stay_in_training_whole():
    users = [0] * 4 + [1] * 5
    items = [0, 1, 2, 3, 0, 1, 2, 3, 4]
    ratings = Ratings.from_triples(users, items, [3] * 9, name="two users")
    split = leave_one_out(ratings, stream(0, "split"))
    assert split.test.users.tolist() == [1]
    assert split.train[0].nnz == 4


def test_a_split_that_leaves_nobody_to_test_is_refused():
    ratings = Ratings.from_triples([0, 0, 1], [0, 1, 1], [1, 2, 3], name="short")
    with pytest.raises(ValueError, match="short: no user has 5 ratings or more, so"):
        leave_one_out(ratings, stream(0, "split"))
    with pytest.raises(ValueError, match="min_ratings must be at least 3, got 2"):
        leave_one_out(ratings, stream(0, "split"), min_ratings=2)


@given(some_ratings(), seeds, st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_random_holdout_takes_the_shares_that_were_asked_for(ratings, seed, test, validation):
    split = random_holdout(ratings, stream(seed, "split"), test, validation)
    assert_partition(split)
    n_test = round(test * ratings.n_ratings)
    assert len(split.test.users) == n_test
    assert len(split.validation.users) == round(validation * (ratings.n_ratings - n_test))


def test_random_holdout_is_even_and_follows_its_stream(ml100k):
    one, two, other = (random_holdout(ml100k, stream(seed, "split")) for seed in (0, 0, 1))
    assert one.test.items.tolist() == two.test.items.tolist()
    assert one.test.items.tolist() != other.test.items.tolist()
    expected = 0.2 * profile_sizes(ml100k.matrix)
    found = np.bincount(one.test.users, minlength=ml100k.n_users)
    # Hypergeometric with variance about 0.16 n: the mean square of the scaled errors is near 1.
    scaled = (found - expected) / np.sqrt(0.8 * expected)
    assert 0.85 < (scaled**2).mean() < 1.15


@pytest.mark.parametrize("shares", [(0, 0.1), (1, 0.1), (0.2, 0), (0.2, -1), (float("nan"), 0.1)])
def test_random_holdout_refuses_a_share_outside_0_to_1(ml100k, shares):
    with pytest.raises(ValueError, match="_share must be between 0 and 1"):
        random_holdout(ml100k, stream(0, "split"), *shares)
