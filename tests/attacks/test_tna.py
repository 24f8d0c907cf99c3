"""TNA against ridge regressions done again, finite differences, and lists looked up one by one."""

import functools

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rvdlib.attacks import craft
from rvdlib.attacks.history import History
from rvdlib.attacks.profiles import item_moments
from rvdlib.attacks.surrogate import Surrogate
from rvdlib.attacks.tna import Answer, Lists, descend, influential_users
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel

TARGETS = np.array([3, 40])
REG = 0.05
BOTH = pytest.mark.parametrize("name", ["u_tna", "s_tna"])
REGIMES = pytest.mark.parametrize("omega", [0.0, 0.1])


@functools.cache
def surrogate_of(threat, omega=0.0, size=3, sweeps=200):
    options = {"embedding_size": size, "unobserved_weight": omega, "reg": REG}
    rng = stream(0, "surrogate")
    return Surrogate.train(threat, rng, sweeps=sweeps, **options)


def ridge(design, target, weight, penalty):
    root = np.sqrt(weight)
    rows = np.vstack([root[:, None] * design, np.sqrt(penalty) * np.eye(design.shape[1])])
    padded = np.concatenate([root * target, np.zeros(design.shape[1])])
    return np.linalg.lstsq(rows, padded, rcond=None)[0]


def some_weights(threat, rng):
    weights = rng.random(threat.n_items) * (rng.random(threat.n_items) < 0.5)
    weights[:10] = rng.random(10) < 0.5
    weights[threat.targets] = 1
    return weights


@REGIMES
def test_the_answer_to_weights_is_that_of_two_weighted_ridge_regressions(threat, omega):
    surrogate = surrogate_of(threat, omega)
    weights = some_weights(threat, np.random.default_rng(0))
    means, _ = item_moments(threat)
    stars = means.copy()
    stars[threat.targets] = 5
    ratings = stars / 5 - surrogate.baseline
    answer = Answer(surrogate, threat, np.arange(threat.n_items), means)

    # One cell of weight w at the rating and one of weight (1 − w) ω at zero, for every item.
    y = surrogate.items
    cell = np.concatenate([weights, (1 - weights) * omega])
    target = np.concatenate([ratings - y[:, -1], -y[:, -1]])
    penalty = REG * (weights.sum() + omega * threat.n_items)
    user = np.append(ridge(np.vstack([y, y])[:, :-1], target, cell, penalty), 1)
    found = answer.user_vector(torch.from_numpy(weights)).numpy()
    assert found == pytest.approx(user, rel=1e-7)

    items = answer.item_vectors(torch.from_numpy(weights)).numpy()
    x, rated = surrogate.users, threat.visible.toarray() > 0
    for item in range(threat.n_items):
        own = surrogate.ratings[:, item].toarray().ravel()
        w = weights[item]
        design = np.vstack([x, user, user])
        target = np.concatenate([np.where(rated[:, item], own, 0), [ratings[item], 0]])
        cell = np.concatenate([np.where(rated[:, item], 1, omega), [w, (1 - w) * omega]])
        penalty = REG * (rated[:, item].sum() + 1 + omega * (len(x) + 1))
        expected = ridge(design[:, 1:], target - design[:, 0], cell, penalty)
        assert items[item] == pytest.approx(np.append(1, expected), rel=1e-6, abs=1e-9)


@REGIMES
def test_what_is_foretold_of_a_whole_profile_is_what_one_sweep_of_training_does(threat, omega):
    """With weights 0 and 1 and ratings at the mean the answer is training, its users held."""
    surrogate = surrogate_of(threat, omega, sweeps=3000)
    means, _ = item_moments(threat)
    weights = (np.random.default_rng(1).random(threat.n_items) < 0.4).astype(float)
    weights[threat.targets] = 1
    stars = np.where(weights > 0, means, 0)
    stars[threat.targets] = 5
    trained = surrogate.refit(sp.csr_matrix(stars), 1)
    answer = Answer(surrogate, threat, np.flatnonzero(weights), means)
    assert answer.user_vector(torch.from_numpy(weights)).numpy() == pytest.approx(
        trained.users[-1], rel=1e-6
    )
    items = answer.item_vectors(torch.from_numpy(weights)).numpy()
    assert items == pytest.approx(trained.items[weights > 0], rel=1e-5, abs=1e-8)


