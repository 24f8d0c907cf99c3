"""The robust loss: its conformance, its stationary point, and how far one rating can pull."""

import numpy as np
import pytest
import torch
from conformance import KINDS, N_USERS, TrainingConformance, fit, poisoned, trained
from pydantic import ValidationError

from rvdlib.data import HeldOut
from rvdlib.defenses import Defense, HuberLoss
from rvdlib.defenses.huber_loss import NORMAL, believed
from rvdlib.defenses.training import Epochs, observed_scores
from rvdlib.models import MF
from rvdlib.seeding import stream

USERS = np.arange(N_USERS)


class TestHuberLoss(TrainingConformance):
    @pytest.fixture
    def defense(self):
        return HuberLoss(threshold=0.5)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_threshold_that_nothing_reaches_is_no_defence_to_the_bit(kind):
    found = HuberLoss(threshold=1e6).fit(trained(*kind), *poisoned(), stream(0, "model"))
    assert np.array_equal(found.score(USERS), trained(*kind).score(USERS))


@pytest.mark.parametrize("threshold", [0.3, 1.345])
def test_training_comes_to_rest_where_the_gradient_of_huber_s_loss_is_zero(threshold):
    victim = fit(MF(embedding_size=3, unobserved_weight=0.2, reg=0.02, epochs=1), seed=0)
    epochs = Epochs(victim, stream(0))
    for _ in range(400):
        epochs(believed(victim, epochs.parameters, threshold))
    residuals = victim.train.data - observed_scores(victim, epochs.parameters)
    c = threshold * NORMAL * np.median(np.abs(residuals))
    parameters = {n: v.double().requires_grad_() for n, v in epochs.parameters.items()}
    rows = torch.from_numpy(victim.train.toarray()).double()
    victim.parameters = parameters
    decays = victim.regularizer_weights(USERS, victim.loss)

    def gradient(rho):
        scores = parameters["user_factors"] @ parameters["item_factors"].T + parameters["item_bias"]
        loss = torch.where(rows > 0, rho((rows - scores).abs()), 0.2 * scores**2).sum() / N_USERS
        loss = loss + sum((d * parameters[n] ** 2).sum() for n, d in decays.items())
        return max(float(g.abs().max()) for g in torch.autograd.grad(loss, parameters.values()))

    huber = gradient(lambda e: torch.where(e <= c, e**2, 2 * c * e - c**2))
    assert (np.abs(residuals) > c).mean() > 0.1
    assert huber < 1e-4 < 20 * huber + 1e-3 < gradient(torch.square)


def test_one_rating_far_off_pulls_less_than_half_as_far():
    train, _, levels = poisoned()
    low = train.copy()
    low.data = np.clip(low.data, 1, 3)
    item = np.bincount(train.indices).argmax()
    place = np.flatnonzero(low.indices == item)[0]
    low.data[place] = 3
    high = low.copy()
    high.data[place] = 5
    coo = low.tocoo()
    learnt = HeldOut(coo.row, coo.col, coo.data)  # so that early stopping waits until it is

    def pulled(defense):
        scores = []
        for rows in (low, high):
            victim = MF(embedding_size=1, learning_rate=0.1, initial_std=1e-3)
            victim = defense.fit(victim, rows, learnt, levels, stream(0))
            scores.append(victim.score(USERS)[:, item].mean())
        return scores[1] - scores[0]

    assert 0 < pulled(HuberLoss()) < pulled(Defense()) / 2


def test_ratings_are_moved_to_within_the_threshold_of_their_scores():
    victim = trained("NSVD", "rating")
    rows = believed(victim, victim.parameters, 1.0)
    scores = victim.score(USERS) / victim.max_rating
    observed = victim.train.toarray() > 0
    residuals = (victim.train.toarray() - scores)[observed]
    c = 1.4826 * np.median(np.abs(residuals))
    assert (rows.toarray() - scores)[observed] == pytest.approx(np.clip(residuals, -c, c), abs=1e-5)
    assert (np.abs(residuals) > c).any()


@pytest.mark.parametrize("threshold", [0, -1, "much"])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValidationError, match="threshold"):
        HuberLoss(threshold=threshold)
