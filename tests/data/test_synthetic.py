"""Made-up ratings keep their promises: counts, skew, rank, speed."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import svds

from rvdlib.data import synthetic_ratings
from rvdlib.data.readers import canonical_bytes
from rvdlib.seeding import stream


@given(st.integers(1, 40), st.integers(10, 40), st.floats(0, 1), st.integers(0, 2**32))
def test_counts_are_exact_at_any_size(n_users, n_items, fullness, seed):
    fewest, most = max(5 * n_users, n_items), n_users * (n_items // 2)
    if most < fewest:
        with pytest.raises(ValueError, match="n_ratings must be between"):
            synthetic_ratings(n_users, n_items, fewest, rng=stream(seed, "made up"))
        return
    n_ratings = round(fewest + fullness * (most - fewest))
    ratings = synthetic_ratings(n_users, n_items, n_ratings, rng=stream(seed, "made up"))
    assert (ratings.n_users, ratings.n_items, ratings.n_ratings) == (n_users, n_items, n_ratings)
    assert 5 <= ratings.matrix.getnnz(axis=1).min() <= ratings.matrix.getnnz(axis=1).max()
    assert ratings.matrix.getnnz(axis=1).max() <= n_items // 2
    assert set(ratings.matrix.data.tolist()) <= {1, 2, 3, 4, 5}
    assert ratings.levels.tolist() == [1, 2, 3, 4, 5]


def test_the_same_stream_gives_the_same_ratings_and_another_others():
    one, two, other = (
        canonical_bytes(synthetic_ratings(50, 60, 600, rng=stream(seed, "made up")))
        for seed in (0, 0, 1)
    )
    assert one == two != other


def test_popularity_and_activity_are_skewed_like_real_ones(ml100k):
    made_up = synthetic_ratings(943, 1682, 100_000, rng=stream(0, "made up"))
    for axis in (0, 1):
        shares = []
        for ratings in (ml100k, made_up):
            counts = np.sort(ratings.matrix.getnnz(axis=axis))[::-1]
            shares.append(counts[: len(counts) // 10].sum() / counts.sum())
        assert shares[1] == pytest.approx(shares[0], abs=0.12)
        assert shares[1] > 0.25
    spread = [np.bincount(r.matrix.data.astype(int))[1:] / 100_000 for r in (ml100k, made_up)]
    assert np.abs(spread[0] - spread[1]).max() < 0.03


def test_ratings_have_the_rank_that_was_asked_for():
    ratings = synthetic_ratings(400, 100, 20_000, rank=3, noise=0.1, rng=stream(0, "made up"))
    matrix = ratings.matrix.copy()
    item_means = matrix.sum(axis=0) / matrix.getnnz(axis=0)
    matrix.data = matrix.data - np.asarray(item_means).ravel()[matrix.indices]
    shuffled = matrix.copy()
    shuffled.data = stream(0, "shuffle").permutation(shuffled.data)
    real, chance = (np.sort(svds(m, k=5, rng=0)[1])[::-1] for m in (matrix, shuffled))
    assert real[2] > 1.4 * chance[2]
    assert real[3] < 1.2 * chance[3]


def test_a_hundred_thousand_users_take_seconds_and_memory_follows_the_ratings():
    n_ratings = 1_000_000
    tracemalloc.start()
    begin = time.process_time()
    ratings = synthetic_ratings(100_000, 50_000, n_ratings, rng=stream(0, "made up"))
    seconds = time.process_time() - begin
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ratings.n_ratings == n_ratings
    assert seconds < 10
    assert peak < 200 * n_ratings  # bytes; a dense matrix would have 5,000 a rating


@pytest.mark.parametrize("size", [(0, 20, 50), (5, 9, 25), (5, 20, 24), (5, 20, 51), (1, 30, 15)])
def test_sizes_that_do_not_fit_are_refused(size):
    with pytest.raises(ValueError, match="must be"):
        synthetic_ratings(*size, rng=stream(0, "made up"))