@REGIMES
def test_the_gradient_of_the_ranking_loss_is_that_of_finite_differences(threat, omega):
    surrogate = surrogate_of(threat, omega)
    lists = Lists.of(surrogate, threat, np.arange(surrogate.n_visible), 7)
    answer = Answer(surrogate, threat, lists.shown, item_moments(threat)[0])
    weights = torch.from_numpy(some_weights(threat, np.random.default_rng(2))).requires_grad_()

    def loss(weights):
        return lists.loss(answer.item_vectors(weights), 0.1)

    (gradient,) = torch.autograd.grad(loss(weights), weights)
    # Items that nobody is shown matter by what they make of the fake.
    assert gradient.abs().min() > 0
    for item in range(0, threat.n_items, 7):
        step = torch.zeros_like(weights)
        step[item] = 1e-5
        with torch.no_grad():
            difference = (loss(weights + step) - loss(weights - step)).item() / 2e-5
        assert gradient[item].item() == pytest.approx(difference, rel=1e-5, abs=1e-10)


@REGIMES
def test_lists_and_their_loss_are_those_looked_up_user_by_user(threat, omega):
    surrogate = surrogate_of(threat, omega)
    users = np.array([0, 4, 17, 30, 58])
    scores, rated = surrogate.scores() / 5, threat.visible.toarray() > 0
    losses = []
    for user in users:
        unrated = [i for i in range(threat.n_items) if not rated[user, i] and i not in TARGETS]
        best = sorted(unrated, key=lambda item: -scores[user, item])[:9]
        for target in TARGETS[~rated[user, TARGETS]]:
            ahead = scores[user, best] - scores[user, target]
            losses += (1 / (1 + np.exp(-ahead / 0.2))).tolist()
    lists = Lists.of(surrogate, threat, users, 9)
    assert 0 < lists.counted.sum() == len(losses)
    items = torch.from_numpy(surrogate.items[lists.shown])
    assert lists.loss(items, 0.2).item() == pytest.approx(np.mean(losses))


def test_who_has_rated_nearly_all_or_a_target_is_not_counted_beyond_what_is_left():
    dense = np.full((4, 6), 3.0)
    dense[0, 4:] = 0  # left: items 4 and 5
    dense[1, [0, 2]] = 0  # left: target 0 and item 2
    dense[2, :3] = 0  # left: target 0 and items 1 and 2
    threat = ThreatModel(
        sp.csr_matrix(dense.astype(np.float32)), np.array([0]), 1, 2, np.arange(1.0, 6)
    )
    surrogate = surrogate_of(threat, sweeps=5)
    lists = Lists.of(surrogate, threat, np.arange(4), 50)
    assert lists.counted.sum(dim=(1, 2)).tolist() == [0, 1, 2, 0]
    nobody = Lists.of(surrogate, threat, np.array([0, 3]), 50)
    assert nobody.loss(torch.from_numpy(surrogate.items[nobody.shown]), 0.1) == 0


def test_descent_stays_in_the_box_lowers_what_it_descends_and_leaves_the_targets():
    wanted = torch.tensor([2.0, -1.0, 0.5, 0.3, 0.9], dtype=torch.float64)

    def objective(weights):
        return ((weights - wanted) ** 2).sum()

    start = np.full(5, 0.4)
    found = descend(objective, start, np.array([3]), 600, 0.01)
    # The largest gradient, which the wall never lets vanish, sets the size of all steps.
    assert found == pytest.approx([1, 0, 0.5, 1, 0.9], abs=0.02)
    once = descend(objective, np.full(5, 0.4), np.array([3]), 1, 0.1)
    assert once == pytest.approx([0.5, 0.4 - 0.1 * 1.4 / 1.6, 0.4 + 0.1 / 16, 1, 0.4 + 0.5 / 16])


