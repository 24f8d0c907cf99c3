"""How far members of a vicinity move a score: never beyond the bound, and once exactly to it."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.defenses.regression import VicinalRegression
from rvdlib.theory.closed_form_certificate import score_shift


def regression(factors, ratings, omega, pull, bound, rng):
    n_users, n_items = ratings.shape
    arrays = {
        "user_factors": factors,
        "offsets": rng.normal(size=n_users),
        "item_factors": rng.normal(size=(n_items, factors.shape[1])),
        "item_bias": rng.normal(size=n_items),
        "unobserved_target": rng.random(n_users),
    }
    weights = {"unobserved_weight": omega, "proximal_weight": pull, "rating_bound": bound}
    return arrays, VicinalRegression(**arrays, ratings=sp.csr_matrix(ratings), **weights)


class Fit:
    """The decoder row of an item, fitted to members by the normal equations."""

    def __init__(self, arrays, ratings, members, item, omega, pull, bound):
        self.z = np.column_stack([arrays["user_factors"], np.ones(len(ratings))])
        self.members, self.offsets = members, arrays["offsets"]
        self.trained = np.append(arrays["item_factors"][item], arrays["item_bias"][item])
        self.seen, silence = ratings[:, item] > 0, arrays["unobserved_target"]
        self.silent, self.silent_left = self._row(silence, np.full(len(ratings), omega), pull)
        expected = omega * silence + (1 - omega) * (self.offsets + self.z @ self.silent)
        off = np.clip(ratings[:, item] - expected, -bound, bound)
        self.cells = np.where(self.seen, expected + off, silence)
        self.row, self.left = self._row(self.cells, np.where(self.seen, 1, omega), pull)

    def _row(self, cells, weights, pull):
        z, weights = self.z[self.members], weights[self.members]
        error = (cells - self.offsets)[self.members] - z @ self.trained
        left = z.T @ (weights[:, None] * z) + pull * np.eye(z.shape[1])
        return self.trained + np.linalg.solve(left, z.T @ (weights * error)), left

    def variance(self, user, left):
        return self.z[user] @ np.linalg.solve(left, self.z[user])

    def off(self, cells, members, row):
        return np.abs((cells - self.offsets - self.z @ row)[members]).max()


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(0, 6),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.floats(0.05, 20),
    st.floats(0.05, 20),
    st.sampled_from([np.inf, 0.02, 0.3]),
)
def test_no_members_move_a_score_of_the_regression_beyond_the_bound(
    seed, n_bad, n_honest, omega, pull, spread, beta
):
    rng = np.random.default_rng(seed)
    n_users, n_items = 1 + n_honest + n_bad, 3
    factors = rng.normal(size=(n_users, 2))
    factors[1 + n_honest :] *= spread  # as far from the user, or as near, as may be
    if rng.random() < 0.3:
        factors[1 + n_honest :] = factors[0]
    ratings = rng.random((n_users, n_items)) * (rng.random((n_users, n_items)) < 0.5)
    given_bound = None if np.isinf(beta) else beta
    arrays, fitted = regression(factors, ratings, omega, pull, given_bound, rng)
    honest, bad = np.split(np.arange(1, n_users), [n_honest])
    before = fitted.score([0], honest[None])
    moved = np.abs(fitted.score([0], np.arange(1, n_users)[None]) - before)[0]
    length = np.sqrt(1 + (factors[bad] ** 2).sum(1)).max()
    for item in range(n_items):
        of = arrays, ratings
        alone = Fit(*of, honest, item, omega, pull, beta)
        among = Fit(*of, np.arange(1, n_users), item, omega, pull, beta)
        assert before[0, item] == pytest.approx(alone.offsets[0] + alone.z[0] @ alone.row)
        off, variance = alone.off(among.cells, bad, alone.row), alone.variance(0, alone.left)
        rated = bad[among.seen[bad]]
        if omega == 0 and len(rated):
            surplus = beta + length * np.linalg.norm(alone.row - alone.trained)
            assert alone.off(among.cells, rated, alone.row) <= surplus + 1e-9
        raters = [o for o in honest if alone.seen[o]]
        carried = np.linalg.norm((among.cells - alone.cells)[raters])
        silently = score_shift(
            omega * n_bad,
            [alone.variance(o, alone.silent_left) for o in raters],
            alone.off(arrays["unobserved_target"], bad, alone.silent),
        )
        told = (1 - omega) * np.linalg.norm(silently)
        assert carried <= told * (1 + 1e-6) + 1e-9
        if given_bound is None or omega in (0, 1):
            told = carried = 0.0
        for known in ({}, {"length": length, "proximal_weight": pull}):
            for carrying in (carried, told):
                bound = score_shift(n_bad, variance, off, moved=carrying, **known)
                assert moved[item] <= bound * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("n_bad", [1, 2, 5])
@pytest.mark.parametrize(("off", "beta"), [(0.7, None), (-3.0, None), (0.7, 0.7), (9.0, 0.4)])
def test_members_at_the_users_own_place_reach_the_bound(n_bad, off, beta):
    """Nobody else in the vicinity; λ so that f v = 1. What is rated is bounded, silence is not."""
    pull = n_bad * 1.25  # v = ‖z‖²/λ
    rng, nobody = np.random.default_rng(0), np.empty((1, 0), dtype=int)
    users = np.full((1 + n_bad, 1), 0.5)
    arrays, _ = regression(users, np.zeros((1 + n_bad, 1)), 1.0, pull, None, rng)
    row = np.append(arrays["item_factors"][0], arrays["item_bias"][0])
    said = arrays["offsets"] + np.array([0.5, 1]) @ row
    ratings, omega = np.zeros((1 + n_bad, 1)), 1.0
    if beta:
        ratings, omega = (said + off)[:, None], 0.0
    fitted = VicinalRegression(
        **arrays | {"unobserved_target": said + off},
        ratings=sp.csr_matrix(ratings),
        unobserved_weight=omega,
        proximal_weight=pull,
        rating_bound=beta,
    )
    variance, members = 1.25 / pull, np.arange(1, 1 + n_bad)[None]
    moved = (fitted.score([0], members) - fitted.score([0], nobody))[0, 0]
    bound = score_shift(n_bad, variance, beta or abs(off))
    assert n_bad * variance == pytest.approx(1)
    assert moved == pytest.approx(np.sign(off) * bound)
    assert bound == pytest.approx((beta or abs(off)) / 2)


def test_bounded_ratings_of_others_carry_what_silent_members_move():
    """One at 0.05, as the honest fit has it, is off by nothing, and yet moves the score by what is
    then expected of the honest one, whose rating counts as 0.1 off that."""
    rest = {"user_factors": np.zeros((3, 1)), "offsets": np.zeros(3)}
    rest |= {"item_factors": np.zeros((1, 1)), "item_bias": np.zeros(1)}
    fitted = VicinalRegression(
        **rest,
        unobserved_target=np.array([0.0, 0.0, 0.05]),
        ratings=sp.csr_matrix([[0.0], [5.0], [0.0]]),
        unobserved_weight=0.5,
        proximal_weight=1.0,
        rating_bound=0.1,
    )
    shift = (fitted.score([0], [[1, 2]]) - fitted.score([0], [[1]]))[0, 0]
    assert shift == pytest.approx(0.0025)
    assert score_shift(1, 0.5, 0.0) == 0
    moved = 0.5 * score_shift(0.5, 1 / 1.5, 0.05)
    assert shift < score_shift(1, 0.5, 0.0, moved=moved) < 2.1 * shift


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
        ({"moved": -0.1}, "moved must be 0 or more"),
        ({"length": 0.5}, "length must be at least 1"),
        ({"proximal_weight": 0}, "proximal_weight above 0"),
    ],
)
def test_what_is_no_bound_of_anything_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        score_shift(**{"n_bad": 1, "variance": 1.0, "residual": 1.0} | change)
