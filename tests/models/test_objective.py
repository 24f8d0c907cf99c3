"""The loss that training and fine-tuning descend, against plain loops and finite differences."""

import numpy as np
import pytest
import torch

from rvdlib.models import VICTIMS
from rvdlib.models.fitting import EncoderVictim

USERS = np.array([4, 61, 7, 0])  # a fake and a user without ratings among them


def doubled(parameters):
    return {name: value.double() for name, value in parameters.items()}


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
    loss = victim.objective(USERS, unobserved_weight)(parameters)
    assert float(loss) == pytest.approx(total / 4, rel=1e-6)


def test_a_repeated_user_counts_twice(victim):
    once, twice = (
        victim.objective(np.array(users), 0.1)(victim.parameters) for users in ([4, 0], [4, 4, 0])
    )
    alone = victim.objective(np.array([4]), 0.1)(victim.parameters)
    assert float(3 * twice - 2 * once) == pytest.approx(float(alone), rel=1e-4)


@pytest.mark.parametrize("unobserved_weight", [0, 0.1, 1])
def test_gradients_agree_with_finite_differences(victim, unobserved_weight):
    objective = victim.objective(USERS, unobserved_weight)
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
    apart = victim.objective(USERS, 1)(raised) - victim.objective(USERS, 0)(raised)
    together = victim.objective(USERS, 1)(victim.parameters) - victim.objective(USERS, 0)(
        victim.parameters
    )
    assert torch.equal(victim.unobserved_target(USERS), before)
    assert apart > 10 * together


@pytest.mark.parametrize("regime", ["rating", "ranking"])
@pytest.mark.parametrize(
    "name", [name for name, victim in VICTIMS.items() if issubclass(victim, EncoderVictim)]
)
def test_the_training_loss_is_the_same_without_the_detour(name, regime, fit):
    """The Gram matrices of training give the loss, and the gradients, of the plain sum."""
    victim = fit(name, regime, input_dropout=0)
    omega = victim.config.unobserved_weight
    losses, gradients = [], []
    for loss in (
        victim.objective(USERS, omega),
        lambda given: victim._batch_loss(given, USERS, rng=None),
    ):
        parameters = {name: value.requires_grad_() for name, value in moved(victim).items()}
        value = loss(parameters)
        losses.append(value.item())
        gradients.append(torch.autograd.grad(value, list(parameters.values())))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for plain, fast in zip(*gradients, strict=True):
        assert fast.numpy() == pytest.approx(plain.numpy(), rel=1e-5, abs=1e-6)
