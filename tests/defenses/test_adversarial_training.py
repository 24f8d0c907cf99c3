"""Adversarial training: its conformance, and its loss, gradient and strengths against oracles."""

import copy
import functools

import numpy as np
import pytest
import torch
from conformance import KINDS, N_USERS, TrainingConformance, poisoned, trained
from pydantic import ValidationError

from rvdlib.data import HeldOut
from rvdlib.defenses import (
    AdversarialPoisoningTraining,
    AdversarialTraining,
    Defense,
    HuberLoss,
    TripleCooperative,
)
from rvdlib.defenses.adversarial_training import AdversarialEpochs, mean_lengths, strengths
from rvdlib.defenses.training import Epochs, best_epoch, trained_by
from rvdlib.models import VICTIMS, Victim
from rvdlib.seeding import stream

USERS = np.arange(N_USERS)


class TestAdversarialTraining(TrainingConformance):
    @pytest.fixture
    def defense(self):
        return AdversarialTraining(strength="vat", epsilon=0.5, start=2)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_epoch_by_epoch_a_victim_is_trained_to_the_bit(kind):
    victim = trained(*kind)

    def plainly(other, validation, rng):
        return best_epoch(other, validation, Epochs(other, rng))

    found = trained_by(plainly, victim, *poisoned(), stream(0, "model"))
    assert np.array_equal(found.score(USERS), victim.score(USERS))
    assert found.validation_error == victim.validation_error
    assert vars(found).keys() == vars(victim).keys()  # else it could not be saved


@pytest.mark.parametrize(
    "defense", [AdversarialTraining, HuberLoss, AdversarialPoisoningTraining, TripleCooperative]
)
def test_a_victim_whose_training_is_its_own_is_refused_by_name(defense):
    class Mine(Victim):
        name = "mine"

        def encoder(self, users):
            return lambda parameters: (torch.zeros(len(users)), torch.zeros(len(users), 1))

        def _fit(self, validation, rng):
            raise AssertionError

    with pytest.raises(TypeError, match="Mine is not trained in epochs"):
        defense().fit(Mine(), *poisoned(), stream(0))


def disturbed(victim, user_size, item_size):
    """The loss where each row is moved by so much along its gradient, in dense algebra.

    ``user_size``: one for all, or (users, 1). Where training goes rating by rating, each rating is disturbed by itself.
    """
    rows = torch.from_numpy(victim.train.toarray())
    cost = torch.where(rows > 0, 1.0, victim.config.unobserved_weight)
    parameters = victim.parameters
    with torch.no_grad():
        offset, factors = victim.encode(parameters, USERS)
    h, w, bias = factors, parameters["item_factors"], parameters["item_bias"]
    if victim.name == "MF" and not victim.ranking:
        errors = rows - offset[:, None] - h @ w.T - bias
        p, q = h.norm(dim=1)[:, None], w.norm(dim=1)[None]
        shift = user_size * q + item_size * p
        errors = errors + errors.sign() * shift - user_size * item_size * (h @ w.T) / (p * q)
        return float((cost * errors**2).nansum())

    def loss(h, w):
        return (cost * (rows - offset[:, None] - h @ w.T - bias) ** 2).sum()

    moved = [each.clone().requires_grad_() for each in (h, w)]
    steps = torch.autograd.grad(loss(*moved), moved)
    unit = torch.nn.functional.normalize
    return float(loss(h + user_size * unit(steps[0]), w + item_size * unit(steps[1])))


def trained_long(name, regime, defense=None):
    """Early stopping looks at what is learnt: it ends where the loss does not fall any more."""
    train, _, levels = poisoned()
    coo = train.tocoo()
    learnt = HeldOut(*(part[::10] for part in (coo.row, coo.col, coo.data)))
    choices = {"embedding_size": 4, "epochs": 100, "patience": 100, "reg": 1e-3}
    choices |= {"unobserved_weight": 0.2 * (regime == "ranking")}
    if name == "MF":
        choices |= {"learning_rate": 0.15, "learning_rate_decay": 1}
    else:
        choices |= {"learning_rate": 0.03, "batch_size": 16 if name == "AutoRec" else N_USERS}
    victim = VICTIMS[name](**choices)
    return (defense or Defense()).fit(victim, train, learnt, levels, stream(0, "model"))


