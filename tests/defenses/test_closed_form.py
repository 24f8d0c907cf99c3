"""Closed-form RVD against brute force, Gaussian process regression, and descent to convergence."""

import copy
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from conformance import (
    ANY_VICTIM,
    EACH_VICTIM,
    KINDS,
    N_USERS,
    USERS,
    DefenseConformance,
    in_double,
    trained,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct

from rvdlib.data import leave_one_out
from rvdlib.defenses import RVD, ClosedFormRVD, FastRVD, VicinalRegression
from rvdlib.defenses import regression as vicinal_regression
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream

OMEGAS = (0.0, 1e-3, 0.1, 1.0)


class TestDefaults(DefenseConformance):
    tolerance = 1e-5

    def defend(self, victim):
        return ClosedFormRVD(victim)


class TestThePapersLoss(DefenseConformance):
    tolerance = 1e-5

    def defend(self, victim):
        return ClosedFormRVD(
            victim, k=5, unobserved_weight=0, proximal_weight=0.3, include_user=True
        )


class TestBoundedRatings(DefenseConformance):
    kinds = ANY_VICTIM
    tolerance = 1e-5

    def defend(self, victim):
        return ClosedFormRVD(victim, k=9, rating_bound=0.5)


class TestMedianOfGroups(DefenseConformance):
    kinds = ANY_VICTIM
    tolerance = 1e-5
    reads_row_numbers = True  # of neighbours equally near, the lower row is dealt first

    def defend(self, victim):
        return ClosedFormRVD(victim, k=9, groups=3)


def vicinal_scores(users, vicinities, **arrays):
    return VicinalRegression(**arrays).score(users, vicinities)


def problem(seed, *, n_users=60, n_items=12, size=4, omega=0.1, proximal=0.5, density=None):
    """Keyword arguments of ``VicinalRegression``, every array random; y⁰ is not a."""
    rng = np.random.default_rng(seed)
    density = rng.random(n_items) if density is None else density
    users, items = np.nonzero(rng.random((n_users, n_items)) < density)
    # Zeros are ratings too.
    values = rng.choice([0, 0.2, 0.4, 0.6, 0.8, 1], len(users))
    return {
        "user_factors": rng.uniform(-2, 2, (n_users, size)),
        "offsets": rng.random(n_users),
        "item_factors": rng.uniform(-1, 1, (n_items, size)),
        "item_bias": rng.uniform(-1, 1, n_items),
        "ratings": sp.csr_matrix((values, (users, items)), shape=(n_users, n_items)),
        "unobserved_target": rng.random(n_users),
        "unobserved_weight": omega,
        "proximal_weight": proximal,
    }


def undefended(arrays):
    scores = arrays["user_factors"] @ arrays["item_factors"].T + arrays["item_bias"]
    return scores + np.asarray(arrays["offsets"], dtype=float)[:, None]


def brute_force(users, vicinities, arrays, items=slice(None)):
    """One weighted ridge regression per user and item, by the normal equations of Δ."""
    z = np.column_stack([arrays["user_factors"], np.ones(len(arrays["offsets"]))]).astype(float)
    base, ratings = undefended(arrays)[:, items], arrays["ratings"].toarray()[:, items]
    observed = arrays["ratings"].copy()
    observed.data = np.ones_like(observed.data)
    observed = observed.toarray()[:, items] > 0
    scores = np.empty((len(users), ratings.shape[1]))
    for b, (user, rows) in enumerate(zip(users, vicinities, strict=True)):
        weight = np.where(observed[rows], 1, arrays["unobserved_weight"]).T
        target = np.where(
            observed[rows], ratings[rows], arrays["unobserved_target"][rows][:, None]
        ).T
        weighted = weight[:, :, None] * z[rows]
        gram = z[rows].T @ weighted + arrays["proximal_weight"] * np.eye(z.shape[1])
        pull = np.einsum("ikd,ik->id", weighted, target - base[rows].T)
        scores[b] = base[user] + np.linalg.solve(gram, pull[:, :, None])[:, :, 0] @ z[user]
    return scores


def least_squares(users, vicinities, arrays):
    """The same by QR of the cells' equations and those of the pull: no square is formed."""
    z = np.column_stack([arrays["user_factors"], np.ones(len(arrays["offsets"]))])
    base, pull = undefended(arrays), np.sqrt(arrays["proximal_weight"]) * np.eye(z.shape[1])
    scores = base[users]
    for b, rows in enumerate(vicinities):
        for item in range(scores.shape[1]):
            rated = {v: arrays["ratings"][v, item] for v in rows if arrays["ratings"][v, item]}
            weight = np.sqrt([1 if v in rated else arrays["unobserved_weight"] for v in rows])
            target = np.array([rated.get(v, arrays["unobserved_target"][v]) for v in rows])
            system = np.vstack([weight[:, None] * z[rows], pull])
            residuals = np.append(weight * (target - base[rows, item]), np.zeros(len(pull)))
            q, r = np.linalg.qr(system)
            scores[b, item] += z[users[b]] @ np.linalg.solve(r, q.T @ residuals)
    return scores


def random_vicinities(seed, n, k, n_users=60):
    rng = np.random.default_rng(seed)
    return rng.integers(n_users, size=n), np.array([rng.permutation(n_users)[:k] for _ in range(n)])


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 50),
    size=st.integers(1, 8),
    omega=st.sampled_from(OMEGAS),
    proximal=st.sampled_from([0.05, 0.5, 5, 500]),
    twins=st.sampled_from(["none", "same latent", "same user"]),
    density=st.sampled_from([None, 0.0, 1.0]),
)
def test_it_is_the_ridge_regression_of_each_item(seed, k, size, omega, proximal, twins, density):
    arrays = problem(seed, size=size, omega=omega, proximal=proximal, density=density)
    users, vicinities = random_vicinities(seed, 3, k)
    if twins == "same latent":
        arrays["user_factors"][vicinities[0]] = arrays["user_factors"][users[0]]
    elif twins == "same user":
        vicinities[1] = vicinities[1, 0]
    expected = brute_force(users, vicinities, arrays)
    scores = vicinal_scores(users, vicinities, **arrays)
    assert scores.dtype == np.float64
    assert np.abs(scores - expected).max() < 1e-9

    for name in ("user_factors", "item_factors"):
        arrays[name] = arrays[name].astype(np.float32)
    single = vicinal_scores(users, vicinities, **arrays)
    assert single.dtype == np.float32
    assert np.abs(single - expected).max() < 1e-4


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 20),
    omega=st.sampled_from(OMEGAS),
    bound=st.sampled_from([1e-3, 0.2, 1, 100]),
)
def test_a_bounded_rating_is_one_no_further_off_than_the_bound(seed, k, omega, bound):
    """By brute force on ratings that are moved to where they are that far off, user by user."""
    arrays = problem(seed, omega=omega)
    users, vicinities = random_vicinities(seed, 3, k)
    silent = arrays | {"ratings": 0 * arrays["ratings"]}
    silent["ratings"].eliminate_zeros()
    found = vicinal_scores(users, vicinities, **arrays, rating_bound=bound)
    cells = arrays["ratings"].tocoo()
    for user, rows, scores in zip(users, vicinities, found, strict=True):
        authors = np.arange(60)
        as_silent = brute_force(authors, np.tile(rows, (60, 1)), silent)[cells.row, cells.col]
        expected = omega * arrays["unobserved_target"][cells.row] + (1 - omega) * as_silent
        moved = arrays["ratings"].copy()
        moved.data = expected + np.clip(cells.data - expected, -bound, bound)
        oracle = brute_force([user], [rows], arrays | {"ratings": moved})[0]
        assert np.abs(scores - oracle).max() < 1e-9


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(2, 20),
    omega=st.sampled_from(OMEGAS),
    scale=st.sampled_from([1e-3, 1, 1e3]),
    above=st.sampled_from([1, 1e3]),
)
def test_it_stays_so_down_to_the_least_pull_whatever_the_rank(seed, k, omega, scale, above):
    """Of the first user's neighbours two are alike, of the second's all, of the third's nearly."""
    arrays = problem(seed, omega=omega)
    arrays["ratings"].data += 1.0  # no rating looks like silence
    users, vicinities = random_vicinities(seed, 3, k)
    factors = arrays["user_factors"] = scale * arrays["user_factors"]
    factors[vicinities[2]] = factors[vicinities[2, 0]] + 1e-5 * factors[vicinities[2]]
    factors[vicinities[0, 1]] = factors[vicinities[0, 0]]
    vicinities[1] = vicinities[1, 0]
    arrays["proximal_weight"] = above * (1e-8 + 1e-20) * (1 + (factors**2).sum(1).max())
    expected = least_squares(users, vicinities, arrays)
    scores = vicinal_scores(users, vicinities, **arrays)
    assert np.abs(scores - expected).max() < 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("share", [0.99, 1e-7, 1e-292])
