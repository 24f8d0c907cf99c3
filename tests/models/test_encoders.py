"""The victims' formulas, each written out in NumPy, and what their training does to a profile."""

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.models import CDAE, VICTIMS
from rvdlib.models.biases import Biases
from rvdlib.models.fitting import shrunken_item_means
from rvdlib.seeding import stream


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(params=["rating", "ranking"])
def regime(request):
    return request.param


def _encoded(fit, name, regime):
    """A trained victim, its parameters as arrays, and what it says of every user."""
    victim = fit(name, regime)
    offset, factors = victim.encode(victim.parameters, np.arange(victim.train.shape[0]))
    arrays = {name: value.double().numpy() for name, value in victim.parameters.items()}
    return victim.train.toarray().astype(float), arrays, offset.numpy(), factors.numpy()


def test_mf_looks_its_vectors_up(fit, regime):
    ratings, arrays, offset, factors = _encoded(fit, "MF", regime)
    assert np.array_equal(factors, arrays["user_factors"])
    expected = ratings[ratings > 0].mean() + arrays["user_bias"] if regime == "rating" else 0
    assert offset == pytest.approx(np.broadcast_to(expected, len(offset)), abs=1e-6)


def test_nsvd_sums_what_a_user_rated(fit, regime):
    ratings, arrays, offset, factors = _encoded(fit, "NSVD", regime)
    for user, row in enumerate(ratings):
        rated = np.flatnonzero(row)
        expected = arrays["implicit_factors"][rated].sum(axis=0) / np.sqrt(max(1, len(rated)))
        assert factors[user] == pytest.approx(expected, abs=1e-5)
    expected = ratings[ratings > 0].mean() + arrays["user_bias"] if regime == "rating" else 0
    assert offset == pytest.approx(np.broadcast_to(expected, len(offset)), abs=1e-6)


def test_without_biases_a_score_is_one_product(fit, regime):
    _, arrays, offset, factors = _encoded(fit, "PlainMF", regime)
    assert arrays.keys() == {"user_factors", "item_factors", "item_bias"}
    assert np.array_equal(factors, arrays["user_factors"])
    assert not offset.any()
    assert not arrays["item_bias"].any()


def test_plain_nsvd_sums_without_a_mean_and_without_a_root(fit, regime):
    ratings, arrays, offset, factors = _encoded(fit, "PlainNSVD", regime)
    assert factors == pytest.approx((ratings > 0) @ arrays["implicit_factors"], abs=1e-5)
    expected = arrays["user_bias"] if regime == "rating" else 0
    assert offset == pytest.approx(np.broadcast_to(expected, len(offset)), abs=1e-6)


@pytest.mark.parametrize("name", ["AutoRec", "CDAE"])
def test_autoencoders_squash_the_profile(fit, name, regime):
    ratings, arrays, offset, factors = _encoded(fit, name, regime)
    mean, rated = ratings[ratings > 0].mean(), ratings > 0
    by_item = ((ratings - mean) * rated).sum(axis=0) / (rated.sum(axis=0) + 5)
    by_user = ((ratings - mean - by_item) * rated).sum(axis=1) / (rated.sum(axis=1) + 5)
    for user, row in enumerate(ratings):
        if regime == "rating":
            a = mean + by_user[user]
            x = np.where(rated[user], row - a - by_item, 0)
        else:
            a, x = 0, row / (np.linalg.norm(row) or 1)
        hidden = x @ arrays["encoder_factors"] + arrays["encoder_bias"]
        if name == "CDAE":
            hidden = hidden + arrays["user_embeddings"][user]
        assert factors[user] == pytest.approx(sigmoid(hidden), abs=1e-5)
        assert offset[user] == pytest.approx(a, abs=1e-6)


def test_hidden_ratings_are_a_fair_share_and_the_rest_makes_up_for_them():
    victim = CDAE(input_dropout=0.3)
    inputs = sp.csr_matrix(np.full((200, 100), 0.5, dtype=np.float32))
    hidden = victim.corrupted(inputs, np.random.default_rng(0))
    assert hidden.dtype == np.float32
    assert (inputs.data == 0.5).all()
    values, counts = np.unique(hidden.data, return_counts=True)
    assert values == pytest.approx([0, 0.5 / 0.7])
    assert counts[0] / 20_000 == pytest.approx(0.3, abs=0.015)
    assert hidden.data.mean() == pytest.approx(0.5, abs=0.01)
    other = victim.corrupted(inputs, np.random.default_rng(1))
    assert not np.array_equal(other.data, hidden.data)


def test_without_dropout_nothing_is_hidden_and_nothing_is_drawn():
    inputs = sp.random(20, 10, 0.5, format="csr", rng=np.random.default_rng(0))
    assert CDAE(input_dropout=0).corrupted(inputs, rng=None) is inputs


def test_item_means_are_shrunken_by_how_few_they_rest_on():
    dense = np.array([[1, 0, 0.5], [1, 0, 0], [1, 0, -0.5]], dtype=np.float32)
    means = shrunken_item_means(sp.csr_matrix(dense), shrinkage=2)
    assert means.tolist() == pytest.approx([3 / 5, 0, 0])


@pytest.mark.parametrize("name", ["NSVD", "AutoRec", "CDAE"])
def test_training_for_ratings_starts_from_the_biases(small, name):
    victim = VICTIMS[name](epochs=1, learning_rate=1e-30)
    victim.fit(small.train, small.validation, small.levels, stream(0, "model"))
    without_profiles = {"implicit_factors": 0, "encoder_factors": 0, "user_embeddings": 0}
    parameters = {
        name: value * without_profiles.get(name, 1) for name, value in victim.parameters.items()
    }
    users = np.arange(small.train.shape[0])
    expected = Biases().fit(small.train).score(users)
    assert victim.score_with(parameters, users) == pytest.approx(expected, abs=1e-5)
