import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.data import random_holdout
from rvdlib.evaluation import rmse
from rvdlib.models.biases import Biases
from rvdlib.seeding import stream


@pytest.fixture
def train():
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 12)) < 0.5)
    stars = rng.integers(1, 6, len(users)).astype(np.float32)
    # The last two users and items have no ratings.
    return sp.csr_matrix((stars, (users, items)), shape=(42, 14))


@pytest.mark.parametrize("damping", [0.0, 5.0])
def test_scores_are_the_mean_and_two_damped_deviations(train, damping):
    dense = train.toarray().astype(float)
    dense[dense == 0] = np.nan
    mean = np.nanmean(dense)
    item_bias, user_bias = np.zeros(14), np.zeros(42)
    for item in range(12):
        deviations = dense[:, item] - mean
        item_bias[item] = np.nansum(deviations) / (np.isfinite(deviations).sum() + damping)
    for user in range(40):
        deviations = dense[user] - mean - item_bias
        user_bias[user] = np.nansum(deviations) / (np.isfinite(deviations).sum() + damping)
    users = np.array([41, 3, 0])
    scores = Biases(damping).fit(train).score(users)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(mean + user_bias[users, None] + item_bias, abs=1e-5)


def test_who_and_what_was_never_rated_gets_the_mean(train):
    model = Biases(damping=0).fit(train)
    assert model.score(np.array([41]))[0, 13] == pytest.approx(train.data.mean())


@pytest.mark.parametrize("damping", [-1, float("nan")])
def test_a_negative_damping_is_refused(damping):
    with pytest.raises(ValueError, match="damping must not be negative"):
        Biases(damping)


def test_on_real_data_biases_explain_a_good_part_of_the_ratings(ml100k):
    split = random_holdout(ml100k, stream(0, "split"))
    error = rmse(Biases().fit(split.train), split.test, ml100k.levels)
    assert 0.92 < error < 0.96
    assert error < 0.9 * split.test.stars.std()