def test_a_pull_that_rounding_would_drown_is_refused_and_the_least_is_told(share):
    arrays = problem(0)
    arrays["user_factors"][7] = 30, 40, 0, 0
    arrays["proximal_weight"] = share * 2501e-8
    with pytest.raises(ValueError, match=r"proximal_weight must be finite and at least 2\.5e-05"):
        VicinalRegression(**arrays)
    VicinalRegression(**{**arrays, "proximal_weight": 2502e-8})


@pytest.mark.parametrize("omega", OMEGAS[1:])
def test_scores_are_the_means_of_gaussian_process_regression(omega):
    arrays = problem(3, omega=omega, proximal=0.5)
    users, vicinities = random_vicinities(3, 2, 9)
    scores = vicinal_scores(users, vicinities, **arrays)
    base, ratings = undefended(arrays), arrays["ratings"]
    for b, (user, rows) in enumerate(zip(users, vicinities, strict=True)):
        for item in range(len(arrays["item_bias"])):
            rated = {v: ratings[v].toarray()[0, item] for v in rows if item in ratings[v].indices}
            weight = np.array([1 if v in rated else omega for v in rows])
            target = np.array([rated.get(v, arrays["unobserved_target"][v]) for v in rows])
            process = GaussianProcessRegressor(DotProduct(1), alpha=0.5 / weight, optimizer=None)
            process.fit(arrays["user_factors"][rows], target - base[rows, item])
            moved = process.predict(arrays["user_factors"][[user]])
            assert scores[b, item] == pytest.approx(base[user, item] + moved[0], abs=1e-9)


