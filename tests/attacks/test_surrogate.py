"""The surrogate against its loss as the docstring has it, differentiated twice and inverted."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rvdlib.attacks.surrogate import ITEM, USER, Surrogate
from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel, build_threat_model

LEVELS = np.arange(1, 6, dtype=np.float32)
TARGETS = np.array([1, 4])
REG = 0.1
EVEN = pytest.mark.parametrize("omega", [0.0, 0.2])


def threat_of(dense):
    visible = sp.csr_matrix(np.asarray(dense, dtype=np.float32))
    return ThreatModel(visible, TARGETS, 3, 4, LEVELS)


@functools.cache
def small(omega, size=2, sweeps=2000):
    """Twelve users and three fakes, trained to the last digit in float64."""
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 6, (12, 8)) * (rng.random((12, 8)) < 0.6)
    profiles = rng.uniform(1, 5, (3, 8)) * (rng.random((3, 8)) < 0.6)
    profiles[:, TARGETS] = 5
    surrogate = Surrogate.train(
        threat_of(dense), rng, embedding_size=size, unobserved_weight=omega, reg=REG, sweeps=100
    )
    return surrogate.refit(sp.csr_matrix(profiles), sweeps)


def free(surrogate):
    """All that is trained, as one vector, and the way back to x and y."""
    users, items = surrogate.users[:, USER], surrogate.items[:, ITEM]
    flat = torch.from_numpy(np.concatenate([users.ravel(), items.ravel()]))

    def vectors(flat):
        x, y = flat[: users.size].view(users.shape), flat[users.size :].view(items.shape)
        return torch.cat([x, torch.ones_like(x[:, :1])], 1), torch.cat(
            [torch.ones_like(y[:, :1]), y], 1
        )

    return flat, vectors


def loss(surrogate, vectors, flat, ratings=None, without=None, rated=None):
    """L, or what of it is due to the rows of the users that ``without`` does not name.

    ``rated`` are weights c, (users, items), of cells that are silent with 1 − c.
    """
    ratings = torch.from_numpy(surrogate.ratings.toarray()) if ratings is None else ratings
    if rated is None:
        rated = torch.from_numpy(surrogate.ratings.toarray() != 0).double()
    present = torch.ones(len(rated))
    if without is not None:
        present[without] = 0
    omega = surrogate.unobserved_weight
    x, y = vectors(flat)
    scores = x @ y.T
    cells = rated * (ratings - scores) ** 2 + (1 - rated) * omega * scores**2
    counts = rated + omega
    shrink = counts.sum(1) * (x[:, :-1] ** 2).sum(1) + counts @ (y[:, 1:] ** 2).sum(1)
    return 0.5 * (present * (cells.sum(1) + REG * shrink)).sum()


@EVEN
def test_training_ends_where_the_loss_is_stationary(omega):
    surrogate = small(omega)
    flat, vectors = free(surrogate)
    flat.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(surrogate, vectors, flat), flat)
    assert gradient.abs().max() < 1e-9
    scores = 5 * (surrogate.users @ surrogate.items.T + surrogate.baseline)[:12]
    assert surrogate.scores() == pytest.approx(scores)
    mean = surrogate.ratings[:12]
    if omega:
        assert surrogate.baseline == 0
    else:  # m is the mean of the visible ratings, that of the fakes stays out of it
        assert mean.data.mean() == pytest.approx(0, abs=1e-7)
        assert np.abs(surrogate.ratings[12:].data.mean()) > 0.01


@EVEN
def test_item_factors_move_with_a_rating_as_the_kkt_conditions_say(omega):
    """∂y_i/∂r_ui = A_i⁻¹ x_u, against the item's ridge regression done again by least squares."""
    surrogate = small(omega)
    x, rated = surrogate.users, surrogate.ratings.toarray() != 0

    def refitted(item, ratings):
        weight = np.sqrt(np.where(rated[:, item], 1, omega))[:, None]
        penalty = np.sqrt(REG * (rated[:, item].sum() + omega * len(x)))
        design = np.vstack([weight * x[:, 1:], penalty * np.eye(x.shape[1] - 1)])
        target = weight[:, 0] * (np.where(rated[:, item], ratings, 0) - x[:, 0])
        return np.linalg.lstsq(design, np.append(target, np.zeros(x.shape[1] - 1)), rcond=None)[0]

    matrices = surrogate.item_matrices(np.array([4, 2]))
    for matrix, item in zip(matrices, (4, 2), strict=True):
        user = np.flatnonzero(rated[12:, item])[0] + 12
        ratings = surrogate.ratings[:, item].toarray().ravel()
        assert refitted(item, ratings) == pytest.approx(surrogate.items[item, 1:], abs=1e-8)
        step = np.zeros_like(ratings)
        step[user] = 1e-3
        difference = (refitted(item, ratings + step) - refitted(item, ratings - step)) / 2e-3
        assert np.linalg.solve(matrix, x[user, 1:]) == pytest.approx(difference, rel=1e-6)