undefended = functools.cache(trained_long)


@pytest.mark.parametrize(
    ("name", "regime", "strength"),
    [
        ("MF", "rating", "vat"),
        ("MF", "ranking", "uniform"),
        ("NSVD", "rating", "pamacf"),
        ("NSVD", "ranking", "vat"),
        ("AutoRec", "rating", "uniform"),
        ("AutoRec", "ranking", "pamacf"),
        ("CDAE", "rating", "vat"),
        ("CDAE", "ranking", "uniform"),
    ],
)
def test_the_loss_at_the_disturbed_point_is_lower_than_the_undefended_victims(
    name, regime, strength
):
    plain = undefended(name, regime)
    defense = AdversarialTraining(strength=strength, epsilon=0.4, learning_rate=0.02)
    robust = trained_long(name, regime, defense)
    sizes = [0.4 * length for length in mean_lengths(plain, plain.parameters)]
    assert disturbed(robust, *sizes) < 0.9 * disturbed(plain, *sizes)


@pytest.mark.parametrize(
    "kind", [("MF", "ranking"), ("NSVD", "rating"), ("AutoRec", "ranking")], ids="-".join
)
def test_what_adam_descends_is_the_loss_with_each_user_disturbed_by_his_own_length(kind):
    victim, rng = trained(*kind), np.random.default_rng(5)
    order, lengths = rng.permutation(N_USERS), rng.uniform(0.1, 0.8, N_USERS).astype(np.float32)
    epochs = AdversarialEpochs(victim, stream(3), AdversarialTraining(weight=2, start=0).config)
    epochs.parameters = {
        name: value.clone().requires_grad_() for name, value in victim.parameters.items()
    }
    epochs.user_sizes, epochs.item_size = lengths, 0.3
    found = float(epochs.batch_loss(copy.copy(victim), order).detach())
    far = disturbed(victim, torch.from_numpy(lengths[:, None]), 0.3)
    plain = disturbed(victim, 0.0, 0.0)
    assert far > 1.02 * plain
    expected = (plain + 2 * far) / 3 / N_USERS
    if victim.name == "MF":  # descends its regulariser, too
        decays = victim.regularizer_weights(order, victim.loss)
        expected += sum(float((d * victim.parameters[n] ** 2).sum()) for n, d in decays.items())
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("strength", ["uniform", "vat", "pamacf"])
def test_before_an_epoch_lengths_are_dealt_out_by_strength(strength):
    victim = trained("NSVD", "rating")
    choices = AdversarialTraining(strength=strength, epsilon=0.4, start=1).config
    epochs = AdversarialEpochs(victim, stream(3), choices)
    before = {name: value.detach().clone() for name, value in epochs().items()}
    by_user, by_item = mean_lengths(victim, before)
    epochs()
    assert epochs.user_sizes == pytest.approx(strengths(victim, before, strength, 0.4) * by_user)
    assert epochs.item_size == pytest.approx(0.4 * by_item)


@pytest.mark.parametrize("name", ["MF", "NSVD", "AutoRec", "CDAE", "PlainMF", "PlainNSVD"])
def test_next_to_no_disturbance_is_next_to_no_defence(name):
    victim = trained(name, "rating")
    found = AdversarialTraining(epsilon=1e-7).fit(victim, *poisoned(), stream(0, "model"))
    last = Epochs(victim, stream(0, "model"))
    for _ in range(victim.config.epochs):
        parameters = last()
    expected = victim.score_with(parameters, USERS)
    assert found.score(USERS) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", ["MF", "PlainMF"])
