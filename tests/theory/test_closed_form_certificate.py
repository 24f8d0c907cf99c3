"""How far members of a vicinity move a score: never beyond the bound, and once exactly to it."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.defenses.regression import VicinalRegression
from rvdlib.theory.closed_form_certificate import score_shift


def regression(factors, ratings, omega, pull, rng):
    n_users, n_items = ratings.shape
    arrays = {
        "user_factors": factors,
        "offsets": rng.normal(size=n_users),
        "item_factors": rng.normal(size=(n_items, factors.shape[1])),
        "item_bias": rng.normal(size=n_items),
        "unobserved_target": rng.random(n_users),
    }
    return arrays, VicinalRegression(
        **arrays, ratings=sp.csr_matrix(ratings), unobserved_weight=omega, proximal_weight=pull
    )


def decoder_row(arrays, ratings, honest, item, omega, pull):
    """(w, b) of the item, fitted to the honest members by the normal equations, and user 0's v."""
    z = np.column_stack([arrays["user_factors"], np.ones(len(ratings))])
    row = np.append(arrays["item_factors"][item], arrays["item_bias"][item])
    seen = ratings[honest, item] > 0
    weights = np.where(seen, 1, omega)
    cells = np.where(seen, ratings[honest, item], arrays["unobserved_target"][honest])
    left = z[honest].T @ (weights[:, None] * z[honest]) + pull * np.eye(z.shape[1])
    error = cells - arrays["offsets"][honest] - z[honest] @ row
    moved = np.linalg.solve(left, z[honest].T @ (weights * error))
    return z, row + moved, z[0] @ np.linalg.solve(left, z[0])


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(0, 6),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.floats(0.05, 20),
    st.floats(0.05, 20),
)
def test_no_members_move_a_score_of_the_regression_beyond_the_bound(
    seed, n_bad, n_honest, omega, pull, spread
):
    rng = np.random.default_rng(seed)
    n_users, n_items = 1 + n_honest + n_bad, 3
    factors = rng.normal(size=(n_users, 2))
    factors[1 + n_honest :] *= spread  # as far from the user, or as near, as may be
    if rng.random() < 0.3:
        factors[1 + n_honest :] = factors[0]
    ratings = rng.random((n_users, n_items)) * (rng.random((n_users, n_items)) < 0.5)
    arrays, fitted = regression(factors, ratings, omega, pull, rng)
    honest, bad = np.split(np.arange(1, n_users), [n_honest])
    before = fitted.score([0], honest[None])
    moved = np.abs(fitted.score([0], np.arange(1, n_users)[None]) - before)[0]
    for item in range(n_items):
        z, row, variance = decoder_row(arrays, ratings, honest, item, omega, pull)
        cells = np.where(
            ratings[bad, item] > 0, ratings[bad, item], arrays["unobserved_target"][bad]
        )
        off = np.abs(cells - arrays["offsets"][bad] - z[bad] @ row).max()
        surplus, length = (
            np.abs(cells - arrays["offsets"][bad]).max(),
            np.linalg.norm(z[bad], axis=1),
        )
        assert off <= surplus + length.max() * np.linalg.norm(row) + 1e-9
        for known in ({}, {"length": length.max(), "proximal_weight": pull}):
            bound = score_shift(n_bad, variance, off, **known)
            assert variance <= z[0] @ z[0] / pull + 1e-9
            assert moved[item] <= bound * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("n_bad", [1, 2, 5])
@pytest.mark.parametrize("off", [0.7, -3.0])
def test_members_at_the_users_own_place_reach_the_bound(n_bad, off):
    """Nobody else in the vicinity; λ so that f v = 1."""
    pull = n_bad * 1.25  # v = ‖z‖²/λ
    ratings = np.zeros((1 + n_bad, 1))
    arrays, fitted = regression(
        np.full((1 + n_bad, 1), 0.5), ratings, 1.0, pull, np.random.default_rng(0)
    )
    row = np.append(arrays["item_factors"][0], arrays["item_bias"][0])
    arrays["unobserved_target"] = arrays["offsets"] + np.array([0.5, 1]) @ row + off
    fitted = VicinalRegression(
        **arrays, ratings=sp.csr_matrix(ratings), unobserved_weight=1.0, proximal_weight=pull
    )
    nobody, variance = fitted.score([0], np.empty((1, 0), dtype=int)), 1.25 / pull
    moved = fitted.score([0], np.arange(1, 1 + n_bad)[None])[0, 0] - nobody[0, 0]
    bound = score_shift(n_bad, variance, abs(off))
    assert n_bad * variance == pytest.approx(1)
    assert moved == pytest.approx(np.sign(off) * bound)
    assert bound == pytest.approx(abs(off) / 2)


def test_the_bound_grows_with_what_members_are_and_may_say():
    assert score_shift(0, 2.0, 3.0) == 0
    assert score_shift(4, 1.0, 3.0) == pytest.approx(3.0)
    assert (np.diff(score_shift(np.arange(9), 0.5, 1.0, length=1.5, proximal_weight=10)) > 0).all()
    near = score_shift(3, 0.5, 1.0, length=np.array(2.0), proximal_weight=100)
    assert (
        near < score_shift(3, 0.5, 1.0, length=3.0, proximal_weight=100) < score_shift(3, 0.5, 1.0)
    )
    assert score_shift(3, [0.5, 1.0], 1.0).shape == (2,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_bad": -1}, "n_bad must be 0 or more"),
        ({"variance": float("nan")}, "variance must be 0 or more"),
        ({"residual": -0.1}, "residual must be 0 or more"),
        ({"length": 0.5}, "length must be at least 1"),
        ({"proximal_weight": 0}, "proximal_weight above 0"),
    ],
)
def test_what_is_no_bound_of_anything_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        score_shift(**{"n_bad": 1, "variance": 1.0, "residual": 1.0} | change)