def test_influential_are_those_without_whom_the_targets_would_fall(threat):
    surrogate = surrogate_of(threat, sweeps=500)
    effect = surrogate.removal_effect(*surrogate.mean_score_gradient(TARGETS), 3)
    users = influential_users(surrogate, TARGETS, 0.3)
    assert len(users) == round(0.3 * surrogate.n_visible)
    assert (np.diff(users) > 0).all()
    others = np.setdiff1d(np.arange(surrogate.n_visible), users)
    assert effect[users].max() < effect[others].min()
    assert effect[users].mean() < 0
    assert influential_users(surrogate, TARGETS, 1.0).tolist() == list(range(surrogate.n_visible))
    assert len(influential_users(surrogate, TARGETS, 1e-9)) == 1


@BOTH
@REGIMES
def test_the_ranking_loss_falls_fake_by_fake(threat, name, omega):
    history = History()
    options = {"unobserved_weight": omega, "history": history}
    craft(name, threat, stream(0, "attack"), **options)
    assert len(history.objectives) == threat.n_fakes
    assert history.objectives[-1] < 0.95 * history.objectives[0]
    assert np.mean(np.diff(history.objectives) < 0) > 0.7


def test_optimised_weights_choose_other_items_and_better_ones_than_chance(threat):
    """By the ranking loss of a surrogate trained anew on the whole attack, at the same ratings."""
    clean = surrogate_of(threat)
    losses = {}
    for steps in (0, 10):
        found = []
        for seed in range(5):
            fakes = craft("u_tna", threat, stream(seed, "attack"), steps=steps)
            attacked = clean.refit(fakes, 100)
            lists = Lists.of(attacked, threat, np.arange(clean.n_visible), 20)
            items = torch.from_numpy(attacked.items[lists.shown])
            found.append(lists.loss(items, 0.1).item())
        losses[steps] = np.array(found)
    assert (losses[10] < losses[0]).mean() > 0.7
    assert losses[10].mean() < losses[0].mean() - 0.005


def test_all_users_and_the_influential_ones_are_attacked_differently(threat):
    everybody, few = (craft(name, threat, stream(0, "attack")) for name in ("u_tna", "s_tna"))
    assert (everybody != few).nnz > 0
    whole = craft("s_tna", threat, stream(0, "attack"), influential_share=1.0)
    assert (everybody != whole).nnz == 0


def test_weight_is_paid_for(threat):
    """Under a penalty that nothing outweighs, weights fall to zero, and chance chooses."""
    cheap, dear, chance = (
        craft("u_tna", threat, stream(0, "attack"), **options)
        for options in ({}, {"l1_weight": 1e6, "steps": 20}, {"steps": 0})
    )
    assert (dear != chance).nnz == 0
    assert (cheap != chance).nnz > 0


@BOTH
def test_fillers_are_rated_around_the_mean_of_their_item(name):
    rng = np.random.default_rng(0)
    dense = np.clip(np.round(rng.normal(3, 1, (60, 40))), 1, 5) * (rng.random((60, 40)) < 0.7)
    dense[:, 1] = 2  # no deviation, no other rating
    visible = sp.csr_matrix(dense.astype(np.float32))
    threat = ThreatModel(visible, np.array([0]), 60, 39, np.arange(1, 6, dtype=np.float32))
    profiles = craft(name, threat, rng, steps=1).toarray()[:, 1:]
    means, deviations = item_moments(threat)
    assert set(profiles[:, 0]) <= {0, 2}
    given = np.ma.masked_equal(profiles, 0)
    assert np.asarray(given.mean(0)) == pytest.approx(means[1:], abs=0.5)
    assert np.asarray(given.std(0))[1:].mean() == pytest.approx(deviations[2:].mean(), abs=0.15)
