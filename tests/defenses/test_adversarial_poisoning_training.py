"""Poison against poison: its conformance, its influence against retraining, and who serves."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp
from conformance import KINDS, LONELY_USER, N_ITEMS, N_USERS, TrainingConformance, poisoned, trained
from pydantic import ValidationError
from scipy.stats import spearmanr

from rvdlib.defenses import AdversarialPoisoningTraining
from rvdlib.defenses.adversarial_poisoning_training import RATERS, draw_items, influence, with_users
from rvdlib.defenses.training import Epochs
from rvdlib.models import MF
from rvdlib.seeding import stream

USERS = np.arange(N_USERS)


class TestAdversarialPoisoningTraining(TrainingConformance):
    @pytest.fixture
    def defense(self):
        return AdversarialPoisoningTraining(users=0.2, start=2)


def loss_of_rows(victim, parameters, users):
    rows = victim.train[users].toarray()
    cost = np.where(rows > 0, 1.0, victim.config.unobserved_weight)
    scores = victim.score_with(parameters, users) / victim.max_rating
    return float((cost * (rows - scores.astype(np.float64)) ** 2).sum())


def shortest(victim, parameters):
    other = copy.copy(victim)
    other.parameters = parameters
    return np.argsort((other.user_factors() ** 2).sum(axis=1), kind="stable")[:RATERS]


@pytest.mark.parametrize("regime", ["rating", "ranking"])
@pytest.mark.parametrize("name", ["MF", "NSVD", "AutoRec", "CDAE", "PlainMF", "PlainNSVD"])
def test_influence_is_how_the_loss_begins_to_move_if_a_decoder_row_is_solved_again(name, regime):
    """By a small share ε of a rating: the row's ridge regression in dense algebra, twice."""
    victim, share = trained(name, regime), 1e-4
    parameters, omega = victim.parameters, victim.config.unobserved_weight
    rows, ratings = victim.train.toarray().astype(float), np.full(N_ITEMS, 0.9)
    found = influence(victim, parameters, ratings)
    factors = victim.user_factors().astype(float)
    weights = parameters["item_factors"].numpy().astype(float)
    if "item_bias" not in victim.constants:
        factors = np.hstack([factors, np.ones((N_USERS, 1))])
        weights = np.hstack([weights, parameters["item_bias"].numpy()[:, None]])
    offset = victim.encode(parameters, USERS)[0].detach().numpy().astype(float)
    low = shortest(victim, parameters)
    decays = victim.regularizer_weights(USERS, victim.loss)["item_factors"]
    decays = np.broadcast_to(N_USERS * np.ravel(decays), N_ITEMS)
    for item in range(0, N_ITEMS, 6):
        y, c = rows[:, item], np.where(rows[:, item] > 0, 1.0, omega)
        errors = np.where(y > 0, y, 0 if omega else offset) - offset - factors @ weights[item]
        hessian = (factors.T * c) @ factors + decays[item] * np.eye(factors.shape[1])
        before, gained = (c * errors**2).sum(), 0.0
        for user in low:
            s = offset[user] + factors[user] @ weights[item]
            # c_u of a cell that was unobserved goes up from ω to 1, by a share of the way.
            pull = share * (ratings[item] - (1 - omega) * s) * factors[user]
            step = np.linalg.solve(hessian, pull)
            gained += (c * (errors - factors @ step) ** 2).sum() - before
        assert found[item] == pytest.approx(gained / share, rel=0.02, abs=2e-4)


