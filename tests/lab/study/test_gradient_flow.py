"""Descent and the closed form as two ways along one gradient flow: the algebra, then the victims."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.defenses import RVD, ClosedFormRVD
from rvdlib.lab.benchmark.agreement import in_double
from rvdlib.lab.study import gradient_flow
from rvdlib.lab.study.gradient_flow import agreement, equivalent
from rvdlib.models import VICTIMS
from rvdlib.models.base import DECODER
from rvdlib.seeding import stream
from tests.lab.conftest import small_victims

K, USERS = 6, np.array([2, 17])


@pytest.fixture(scope="module", params=VICTIMS)
def victim(request):
    ratings = synthetic_ratings(60, 80, 1200, rng=stream(0, "ratings"))
    split = leave_one_out(ratings, stream(0, "split"))
    model = VICTIMS[request.param](embedding_size=5, epochs=2)
    model.fit(split.train, split.validation, ratings.levels, stream(0, "model"))
    return in_double(model)


def moved(victim, user, rows, unobserved_weight, share):
    """The user's scores with every eigendirection gone ``share(σ)`` of the way to least squares."""
    with torch.no_grad():
        offsets, factors = victim.encode(victim.parameters, np.append(rows, user))
        silence = victim.unobserved_target(rows).numpy()
    bias = float("item_bias" not in victim.constants)
    latent = np.column_stack([factors.numpy(), np.full(len(rows) + 1, bias)])
    decoder = np.column_stack([victim.parameters[name].numpy() for name in DECODER])
    scores = latent @ decoder.T + offsets.numpy()[:, None]
    rated = victim.train[rows].toarray().astype(float)
    for item in range(len(decoder)):
        observed = rated[:, item] > 0
        weight = np.where(observed, 1, unobserved_weight)
        residual = np.where(observed, rated[:, item], silence) - scores[:-1, item]
        design = latent[:-1]
        values, directions = np.linalg.eigh(design.T @ (weight[:, None] * design))
        values = np.maximum(values, 1e-12)
        projected = directions.T @ (design.T @ (weight * residual))
        scores[-1, item] += latent[-1] @ directions @ (share(values) / values * projected)
    return scores[-1] * victim.max_rating


@pytest.mark.parametrize("unobserved_weight", [0.1, 1.0])
@pytest.mark.parametrize("steps", [1, 7, 40])
def test_descent_goes_the_share_of_the_way_that_the_mean_of_squares_says(
    victim, steps, unobserved_weight
):
    rate = 0.03
    plain = RVD(
        victim,
        k=K,
        scope="decoder",
        optimizer="sgd",
        regularizer="none",
        learning_rate=rate,
        steps=steps,
        unobserved_weight=unobserved_weight,
    )
    for user, rows, scores in zip(USERS, plain.vicinity(USERS), plain.score(USERS), strict=True):
        expected = moved(
            victim, user, rows, unobserved_weight, lambda s: 1 - (1 - 2 * rate * s / K) ** steps
        )
        # ω and y⁰ are float32 in the plain form.
        np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_the_closed_form_goes_its_share_at_the_weight_of_as_many_steps(victim):
    weight = equivalent(K, 0.03, 40)
    assert weight == pytest.approx(6 / (2 * 0.03 * 40))
    defended = ClosedFormRVD(victim, k=K, unobserved_weight=0.1, proximal_weight=weight)
    for user, rows, scores in zip(
        USERS, defended.vicinity(USERS), defended.score(USERS), strict=True
    ):
        expected = moved(victim, user, rows, 0.1, lambda s: s / (s + weight))
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_shares_are_never_further_apart_than_the_docstring_says():
    def apart(tau):
        return (1 - np.exp(-tau)) - tau / (1 + tau)

    found = minimize_scalar(lambda tau: -apart(tau), bounds=(0, 50), method="bounded")
    assert f"{-found.fun:.3f} apart (at τ = {found.x:.2f})" in gradient_flow.__doc__
    tau = np.linspace(0, 100, 10_001)
    assert (np.abs(apart(tau)) <= -found.fun + 1e-6).all()
    assert (apart(tau) >= 0).all()


@pytest.fixture
def found(monkeypatch):
    small_victims(monkeypatch, embedding_size=8, epochs=2)

    def compare(**changes):
        chosen = {"k": 5, "unobserved_weight": 0.1, "learning_rate": 1e-3, "steps": [1, 100]}
        return agreement("ml-100k", ["MF"], ["rating", "ranking"], n_users=4, **chosen | changes)

    return compare


def test_few_small_steps_move_as_the_closed_form_does_and_many_in_nearly_its_direction(found):
    table = found()
    assert table[["regime", "steps"]].to_numpy().tolist() == [
        ["rating", 1],
        ["rating", 100],
        ["ranking", 1],
        ["ranking", 100],
    ]
    assert table["proximal_weight"].tolist() == pytest.approx([2500, 25] * 2)
    few, many = table[table["steps"] == 1], table[table["steps"] == 100]
    assert (few["largest_difference"] < 0.01 * few["largest_move"]).all()
    assert (few["correlation"] > 0.9999).all()
    assert (many["correlation"] > 0.98).all()
    assert (many["rms_move"].to_numpy() > 10 * few["rms_move"].to_numpy()).all()
    assert (table["rms_difference"] <= table["largest_difference"]).all()
    assert (table["rms_move"] <= table["largest_move"]).all()
    assert (many["largest_difference"] < 0.25 * many["largest_move"]).all()


def test_the_answer_rounds_no_correlation_up_and_names_the_distance_with_the_fewest_hubs():
    found = pd.DataFrame(
        {
            "victim": ["MF", "CDAE"],
            "regime": "rating",
            "steps": [10, 100],
            "correlation": [0.99999, 0.9997],
            "largest_difference": [0.5, 0.1],
            "largest_move": 1.0,
        }
    )
    hubs = pd.DataFrame({"euclidean": [2.61, 1.0], "profile_overlap": [0.5, 0.6]}, index=["a", "b"])
    moves, steps, lists = gradient_flow.answer(found, hubs, 10, 0.01).splitlines()[2:]
    assert "by at least 0.999 (CDAE, rating regime, 100 steps), and after 100 steps" in moves
    assert "at most 10 % of the largest move" in moves
    assert "as far as 500 steps of 0.01" in steps
    assert "skewness of 1.0 to 2.6 by Euclidean distance" in lists
    assert lists.endswith("the least, 0.5 to 0.6, by profile overlap.")