def mean_score(vectors, targets, flat, n_visible=12):
    x, y = vectors(flat)
    return 5 * (x[:n_visible] @ y[targets.tolist()].T).mean()


@EVEN
def test_the_gradient_of_the_mean_score_is_its_gradient(omega):
    surrogate = small(omega, sweeps=5)
    flat, vectors = free(surrogate)
    flat.requires_grad_()
    mean = mean_score(vectors, TARGETS, flat)
    assert surrogate.mean_score(TARGETS) == pytest.approx(mean.item() + 5 * surrogate.baseline)
    (gradient,) = torch.autograd.grad(mean, flat)
    by_user, by_item = surrogate.mean_score_gradient(TARGETS)
    found = np.concatenate([by_user[:, USER].ravel(), by_item[:, ITEM].ravel()])
    assert found == pytest.approx(gradient.numpy(), abs=1e-12)


@EVEN
@pytest.mark.parametrize("sweeps", [1, 2, 3, 400])
def test_gradients_are_those_of_so_many_sweeps_of_training(omega, sweeps):
    """Against finite differences: of a few sweeps, and with many of the whole training."""
    surrogate = small(omega)
    fakes = 5 * (surrogate.ratings[12:].toarray() + surrogate.baseline)
    fakes[surrogate.ratings[12:].toarray() == 0] = 0
    gradient = surrogate.rating_gradient(*surrogate.mean_score_gradient(TARGETS), sweeps) / 5
    assert gradient.shape == fakes.shape
    for cell in list(zip(*np.nonzero(fakes), strict=True))[::4]:
        found = []
        for step in (1e-4, -1e-4):
            changed = fakes.copy()
            changed[cell] += step
            found.append(surrogate.refit(sp.csr_matrix(changed), sweeps).mean_score(TARGETS))
        difference = (found[0] - found[1]) / 2e-4
        assert gradient[cell] == pytest.approx(difference, rel=1e-4, abs=1e-8)


@EVEN
def test_many_sweeps_solve_the_whole_system(omega):
    """a = H⁻¹ ∇J, and what J gains if a user leaves, a · ∇L_u, by automatic differentiation."""
    surrogate = small(omega, size=1)
    flat, vectors = free(surrogate)
    hessian = torch.autograd.functional.hessian(lambda f: loss(surrogate, vectors, f), flat)
    gradient = torch.autograd.functional.jacobian(lambda f: mean_score(vectors, TARGETS, f), flat)
    expected = torch.linalg.pinv(hessian, hermitian=True, rtol=1e-9) @ gradient
    given = surrogate.mean_score_gradient(TARGETS)
    users, items = surrogate.adjoint(*given, 1000)
    found = np.concatenate([users[:, USER].ravel(), items[:, ITEM].ravel()])
    assert found == pytest.approx(expected.numpy(), rel=1e-6, abs=1e-8)
    assert not users[:, -1].any()
    assert not items[:, 0].any()

    effect = surrogate.removal_effect(*given, 1000)
    assert effect.shape == (15,)
    for user in range(15):
        others = np.delete(np.arange(15), user)
        own = torch.autograd.functional.jacobian(
            lambda f, others=others: loss(surrogate, vectors, f, without=others), flat
        )
        assert effect[user] == pytest.approx((own @ expected).item(), rel=1e-5, abs=1e-9)