def test_without_weight_on_silence_scores_move_only_where_somebody_rated():
    arrays = problem(4, omega=0.0, density=0.1)
    users, vicinities = random_vicinities(4, 20, 5)
    scores = vicinal_scores(users, vicinities, **arrays)
    rated = np.array([np.diff(arrays["ratings"][rows].tocsc().indptr) > 0 for rows in vicinities])
    assert rated.any()
    assert not rated.all()
    assert (scores[rated] != undefended(arrays)[users][rated]).all()
    assert scores[~rated] == pytest.approx(undefended(arrays)[users][~rated], abs=1e-12)


@pytest.mark.parametrize("omega", OMEGAS)
def test_one_neighbour_of_the_same_latent_vector_is_a_shrinkage(omega):
    arrays = problem(5, omega=omega, proximal=2.0)
    arrays["user_factors"][1] = arrays["user_factors"][0]
    scores = vicinal_scores(np.array([0]), np.array([[1]]), **arrays)[0]
    rated = np.zeros(len(scores), dtype=bool)
    rated[arrays["ratings"][1].indices] = True
    assert 0 < rated.sum() < len(rated)
    target = np.where(rated, arrays["ratings"][1].toarray()[0], arrays["unobserved_target"][1])
    strength = np.where(rated, 1, omega) * (1 + (arrays["user_factors"][0] ** 2).sum())
    own, neighbours = undefended(arrays)[[0, 1]]
    assert scores == pytest.approx(own + strength / (strength + 2) * (target - neighbours))