@pytest.mark.parametrize(("size", "omega"), [(3, 0.1), (2, 0.3)])
def test_influence_agrees_in_rank_with_retraining_with_one_rating_more(size, omega):
    """All of it retrained, user side too, until it rests; J is of all but those who rate."""
    train, _, levels = poisoned()
    victim = MF(embedding_size=size, unobserved_weight=omega, reg=0.1)
    victim.levels = np.asarray(levels)
    victim.train = sp.csr_matrix(train / levels[-1], dtype=np.float32)
    epochs = Epochs(victim, stream(0))
    for _ in range(150):
        epochs()
    at_rest = {name: value.clone() for name, value in epochs.parameters.items()}
    raters, rating = shortest(victim, at_rest), np.float32(0.9)
    others = np.setdiff1d(USERS, raters)

    def retrained_loss(rows):
        for name, value in at_rest.items():
            epochs.arrays[name][:] = value.numpy()
        for _ in range(60):
            epochs(rows)
        return loss_of_rows(victim, epochs.parameters, others)

    items = np.flatnonzero(victim.train[raters].sum(axis=0).A1 == 0)[:14]
    before, gains = retrained_loss(victim.train), np.zeros(len(items))
    for place, item in enumerate(items):
        for rater in raters[:5]:
            one_more = sp.csr_matrix(([rating], ([rater], [item])), train.shape)
            gains[place] += retrained_loss(victim.train + one_more) - before
    found = influence(victim, at_rest, np.full(N_ITEMS, rating))[items]
    assert len(items) > 10
    assert spearmanr(found, gains).statistic > 0.75


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_of_the_users_of_the_training_data_the_encoder_reads_what_it_did(kind):
    victim = trained(*kind)
    rows = sp.csr_matrix(np.full((3, N_ITEMS), 0.4, dtype=np.float32))
    places = with_users(victim, victim, sp.csr_matrix((3, N_ITEMS), dtype=np.float32))
    more = with_users(victim, places, rows)
    assert more.train.shape == (N_USERS + 3, N_ITEMS)
    assert (more.train[:N_USERS] != victim.train).nnz == 0
    parameters = {
        n: v if v.shape[0] != N_USERS else v.new_zeros(N_USERS + 3, *v.shape[1:])
        for n, v in victim.parameters.items()
    }
    for name, value in victim.parameters.items():
        parameters[name][: len(value)] = value
    there, here = more.encode(parameters, USERS), victim.encode(victim.parameters, USERS)
    for one, other in zip(there, here, strict=True):
        assert np.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_who_was_added_is_gone_when_it_serves(kind, tmp_path):
    defense = AdversarialPoisoningTraining(start=0)
    found = defense.fit(trained(*kind), *poisoned(), stream(0, "model"))
    assert found.train.shape == (N_USERS, N_ITEMS)
    assert {n: tuple(v.shape) for n, v in found.parameters.items()} == found.parameter_shapes()
    found.save(tmp_path / "victim.safetensors")
    again = type(found).load(tmp_path / "victim.safetensors")
    assert np.array_equal(again.score(USERS), found.score(USERS))
    assert np.isfinite(found.score([LONELY_USER])).all()


def test_items_are_drawn_by_how_much_they_lower_the_loss():
    effect = np.array([3.0, -1.0, 0.0, -4.0, -2.0, 1.0])
    rng = np.random.default_rng(0)
    greedy = draw_items(effect, 50, 0.5, 1e6, rng)
    assert (np.sort(greedy, axis=1) == [1, 3, 4]).all()
    firsts = draw_items(effect, 20_000, 0.1, 2.0, rng)[:, 0]
    chances = np.exp(-2.0 * np.minimum(effect, 0) / 4)
    counts = np.bincount(firsts, minlength=6) / 20_000
    assert counts == pytest.approx(chances / chances.sum(), abs=0.015)
    any_item = draw_items(np.abs(effect), 20_000, 0.1, 20, rng)[:, 0]  # nothing lowers it
    assert np.bincount(any_item, minlength=6) / 20_000 == pytest.approx(1 / 6, abs=0.015)


@pytest.mark.parametrize(
    ("name", "value"), [("users", 0), ("items", 1.5), ("temperature", -1), ("every", 0)]
)
def test_a_choice_out_of_range_is_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        AdversarialPoisoningTraining(**{name: value})