@EVEN
def test_presence_gradients_are_those_of_weights_between_silence_and_a_rating(omega):
    """dJ/dc = −∂∇L/∂c · H⁻¹ ∇J, by automatic differentiation, wherever a fake rates or is silent."""
    surrogate = small(omega, size=1)
    flat, vectors = free(surrogate)
    flat.requires_grad_()
    dense = surrogate.ratings.toarray()
    rated = torch.from_numpy(dense != 0).double().requires_grad_()
    ratings = np.where(dense != 0, dense, np.random.default_rng(0).uniform(-0.5, 1, dense.shape))
    value = loss(surrogate, vectors, flat, torch.from_numpy(ratings), rated=rated)
    (slope,) = torch.autograd.grad(value, flat, create_graph=True)
    hessian = torch.autograd.functional.hessian(lambda f: loss(surrogate, vectors, f), flat)
    gradient = torch.autograd.functional.jacobian(lambda f: mean_score(vectors, TARGETS, f), flat)
    a = torch.linalg.pinv(hessian, hermitian=True, rtol=1e-9) @ gradient
    (expected,) = torch.autograd.grad(-(slope * a).sum(), rated)
    given = surrogate.mean_score_gradient(TARGETS)
    g, h = surrogate.presence_gradient(*given, 1000)
    assert g * ratings[12:] - h == pytest.approx(expected[12:].numpy(), rel=1e-5, abs=1e-8)
    assert g == pytest.approx(surrogate.rating_gradient(*given, 1000), abs=1e-12)


@EVEN
def test_removal_effects_foretell_what_removal_does(omega):
    split = leave_one_out(
        synthetic_ratings(60, 30, 700, rng=stream(0, "ratings")), stream(0, "split")
    )
    threat = build_threat_model(split, TARGETS, stream(0, "threat"), visible_share=1)
    options = {"embedding_size": 2, "unobserved_weight": omega, "reg": REG}
    whole = Surrogate.train(threat, stream(0, "factors"), sweeps=300, **options)
    effect = whole.removal_effect(*whole.mean_score_gradient(TARGETS), 50)
    gained = []
    for user in range(60):
        others = np.delete(np.arange(60), user)
        fewer = replace(whole, ratings=whole.ratings[others], n_visible=59)
        fewer = fewer.refit(threat.visible[:0], 50)
        before = whole.scores()[others][:, TARGETS].mean()
        gained.append(fewer.mean_score(TARGETS) - before)
    assert np.corrcoef(effect, gained)[0, 1] > 0.9


def test_nobody_is_predicted_nothing_about_what_nobody_rated():
    dense = np.zeros((4, 6))
    dense[:3, :3] = [[5, 1, 3], [4, 2, 0], [3, 0, 1]]
    options = {"embedding_size": 3, "reg": REG, "sweeps": 10}
    rating = Surrogate.train(
        threat_of(dense), np.random.default_rng(0), unobserved_weight=0.0, **options
    )
    assert not rating.items[3:, ITEM].any()
    assert not rating.users[3, USER].any()
    assert rating.scores()[3, 3:] == pytest.approx(19 / 7)
    assert all(np.isfinite(each).all() for each in rating.adjoint(rating.users, rating.items, 2))
    ranking = Surrogate.train(
        threat_of(dense), np.random.default_rng(0), unobserved_weight=0.3, **options
    )
    assert np.abs(ranking.scores()[:, 3:]).max() < 1