@pytest.mark.parametrize("omega", OMEGAS)
def test_an_infinite_pull_leaves_the_undefended_scores(omega):
    users, vicinities = random_vicinities(6, 10, 20)
    distances = []
    for proximal in (1e2, 1e4, 1e12):
        arrays = problem(6, omega=omega, proximal=proximal)
        moved = vicinal_scores(users, vicinities, **arrays) - undefended(arrays)[users]
        distances.append(np.abs(moved).max())
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1e-9


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), omega=st.sampled_from(OMEGAS), k=st.integers(2, 40))
def test_neither_the_neighbours_order_nor_the_ratings_changes_a_score(seed, omega, k):
    arrays = problem(seed, omega=omega)
    users, vicinities = random_vicinities(seed, 4, k)
    scores = vicinal_scores(users, vicinities, **arrays)
    shuffled = np.random.default_rng(seed).permuted(vicinities, axis=1)
    backwards = arrays["ratings"].copy()
    for first, end in zip(backwards.indptr[:-1], backwards.indptr[1:], strict=True):
        backwards.indices[first:end] = backwards.indices[first:end][::-1].copy()
        backwards.data[first:end] = backwards.data[first:end][::-1].copy()
    backwards.has_sorted_indices = backwards.has_canonical_format = False
    for again in (
        vicinal_scores(users, shuffled, **arrays),
        vicinal_scores(users, vicinities, **{**arrays, "ratings": backwards}),
    ):
        assert np.abs(again - scores).max() < 1e-9


@pytest.mark.parametrize("omega", OMEGAS)
@pytest.mark.parametrize("k", [1, 8, 40])
def test_blocks_of_users_change_nothing_but_rounding(omega, k, monkeypatch):
    arrays = problem(7, omega=omega)
    users, vicinities = random_vicinities(7, 50, k)
    whole = vicinal_scores(users, vicinities, **arrays)
    monkeypatch.setattr(vicinal_regression, "_BLOCK_NUMBERS", 7 * (k + 1) * (k + 6))
    parts = vicinal_scores(users, vicinities, **arrays)
    assert np.abs(np.subtract(whole, parts)).max() < 1e-12


@pytest.mark.parametrize("omega", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("k", [0, 1, 6, 13, 30, 64])
@pytest.mark.parametrize("twins", [False, True])
def test_silence_is_fitted_by_neighbours_or_by_factors_to_the_same_end(k, omega, twins):
    """k equations or d + 1, for users with repeated neighbours, themselves among them, too."""
    rng = np.random.default_rng(k)
    latent, offsets, silence = rng.normal(size=(80, 64)) / 4, rng.random(80), rng.random(80)
    rows = rng.integers(5 if twins else 80, size=(7, k + 1))
    found = []
    for fit in (vicinal_regression.fit_silence, vicinal_regression._fit_silence_of_many):
        written = np.empty((7, k, k + 1)), np.empty((7, k + 1)), np.empty((7, k + 1, 65))
        fit(rows, latent, offsets, silence, omega, 0.3, *written)
        found.append(written)
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, rel=0, abs=1e-10)


@pytest.mark.parametrize("omega", [0.0, 0.1])
@pytest.mark.parametrize("kind", EACH_VICTIM, ids="-".join)
def test_descent_of_the_plain_form_converges_to_it(kind, omega):
    victim = in_double(trained(*kind))
    choices = {
        "k": 6,
        "unobserved_weight": omega,
        "proximal_weight": 2.0,
        "include_user": omega == 0.1,
    }
    plain = RVD(
        victim,
        **choices,
        scope="decoder",
        optimizer="sgd",
        regularizer="none",
        learning_rate=0.2,
        steps=250,
    )
    users = USERS[:2]
    exact = ClosedFormRVD(victim, **choices).score(users)
    assert np.abs(exact - victim.score(users)).max() > 0.05
    assert np.abs(plain.score(users) - exact).max() < 1e-6


@pytest.mark.parametrize("omega", [0.0, 0.1])
@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_with_the_victims_regulariser_too(kind, omega):
    """The engine's steps, in the span of the vicinity, converge to it: so do those of the plain form."""
    victim = in_double(trained(*kind))
    choices = {"k": 6, "unobserved_weight": omega, "proximal_weight": 2.0, "include_user": True}
    if victim.loss.per_cell:
        with pytest.raises(ValueError, match=f"regularizer must be none.*{victim.name}.*RVD"):
            ClosedFormRVD(victim, regularizer="coupled", **choices)
        return
    exact = ClosedFormRVD(victim, regularizer="coupled", **choices).score(USERS)
    descent = {"scope": "decoder", "optimizer": "sgd", "learning_rate": 0.2, "steps": 250}
    assert np.abs(FastRVD(victim, **descent, **choices).score(USERS) - exact).max() < 1e-6
    without = ClosedFormRVD(victim, **choices).score(USERS)
    assert np.abs(exact - without).max() > 0.001


