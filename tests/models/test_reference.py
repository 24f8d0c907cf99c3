import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from rvdlib.data import leave_one_out
from rvdlib.evaluation import evaluate
from rvdlib.models.reference import EASE, Popularity
from rvdlib.seeding import stream


@pytest.fixture
def train():
    rng = np.random.default_rng(0)
    mask = rng.random((60, 15)) < 0.3
    users, items = np.nonzero(mask)
    # Explicit zeros: a rating of zero is a rating.
    stars = rng.choice([0, 1, 2], len(users)).astype(np.float32)
    return sp.csr_matrix((stars, (users, items)), shape=mask.shape)


def test_popularity_scores_by_the_number_of_ratings(train):
    scores = Popularity().fit(train).score(np.array([5, 0]))
    counts = np.diff(train.tocsc().indptr)
    assert scores.dtype == np.float32
    assert scores.tolist() == [counts.tolist()] * 2


def test_ease_is_the_ridge_regression_of_each_item_on_all_others(train):
    binary = np.zeros(train.shape)
    users, items = np.repeat(np.arange(60), np.diff(train.indptr)), train.indices
    binary[users, items] = 1
    expected = np.zeros(train.shape)
    for item in range(15):
        others = np.delete(binary, item, axis=1)
        ridge = Ridge(alpha=7.0, fit_intercept=False).fit(others, binary[:, item])
        expected[:, item] = ridge.predict(others)
    scores = EASE(reg=7.0).fit(train).score(np.arange(60))
    assert scores.dtype == np.float32
    assert scores == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("reg", [0, -1, float("nan")])
def test_ease_refuses_a_penalty_that_is_not_positive(reg):
    with pytest.raises(ValueError, match="reg must be above 0"):
        EASE(reg=reg)


def test_fitting_leaves_the_training_data_alone(train):
    before = train.copy()
    for model in (Popularity(), EASE()):
        model.fit(train)
    assert np.array_equal(train.data, before.data)
    assert np.array_equal(train.indices, before.indices)


def test_on_real_data_ease_is_twice_as_good_as_popularity(ml100k):
    split = leave_one_out(ml100k, stream(0, "split"))
    ease, popularity = (
        evaluate(model.fit(split.train), split, []) for model in (EASE(), Popularity())
    )
    assert 0.60 < ease.hit_ratio < 0.66
    assert 0.27 < popularity.hit_ratio < 0.34
    assert 0.23 < ease.ndcg < 0.28
    assert np.isnan(ease.rmse)
    assert np.isnan(popularity.rmse)
