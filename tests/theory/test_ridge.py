"""The decoder-only vicinal loss: its constants, optimum and descent against brute force."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.models import VICTIMS
from rvdlib.models.base import DECODER
from rvdlib.seeding import stream
from rvdlib.theory.ridge import VicinalRidge, decoder_of, latent_of

ROWS = np.array([3, 8, 21, 30, 44])


@st.composite
def problems(draw, regularised=True):
    """A small ridge problem and a start; every ω, singular designs, items that nobody rated."""
    k, p, items = draw(st.integers(1, 7)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    omega = draw(st.sampled_from([0.0, 1e-3, 0.1, 1.0]))
    reg = draw(st.sampled_from([1e-3, 0.05, 1.0])) if regularised else 0.0
    rng = stream(draw(st.integers(0, 10**6)), "ridge")
    observed = rng.random((k, items)) < 0.4
    if not observed.any():
        observed[0, 0] = True
    weight = np.where(observed, 1.0, omega)
    counts_cells = draw(st.booleans())
    penalty = reg * (weight if counts_cells else np.ones((k, items)))
    latent = rng.standard_normal((k, p))
    if k > 1 and draw(st.booleans()):
        latent[1] = latent[0]
    ridge = VicinalRidge(latent, rng.standard_normal((k, items)), weight, penalty)
    return ridge, rng.standard_normal((items, p))


def hessians(ridge):
    k, p = ridge.latent.shape
    return [
        2 / k * sum(c * np.outer(z, z) for c, z in zip(weight, ridge.latent, strict=True))
        + 2 * penalty.mean() * np.eye(p)
        for weight, penalty in zip(ridge.weight.T, ridge.penalty.T, strict=True)
    ]


@given(problems(regularised=True) | problems(regularised=False))
@settings(max_examples=60, deadline=None)
def test_each_items_constants_are_the_eigenvalues_of_its_hessian(problem):
    ridge, _ = problem
    values = np.array([np.linalg.eigvalsh(hessian) for hessian in hessians(ridge)])
    least, most = ridge.curvature
    np.testing.assert_allclose(least, values[:, 0], atol=1e-9)
    np.testing.assert_allclose(most, values[:, -1], atol=1e-9)


@given(problems())
@settings(max_examples=40, deadline=None)
def test_the_optimum_is_the_direct_solve(problem):
    ridge, start = problem
    found = ridge.optimum(start)
    k = len(ridge.latent)
    for item, hessian in enumerate(hessians(ridge)):
        if not hessian.any():  # nobody rated it, and the regulariser counts cells
            np.testing.assert_array_equal(found[item], start[item])
            continue
        pull = 2 / k * ridge.latent.T @ (ridge.weight[:, item] * ridge.target[:, item])
        np.testing.assert_allclose(found[item], np.linalg.solve(hessian, pull), atol=1e-8)
    np.testing.assert_allclose(ridge.gradient(found), 0, atol=1e-9)
    np.testing.assert_allclose(ridge.trained_point(start), found, atol=1e-4)


@given(problems(regularised=False))
@settings(max_examples=40, deadline=None)
def test_without_a_regulariser_the_optimum_is_the_nearest_least_squares_fit(problem):
    ridge, start = problem
    found = ridge.optimum(start)
    for item, weight in enumerate(ridge.weight.T):
        root = np.sqrt(weight)
        residual = root * (ridge.target[:, item] - ridge.latent @ start[item])
        nearest = start[item] + np.linalg.pinv(root[:, None] * ridge.latent, 1e-6) @ residual
        np.testing.assert_allclose(found[item], nearest, atol=1e-6)


@given(problems(regularised=True) | problems(regularised=False), st.floats(0.05, 1.9))
@settings(max_examples=40, deadline=None)
def test_descent_is_that_of_a_loop_over_rows_and_items(problem, share):
    ridge, start = problem
    step, epochs = share / ridge.curvature[1].max(), [1, 2, 9, 25]
    found, point = ridge.descend(start, step, epochs), start.copy()
    k, items = ridge.weight.shape
    for epoch in range(1, 26):
        change = np.zeros_like(point)
        for v in range(k):
            for i in range(items):
                error = ridge.target[v, i] - ridge.latent[v] @ point[i]
                change[i] -= 2 / k * ridge.weight[v, i] * error * ridge.latent[v]
                change[i] += 2 / k * ridge.penalty[v, i] * point[i]
        point -= step * change
        if epoch in epochs:
            np.testing.assert_allclose(found[epochs.index(epoch)], point, atol=1e-7)


@given(problems())
@settings(max_examples=20, deadline=None)
def test_the_gradient_is_that_of_the_value_and_rows_add_up(problem):
    ridge, start = problem
    slope = ridge.gradient(start)
    direction = stream(1, "direction").standard_normal(start.shape)
    ahead, behind = (ridge.value(start + shift * direction) for shift in (1e-5, -1e-5))
    assert (ahead - behind) / 2e-5 == pytest.approx((slope * direction).sum(), abs=1e-5)
    parts = [ridge.take([row]).gradient(start) for row in range(len(ridge.latent))]
    np.testing.assert_allclose(np.mean(parts, axis=0), slope, atol=1e-9)


@pytest.fixture(scope="module", params=[(v, r) for v in VICTIMS for r in ("rating", "ranking")])
def victim(request):
    name, regime = request.param
    ratings = synthetic_ratings(60, 80, 1200, rng=stream(0, "ratings"))
    split = leave_one_out(ratings, stream(0, "split"))
    omega = 0.1 if regime == "ranking" else 0.0
    model = VICTIMS[name](embedding_size=5, epochs=2, unobserved_weight=omega, reg=0.03)
    return model.fit(split.train, split.validation, ratings.levels, stream(0, "model"))


@pytest.mark.parametrize("regularizer", ["coupled", "none"])
def test_it_is_the_victims_own_objective_in_all_that_depends_on_the_decoder(victim, regularizer):
    loss = victim.loss.variant(regularizer=regularizer)
    ridge = VicinalRidge.of(victim, ROWS, loss)
    parameters = {name: value.double() for name, value in victim.parameters.items()}
    moving = {n: parameters[n].requires_grad_() for n in DECODER if n not in victim.constants}
    value = victim.objective(ROWS, loss)(parameters)
    value.backward()
    slopes = [moving[name].grad.numpy() for name in moving]
    np.testing.assert_allclose(
        ridge.gradient(decoder_of(victim)), np.column_stack(slopes), atol=1e-6
    )
    if regularizer == "none":
        assert ridge.value(decoder_of(victim)) == pytest.approx(value.item(), rel=1e-5)


def test_latent_vectors_and_decoder_give_the_victims_scores(victim):
    with torch.no_grad():
        offsets = victim.encode(victim.parameters, ROWS)[0].numpy()
    scores = latent_of(victim, ROWS) @ decoder_of(victim).T + offsets[:, None]
    np.testing.assert_allclose(scores * victim.max_rating, victim.score(ROWS), atol=1e-4)


def test_what_is_no_loss_and_no_vicinity_are_refused(victim):
    with pytest.raises(ValueError, match="decoupled regularizer"):
        VicinalRidge.of(victim, ROWS, replace(victim.loss, regularizer="decoupled"))
    with pytest.raises(ValueError, match="one user or more"):
        VicinalRidge.of(victim, [])
    with pytest.raises(ValueError, match="row numbers"):
        VicinalRidge.of(victim, [-1])