@pytest.mark.parametrize("kind", [("MF", "rating"), ("AutoRec", "ranking")], ids="-".join)
def test_real_users_get_what_brute_force_gives(kind, ml100k):
    name, regime = kind
    split = leave_one_out(ml100k, stream(0, "split"))
    victim = VICTIMS[name](epochs=1, reg=0.01, unobserved_weight=0.1 * (regime == "ranking"))
    victim.fit(split.train, split.validation, ml100k.levels, stream(0, "model"))
    users = stream(0, "users").choice(ml100k.n_users, 200, replace=False)
    items = np.sort(stream(0, "items").choice(ml100k.n_items, 120, replace=False))
    defense = ClosedFormRVD(victim, k=30)
    everyone = np.arange(ml100k.n_users)
    arrays = {
        "user_factors": victim.user_factors().astype(float),
        "offsets": victim.encode(victim.parameters, everyone)[0].detach().numpy(),
        "item_factors": victim.parameters["item_factors"].numpy(),
        "item_bias": victim.parameters["item_bias"].numpy(),
        "ratings": victim.train,
        "unobserved_target": victim.unobserved_target(everyone).numpy(),
        "unobserved_weight": defense.config.unobserved_weight,
        "proximal_weight": defense.config.proximal_weight,
    }
    expected = brute_force(users, defense.vicinity(users), arrays, items)
    assert np.abs(defense.score(users)[:, items] / 5 - expected).max() < 1e-4
    precise = {**arrays, "item_factors": arrays["item_factors"].astype(float)}
    scores = vicinal_scores(users, defense.vicinity(users), **precise)[:, items]
    assert np.abs(scores - expected).max() < 1e-9


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("proximal_weight", 0, "proximal_weight must be finite and at least"),
        ("proximal_weight", -1, "proximal_weight must be finite and at least"),
        ("proximal_weight", float("nan"), "proximal_weight must be finite"),
        ("proximal_weight", float("inf"), "proximal_weight must be finite"),
        ("unobserved_weight", -0.1, "unobserved_weight must be between 0 and 1"),
        ("unobserved_weight", 1.1, "unobserved_weight must be between 0 and 1"),
        ("unobserved_weight", float("nan"), "unobserved_weight must be between 0 and 1"),
        ("user_factors", np.ones((59, 4)), r"user_factors must have the shape \(60, 4\)"),
        ("user_factors", np.ones((60, 3)), r"item_factors must have the shape \(12, 3\)"),
        ("user_factors", np.ones(60), "user_factors must have the shape"),
        ("offsets", np.ones(1), r"offsets must have the shape \(60,\)"),
        ("unobserved_target", np.ones((60, 1)), "unobserved_target must have the shape"),
        ("item_bias", 0.0, r"item_bias must have the shape \(12,\), got \(\)"),
        ("ratings", np.ones((60, 12)), "ratings must be a CSR matrix"),
        ("ratings", sp.coo_matrix((60, 12)), "ratings must be a CSR matrix"),
        ("user_factors", np.full((60, 4), np.inf), "user_factors must be finite"),
        ("item_factors", np.full((12, 4), np.nan), "item_factors must be finite"),
        ("item_bias", np.full(12, -np.inf), "item_bias must be finite"),
        ("offsets", np.full(60, np.nan), "offsets must be finite"),
        ("unobserved_target", np.full(60, np.nan), "unobserved_target must be finite"),
        ("ratings", sp.csr_matrix(np.diag([1, np.nan] + 58 * [0])[:, :12]), "ratings must be fin"),
        (
            "users",
            np.array([0.0, 1.0]),
            "users must be row numbers, integers from 0 to 59, got 0.0",
        ),
        (
            "users",
            np.array([False, True]),
            "users must be row numbers, integers from 0 to 59, got False",
        ),
        ("vicinities", np.array([[1.0], [2.0]]), "vicinities must be row numbers, integers"),
        ("users", np.array([0, 60]), "users must be row numbers from 0 to 59, got 60"),
        ("users", np.array([0]), "vicinities must have a row for each of the 1 users, got 2"),
        (
            "vicinities",
            np.array([[1], [-1]]),
            "vicinities must be row numbers from 0 to 59, got -1",
        ),
        ("vicinities", np.array([1, 2]), "vicinities"),
        ("rating_bound", 0.0, "rating_bound must be above 0, or None, got 0"),
        ("rating_bound", np.nan, "rating_bound must be above 0, or None, got nan"),
    ],
)
def test_bad_input_is_refused_by_name(name, value, message):
    call = {"users": np.array([0, 1]), "vicinities": np.array([[1, 2], [2, 3]]), **problem(0)}
    vicinal_scores(**call)
    with pytest.raises(ValueError, match=message):
        vicinal_scores(**{**call, name: value})


