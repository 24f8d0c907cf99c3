"""The loss that training and fine-tuning descend, against plain loops and finite differences."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rvdlib.models import MF, VICTIMS, mf, plain_mf
from rvdlib.models.fitting import EncoderVictim

USERS = np.array([4, 61, 7, 0])  # a fake and a user without ratings among them


def doubled(parameters):
    return {name: value.double() for name, value in parameters.items()}


def data_term(victim, unobserved_weight):
    return victim.loss.variant(unobserved_weight, "none")


def moved(victim):
    """Other parameters than the trained ones, in float64, as fine-tuning has them."""
    rng = np.random.default_rng(0)
    return {
        name: value + 0.1 * torch.from_numpy(rng.standard_normal(value.shape))
        for name, value in doubled(victim.parameters).items()
    }


@pytest.mark.parametrize("unobserved_weight", [0, 0.1, 1])
def test_the_loss_is_the_double_loop(victim, small, unobserved_weight):
    parameters = moved(victim)
    offset, factors = victim.encode(parameters, USERS)
    trained_offset, _ = victim.encode(victim.parameters, USERS)
    stars = small.train.toarray()
    total = 0.0
    for row, user in enumerate(USERS):
        for item in range(stars.shape[1]):
            score = offset[row] + parameters["item_bias"][item]
            for f in range(4):
                score = score + factors[row, f] * parameters["item_factors"][item, f]
            if stars[user, item]:
                total += (stars[user, item] / 5 - float(score)) ** 2
            else:
                silence = 0.0 if victim.ranking else float(trained_offset[row])
                total += unobserved_weight * (silence - float(score)) ** 2
    loss = victim.objective(USERS, data_term(victim, unobserved_weight))(parameters)
    assert float(loss) == pytest.approx(total / 4, rel=1e-6)


def test_a_repeated_user_counts_twice(victim):
    once, twice = (
        victim.objective(np.array(users))(victim.parameters) for users in ([4, 0], [4, 4, 0])
    )
    alone = victim.objective(np.array([4]))(victim.parameters)
    assert float(3 * twice - 2 * once) == pytest.approx(float(alone), rel=1e-4)


@pytest.mark.parametrize("unobserved_weight", [0, 0.1])
def test_gradients_agree_with_finite_differences(victim, unobserved_weight):
    objective = victim.objective(USERS, victim.loss.variant(unobserved_weight))
    parameters = moved(victim)
    names, values = list(parameters), [value.requires_grad_() for value in parameters.values()]
    assert torch.autograd.gradcheck(
        lambda *given: objective(dict(zip(names, given, strict=True))), values, fast_mode=False
    )


def test_unobserved_cells_are_pulled_to_the_trained_offset_not_along_with_it(fit):
    """y⁰ stays where training left it while the offset of MF moves."""
    victim = fit("MF", "rating")
    before = victim.unobserved_target(USERS)
    raised = {**victim.parameters, "user_bias": victim.parameters["user_bias"] + 1}
    silent, rated = (victim.objective(USERS, data_term(victim, omega)) for omega in (1, 0))
    apart = silent(raised) - rated(raised)
    together = silent(victim.parameters) - rated(victim.parameters)
    assert torch.equal(victim.unobserved_target(USERS), before)
    assert apart > 10 * together


@pytest.mark.parametrize("regime", ["rating", "ranking"])
@pytest.mark.parametrize(
    "name", [name for name, victim in VICTIMS.items() if issubclass(victim, EncoderVictim)]
)
def test_the_training_loss_is_the_same_without_the_detour(name, regime, fit):
    """The Gram matrices of training give the loss, and the gradients, of the plain sum."""
    victim = fit(name, regime, input_dropout=0)
    losses, gradients = [], []
    for loss in (
        victim.objective(USERS, data_term(victim, None)),
        lambda given: victim.batch_loss(given, USERS, rng=None),
    ):
        parameters = {name: value.requires_grad_() for name, value in moved(victim).items()}
        value = loss(parameters)
        losses.append(value.item())
        gradients.append(torch.autograd.grad(value, list(parameters.values())))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for plain, fast in zip(*gradients, strict=True):
        assert fast.numpy() == pytest.approx(plain.numpy(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("unobserved_weight", [None, 0.1])
def test_the_regulariser_is_the_sum_that_training_has(victim, small, unobserved_weight):
    """Of all parameters once, or of both rows of a cell for each cell."""
    loss = victim.loss.variant(unobserved_weight)
    omega, stars = loss.unobserved_weight, small.train.toarray()
    arrays = {name: value.numpy() for name, value in doubled(victim.parameters).items()}
    total = 0.0
    if isinstance(victim, MF):
        for user in USERS:
            own = (arrays["user_factors"][user] ** 2).sum()
            own += arrays["user_bias"][user] ** 2 if "user_bias" in arrays else 0
            for item in range(stars.shape[1]):
                both = own + (arrays["item_factors"][item] ** 2).sum()
                both += arrays["item_bias"][item] ** 2
                total += ((stars[user, item] > 0) + omega) * both / len(USERS)
    else:
        total = sum((value**2).sum() for value in arrays.values())
    whole, data = (
        victim.objective(USERS, each)(doubled(victim.parameters))
        for each in (loss, data_term(victim, unobserved_weight))
    )
    assert float(whole - data) == pytest.approx(0.01 * total, rel=1e-5)
    apart = victim.objective(USERS, loss.variant(regularizer="decoupled"))
    assert float(apart(doubled(victim.parameters))) == pytest.approx(float(data), rel=1e-9)


def test_a_step_of_training_is_a_step_down_the_objective(fit, small):
    """Rating by rating, MF's own kernel moves along −½ ∇ of B times the objective."""
    for name, kernel in (("MF", mf._sgd_epoch), ("PlainMF", plain_mf._sgd_epoch)):
        victim = fit(name, "rating")
        parameters = {n: v.clone().requires_grad_() for n, v in doubled(victim.parameters).items()}
        user = int(np.argmax(np.diff(small.train.indptr) > 1))
        item = small.train[user].indices[0]
        one = copy.copy(victim)
        one.train = sp.csr_matrix(
            ([victim.train[user, item]], ([user], [item])), shape=small.train.shape
        ).astype(np.float32)
        loss = one.objective(np.array([user]))(parameters)
        moving = [n for n in parameters if n not in victim.constants]
        gradients = torch.autograd.grad(loss, [parameters[n] for n in moving])
        arrays = {n: v.detach().numpy().copy() for n, v in parameters.items()}
        biases = [arrays["user_bias"], arrays["item_bias"]] if name == "MF" else []
        value = one.train.data - (victim.mean_rating if name == "MF" else 0)
        cell = np.array([user]), np.array([item]), value.astype(float), np.array([0])
        kernel(*cell, arrays["user_factors"], arrays["item_factors"], *biases, 1e-3, 0.01)
        for n, gradient in zip(moving, gradients, strict=True):
            step = arrays[n] - parameters[n].detach().numpy()
            assert step == pytest.approx(-0.5e-3 * gradient.numpy(), abs=1e-8), n
            assert np.abs(step).max() > 1e-6


def test_the_loss_names_its_optimiser_and_variants_leave_it_as_it_was(victim):
    loss = victim.loss
    assert loss.optimizer == "adam"
    assert loss.weight_decay == (0 if isinstance(victim, MF) else 0.02)
    other = loss.variant(0.0, "none")
    assert (other.unobserved_weight, other.regularizer, other.weight_decay) == (0, "none", 0)
    assert victim.loss == loss == loss.variant()