def test_a_step_on_one_rating_is_the_gradient_of_the_disturbed_loss(name):
    victim = VICTIMS[name](embedding_size=3, learning_rate=0.1, reg=0.02, initial_std=0.5)
    train, validation, levels = poisoned()
    one = train.copy()
    one.data[1:] = 0
    one.eliminate_zeros()
    victim = type(victim)(**victim.config.model_dump() | {"epochs": 1}).fit(
        train, validation, levels, stream(1)
    )
    victim.train = one / victim.max_rating
    choices = AdversarialTraining(strength="pamacf", epsilon=0.4, weight=2, start=0).config
    epochs = AdversarialEpochs(victim, stream(3), choices)
    before = {n: v.clone().requires_grad_() for n, v in epochs.parameters.items()}
    (user,), (item,) = one.nonzero()
    p, q = before["user_factors"][user], before["item_factors"][item]
    bias = before["item_bias"][item]
    offset = victim.mean_rating + before["user_bias"][user] if name == "MF" else 0.0
    rating = float(victim.train.data[0])
    size = strengths(victim, before, "pamacf", 0.4)[user]
    by_user, by_item = mean_lengths(victim, before)
    after = epochs()
    plain = (rating - offset - p @ q - bias) ** 2
    to_p, to_q = torch.autograd.grad(plain, (p, q), retain_graph=True)
    # Half the gradient, as everywhere in descent rating by rating; Δ is a constant of it.
    moving = {n: v for n, v in before.items() if n not in victim.constants}
    delta = [
        (size * by_user * to_p / to_p.norm()).detach(),
        (size * by_item * to_q / to_q.norm()).detach(),
    ]
    far = (p + delta[0]) @ (q + delta[1])
    loss = (plain + 2 * (rating - offset - far - bias) ** 2) / 3
    gradients = torch.autograd.grad(loss, list(moving.values()), allow_unused=True)
    for (n, value), gradient in zip(moving.items(), gradients, strict=True):
        touched = (value != after[n]).detach()
        expected = value - 0.1 * (gradient / 2 + 0.02 * value * (gradient != 0))
        assert touched.any()
        assert after[n].numpy() == pytest.approx(expected.detach().numpy(), abs=1e-6)


def test_users_are_disturbed_as_the_papers_deal_it_out():
    victim = trained("MF", "rating")
    strength = {
        name: strengths(victim, victim.parameters, name, 0.5)
        for name in ("uniform", "vat", "pamacf")
    }
    assert (strength["uniform"] == 0.5).all()
    rated = np.diff(victim.train.indptr) > 0
    errors = victim.train.toarray() - victim.score(USERS) / victim.max_rating
    loss = np.array(
        [
            (row[mask] ** 2).mean()
            for row, mask in zip(errors[rated], victim.train.toarray()[rated] > 0, strict=True)
        ]
    )
    expected = 2 / (1 + np.exp(1 - loss.mean() / loss))
    assert strength["vat"][rated] == pytest.approx(0.5 * expected, rel=1e-4)
    assert strength["vat"][~rated] == pytest.approx(0.5)  # has no loss
    squares = (victim.user_factors() ** 2).sum(axis=1)
    expected = 2 / (1 + np.exp(1 - squares / squares.mean()))
    assert strength["pamacf"] == pytest.approx(0.5 * expected, rel=1e-4)
    for name in ("vat", "pamacf"):
        assert 0 < strength[name].min() < 0.5 < strength[name].max() < 1


@pytest.mark.parametrize(("first", "kept"), [(0, 0), (4, 4), (9, 9), (25, 9)])
def test_of_epochs_that_grow_worse_the_first_that_may_be_kept_is_kept(first, kept):
    """Validation knows of no attack: it would choose one before the defence has acted."""
    victim = trained("MF", "rating")
    worse = (
        victim.parameters | {"item_bias": victim.parameters["item_bias"] + 0.1 * number}
        for number in range(victim.config.epochs)
    )
    found, _ = best_epoch(victim, poisoned()[1], lambda: next(worse), first)
    shift = (found["item_bias"] - victim.parameters["item_bias"]).numpy()
    assert shift == pytest.approx(0.1 * kept, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [("strength", "APR"), ("epsilon", 0), ("weight", -1), ("start", -1), ("learning_rate", 0)],
)
def test_a_choice_out_of_range_is_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        AdversarialTraining(**{name: value})