def test_a_cell_that_stands_twice_is_refused():
    arrays = problem(0, density=1.0)
    indices = arrays["ratings"].indices.copy()
    indices[1] = indices[0]
    cells = arrays["ratings"].data, indices, arrays["ratings"].indptr
    arrays["ratings"] = sp.csr_matrix(cells, shape=arrays["ratings"].shape)
    with pytest.raises(ValueError, match="the same cell twice"):
        vicinal_scores(np.array([0]), np.array([[1]]), **arrays)


def test_lists_and_integers_are_arrays_too():
    arrays = problem(0)
    users, vicinities = np.array([3]), np.array([[1, 2]])
    expected = vicinal_scores(users, vicinities, **arrays)
    arrays = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in arrays.items()
    }
    assert np.array_equal(vicinal_scores([3], [[1, 2]], **arrays), expected)


@pytest.mark.parametrize(
    "choice",
    [
        {"k": 0},
        {"proximal_weight": 0},
        {"proximal_weight": float("inf")},
        {"unobserved_weight": 2},
        {"distance": "manhattan"},
        {"steps": 3},
        {"groups": 31},
        {"rating_bound": 0},
        {"regularizer": "decoupled"},
    ],
)
def test_choices_out_of_range_are_refused(choice):
    with pytest.raises(ValidationError, match=next(iter(choice))):
        ClosedFormRVD(trained("MF", "rating"), **choice)


def test_it_serves_the_same_vicinity_as_the_plain_form():
    victim = trained("AutoRec", "ranking")
    for choices in ({"k": 3}, {"k": 4, "distance": "cosine", "include_user": True}):
        make = partial(RVD, victim), partial(ClosedFormRVD, victim)
        plain, exact = (form(**choices).vicinity(USERS) for form in make)
        assert np.array_equal(plain, exact)


@pytest.mark.parametrize("groups", [3, 4])
def test_groups_are_dealt_neighbours_and_what_is_served_is_their_median(groups):
    victim = trained("MF", "rating")
    defense = ClosedFormRVD(victim, k=8, groups=groups, proximal_weight=0.6)
    everyone = np.arange(N_USERS)
    offsets, factors = victim.encode(victim.parameters, everyone)
    regression = VicinalRegression(
        user_factors=factors,
        offsets=offsets,
        item_factors=victim.parameters["item_factors"],
        item_bias=victim.parameters["item_bias"],
        ratings=victim.train,
        unobserved_target=victim.unobserved_target(everyone),
        unobserved_weight=0.1,
        proximal_weight=0.6 / groups,
    )
    rows = defense.vicinity(USERS)
    alone = [regression.score(USERS, rows[:, first::groups]) for first in range(groups)]
    assert defense.score(USERS) == pytest.approx(5 * np.median(alone, axis=0), abs=1e-5)


def test_one_neighbour_s_rating_moves_no_score_past_what_other_groups_say():
    victim = trained("MF", "rating")
    users, item = USERS[[0, 2]], 5
    before = ClosedFormRVD(victim, k=9, groups=3)
    liar = before.vicinity(users)[0, 0]
    lied = copy.copy(victim)
    lied.train = victim.train.tolil()
    lied.train[liar, item] = 1000
    lied.train = lied.train.tocsr()
    bounds = [
        before._regression.score(users[:1], before.vicinity(users[:1])[:, g::3]) for g in (1, 2)
    ]
    after = ClosedFormRVD(lied, k=9, groups=3).score(users[:1])[0, item]
    alone = ClosedFormRVD(lied, k=9).score(users[:1])[0, item]
    low, high = sorted(bound[0, item] for bound in bounds)
    assert low - 1e-6 <= after <= high + 1e-6
    assert alone > high + 1
