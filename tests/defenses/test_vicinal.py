"""The plain form of RVD: the conformance of any defence, and step by step what the method says."""

import itertools

import numpy as np
import pytest
import torch
from by_hand import ByHand
from conformance import (
    EACH_VICTIM,
    FAKE,
    KINDS,
    LONELY_USER,
    N_ITEMS,
    N_USERS,
    PAPERS,
    USERS,
    WIDER,
    DefenseConformance,
    in_double,
    trained,
    unchanged,
)
from pydantic import ValidationError

from rvdlib.defenses.vicinal import RVD
from rvdlib.models.base import DECODER
from rvdlib.neighbors import DISTANCES, HUBNESS_REDUCTIONS, NeighborSearch

OPTIMIZERS = [
    {"optimizer": "sgd", "learning_rate": 0.05},
    {"optimizer": "adam", "learning_rate": 0.02},
]
REFUSED = ("inner_product", "local_scaling")
each_optimizer = pytest.mark.parametrize("choices", OPTIMIZERS, ids=["sgd", "adam"])
every_kind = pytest.mark.parametrize("victim", KINDS, indirect=True, ids="-".join)


@pytest.fixture(params=EACH_VICTIM, ids="-".join)
def victim(request):
    return trained(*request.param)


class TestThePapersForm(DefenseConformance):
    def defend(self, victim):
        return RVD(victim, **PAPERS)


class TestAWiderVicinity(DefenseConformance):
    reads_row_numbers = (
        True  # by cosine, everybody is as near to a vector of zeros: lower rows first
    )

    def defend(self, victim):
        return RVD(victim, **WIDER)


LOSSES = [
    {},  # the victim's own
    {"regularizer": "none", "unobserved_weight": 0.0},
    {"regularizer": "decoupled", "unobserved_weight": 0.1},
    {"unobserved_weight": 0.1, "proximal_weight": 0.5},
]


@every_kind
@each_optimizer
@pytest.mark.parametrize("scope", ["all", "decoder"])
def test_scores_are_those_of_the_formulas_in_numpy(victim, choices, scope):
    victim = in_double(victim)
    hand = ByHand(victim)
    for loss, user in itertools.product(LOSSES, (3, FAKE)):
        chosen = {**choices, **loss, "scope": scope}
        rows = NeighborSearch(victim.user_factors(), 6, ratings=victim.train)(np.array([user]))[0]
        scores = RVD(victim, k=6, steps=3, **chosen).score(np.array([user]))[0]
        after, before = (
            hand.score(hand.fine_tune(rows, steps=steps, **chosen), user) for steps in (3, 2)
        )
        assert scores == pytest.approx(after, abs=1e-5)
        assert np.abs(scores - before).max() > 1e-4


@every_kind
def test_by_default_it_descends_the_training_loss_by_the_victims_optimizer(victim):
    victim, rows = in_double(victim), np.array([4, 9, 2])
    tuned = RVD(victim, steps=4).fine_tune(rows)
    for name, value in ByHand(victim).fine_tune(rows, steps=4).items():
        assert tuned[name].numpy() == pytest.approx(value, abs=1e-6), name
    parameters = {name: value.clone().requires_grad_() for name, value in victim.parameters.items()}
    moving = [value for name, value in parameters.items() if name not in victim.constants]
    optimizer = torch.optim.Adam(moving, lr=0.01, weight_decay=victim.loss.weight_decay)
    objective = victim.objective(rows, victim.loss if victim.loss.per_cell else data_term(victim))
    for _ in range(4):  # with the regulariser where training has it
        optimizer.zero_grad()
        objective(parameters).backward()
        optimizer.step()
    for name, value in parameters.items():
        assert tuned[name].numpy() == pytest.approx(value.detach().numpy(), abs=1e-9), name


def data_term(victim):
    return victim.loss.variant(regularizer="none")


@each_optimizer
@pytest.mark.parametrize("regularizer", ["coupled", "decoupled"])
def test_what_the_vicinity_does_not_rehearse_decays_for_everybody_alike(
    victim, choices, regularizer
):
    """Rows of items that no neighbour rated have steps of their own; none where cells are counted."""
    defense = RVD(victim, steps=5, unobserved_weight=0, regularizer=regularizer, **choices)
    decayed = defense.decayed()
    for user in (3, FAKE):
        rows = NeighborSearch(victim.user_factors(), 2, ratings=victim.train)(np.array([user]))[0]
        rated = np.diff(victim.train[rows].tocsc().indptr) > 0
        assert 0.05 < rated.mean() < 0.95
        tuned = defense.fine_tune(rows)
        for name, before in victim.parameters.items():
            unheard = ~rated
            if len(before) == N_USERS:
                unheard = np.isin(np.arange(N_USERS), rows, invert=True)
            elif len(before) != N_ITEMS:
                continue
            assert torch.equal(tuned[name][unheard], decayed[name][unheard]), name
            stays = victim.loss.per_cell or not before[unheard].any()
            assert torch.equal(decayed[name], before) is stays, name


@pytest.mark.parametrize(
    ("choices", "n_rows"),
    [({}, 3), ({"include_user": True}, 4), ({"include_user": True, "neighbors": "none"}, 1)],
)
def test_the_decay_is_that_of_a_vicinity_as_long_as_was_chosen(choices, n_rows):
    pulled = {"optimizer": "sgd", "learning_rate": 0.1, "proximal_weight": 0.5}
    defense = RVD(trained("NSVD", "rating"), k=3, steps=5, **pulled, **choices)
    chosen = defense.decayed()["item_factors"]
    for n in (1, 2, 3, 4):
        assert torch.equal(defense.decayed(n)["item_factors"], chosen) is (n == n_rows)


def test_under_adam_a_coupled_decay_is_one_learning_rate_a_step_whatever_the_size():
    victim = trained("AutoRec", "rating")
    before = victim.parameters["item_factors"]
    for regularizer, most in (("coupled", 0.05), ("decoupled", 0.05 * 0.02)):
        tuned = RVD(victim, steps=5, learning_rate=0.01, regularizer=regularizer).decayed()
        moved = (before - tuned["item_factors"]).abs()
        large = before.abs() > 0.06
        assert large.any()
        if regularizer == "coupled":
            assert moved[large].numpy() == pytest.approx(most, rel=0.05)
        else:
            assert moved.numpy() == pytest.approx(most * before.abs().numpy(), rel=0.05, abs=1e-6)


def test_random_neighbours_are_others_none_twice_and_the_same_at_every_call(victim):
    everyone = np.arange(N_USERS)
    defense = RVD(victim, k=9, neighbors="random")
    rows = defense.vicinity(everyone)
    assert rows.shape == (N_USERS, 9)
    assert not (rows == everyone[:, None]).any()
    assert all(len(set(row)) == 9 for row in rows.tolist())
    assert 0 <= rows.min() < rows.max() == N_USERS - 1
    assert np.array_equal(defense.vicinity(everyone[::-1])[::-1], rows)
    assert not np.array_equal(rows[0], rows[1])
    whole = RVD(victim, k=N_USERS - 1, neighbors="random").vicinity(np.array([3]))[0]
    assert sorted(whole) == [u for u in range(N_USERS) if u != 3]
    with pytest.raises(ValueError, match=f"k must be .* {N_USERS - 1}"):
        RVD(victim, k=N_USERS, neighbors="random").score(np.array([3]))


def test_without_neighbours_there_is_the_decay_alone(victim):
    defense = RVD(victim, neighbors="none", steps=5)
    assert defense.vicinity(USERS).shape == (5, 0)
    expected = victim.score_with(defense.decayed(), USERS)
    assert defense.score(USERS) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("scope", ["all", "decoder"])
def test_no_step_is_no_defence_bit_by_bit(victim, optimizer, scope):
    undefended = RVD(victim, steps=0, optimizer=optimizer, scope=scope, proximal_weight=1)
    for user in USERS:
        user = np.array([user])
        assert undefended.score(user).tobytes() == victim.score(user).tobytes()


@each_optimizer
def test_of_the_data_term_alone_a_row_without_a_neighbours_rating_keeps_its_bits(victim, choices):
    choices = {**choices, "steps": 5, "regularizer": "none"}
    rows = NeighborSearch(victim.user_factors(), 2, ratings=victim.train)(np.array([3]))[0]
    rated = np.diff(victim.train[rows].tocsc().indptr) > 0
    assert 0.1 < rated.mean() < 0.9
    tuned = RVD(victim, unobserved_weight=0, **choices).fine_tune(rows)
    spoken = RVD(victim, unobserved_weight=0.1, **choices).fine_tune(rows)
    # Rows by item are moved through the item's ratings, rows by user through the user's.
    for name, before in victim.parameters.items():
        moved = (tuned[name] != before).numpy().reshape(len(before), -1)
        if name in victim.constants:
            assert not moved.any()
        elif len(before) == N_ITEMS:
            assert not moved[~rated].any(), name
            assert moved[rated].any(axis=1).all(), name
        elif len(before) == N_USERS:
            assert not np.delete(moved, rows, axis=0).any(), name
    for name in set(DECODER) - victim.constants:
        moved = (spoken[name] != victim.parameters[name]).numpy().reshape(N_ITEMS, -1)
        assert moved.any(axis=1).all(), name


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("scope", ["all", "decoder"])
def test_only_the_parameters_in_scope_move(victim, optimizer, scope):
    defense = RVD(victim, k=6, steps=3, optimizer=optimizer, scope=scope, learning_rate=0.1)
    tuned = defense.fine_tune(defense.vicinity(np.array([3]))[0])
    assert tuned.keys() == victim.parameters.keys()
    moved = {name for name in tuned if not torch.equal(tuned[name], victim.parameters[name])}
    expected = {"all": set(tuned), "decoder": set(DECODER)}
    assert moved == expected[scope] - victim.constants


@pytest.mark.parametrize(
    ("distance", "hubness_reduction"),
    [(d, h) for d in DISTANCES for h in HUBNESS_REDUCTIONS if (d, h) != REFUSED],
)
def test_the_vicinity_is_the_neighbours_and_the_user_only_if_asked(distance, hubness_reduction):
    victim, everyone = trained("AutoRec", "rating"), np.arange(N_USERS)
    choices = {"distance": distance, "hubness_reduction": hubness_reduction}
    without = RVD(victim, k=9, **choices).vicinity(everyone)
    joined = RVD(victim, k=9, include_user=True, **choices).vicinity(everyone)
    search = NeighborSearch(victim.user_factors(), 9, ratings=victim.train, **choices)
    assert np.array_equal(without, search(everyone))
    assert not (without == everyone[:, None]).any()
    assert np.array_equal(joined, np.column_stack([without, everyone]))


def test_fine_tuning_on_the_users_own_row_follows_the_users_ratings(victim):
    """With the user's row in the vicinity the user's ratings are fitted better than without."""
    user, steps = 3, {"steps": 30, "k": 5}
    row = victim.train[user]
    errors = [
        np.abs(
            RVD(victim, include_user=own, **steps).score(np.array([user]))[0][row.indices] / 5
            - row.data
        ).mean()
        for own in (False, True)
    ]
    assert errors[1] < errors[0]


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("place", ["loss", "step"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_an_interrupt_in_the_middle_leaves_no_trace(victim, optimizer, place, monkeypatch):
    defense = RVD(victim, k=6, steps=5, optimizer=optimizer.lower())
    expected = defense.score(USERS)
    calls = itertools.count(1)

    def third_time(function):
        def wrapped(*arguments, **named):
            result = function(*arguments, **named)
            if next(calls) == 8:  # of the second user's third step
                raise Interrupted
            return result

        return wrapped

    with monkeypatch.context() as patch, unchanged(victim):
        if place == "step":
            method = getattr(torch.optim, optimizer)
            patch.setattr(method, "step", third_time(method.step))
        else:
            counted, objective = third_time(lambda loss: loss), defense.victim.objective
            patch.setattr(
                defense.victim,
                "objective",
                lambda *asked: lambda given: counted(objective(*asked)(given)),
            )
        with pytest.raises(Interrupted):
            defense.score(USERS)
    assert defense.score(USERS).tobytes() == expected.tobytes()


def descended(victim, user, rows, unobserved_weight, proximal_weight, scope="decoder"):
    """Gradient descent on the proximal objective, at the largest step size, until it stands."""
    factors = victim.encode(victim.parameters, rows)[1].numpy()
    curvature = (np.square(factors).sum() + len(rows) + proximal_weight) * 2 / len(rows)
    defense = RVD(
        victim,
        steps=int(15 * curvature * len(rows) / proximal_weight),
        optimizer="sgd",
        learning_rate=1 / curvature,
        scope=scope,
        regularizer="none",
        unobserved_weight=unobserved_weight,
        proximal_weight=proximal_weight,
    )
    return defense.fine_tune(rows)


@pytest.mark.parametrize("unobserved_weight", [0, 0.1, 1])
def test_descent_on_the_decoder_ends_in_the_ridge_regression_of_each_item(
    victim, unobserved_weight
):
    """min Σ_v c_vi (y_vi − ŝ_vi − h_v·Δw − Δb)² + λ (‖Δw‖² + Δb²), item by item."""
    victim, user, pull = in_double(victim), 3, 4.0
    rows = np.append(NeighborSearch(victim.user_factors(), 6)(np.array([user]))[0], LONELY_USER)
    tuned = descended(victim, user, rows, unobserved_weight, pull)

    offset, factors = (each.numpy() for each in victim.encode(victim.parameters, rows))
    w, b = (victim.parameters[name].numpy() for name in DECODER)
    h = np.column_stack([factors, np.full(len(rows), "item_bias" not in victim.constants)])
    ratings = victim.train[rows].toarray()
    silence = np.zeros(len(rows)) if victim.ranking else offset
    for item in range(N_ITEMS):
        rated = ratings[:, item] > 0
        c = np.where(rated, 1, unobserved_weight)
        y = np.where(rated, ratings[:, item], silence)
        residuals = y - (offset + factors @ w[item] + b[item])
        matrix = h.T @ (c[:, None] * h) + pull * np.eye(5)
        move = np.linalg.solve(matrix, h.T @ (c * residuals))
        assert tuned["item_factors"][item].numpy() - w[item] == pytest.approx(move[:4], abs=1e-6)
        assert tuned["item_bias"][item].item() - b[item] == pytest.approx(move[4], abs=1e-6)


def test_a_stronger_pull_ends_nearer_to_the_trained_victim(victim):
    victim, user = in_double(victim), 3
    rows = NeighborSearch(victim.user_factors(), 6, ratings=victim.train)(np.array([user]))[0]
    distances = []
    for pull in (4.0, 40.0, 2e6):
        tuned = descended(victim, user, rows, 0.1, pull)
        scores = victim.score_with(tuned, np.array([user]))
        distances.append(np.abs(scores - victim.score(np.array([user]))).max())
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.03
    assert distances[-1] < 1e-4


@pytest.mark.parametrize("scope", ["all", "decoder"])
def test_the_pull_holds_whatever_is_in_scope(victim, scope):
    moved = []
    for pull in (0, 3):
        defense = RVD(
            victim,
            k=6,
            steps=100,
            learning_rate=0.05,
            optimizer="sgd",
            scope=scope,
            regularizer="none",
            proximal_weight=pull,
        )
        tuned = defense.fine_tune(defense.vicinity(np.array([3]))[0])
        moved.append(sum(((tuned[n] - v) ** 2).sum() for n, v in victim.parameters.items()))
    assert 0 < moved[1] < 0.9 * moved[0]


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("k", 0),
        ("steps", -1),
        ("learning_rate", 0),
        ("optimizer", "lbfgs"),
        ("scope", "encoder"),
        ("regularizer", "weak"),
        ("neighbors", "farthest"),
        ("distance", "manhattan"),
        ("unobserved_weight", 1.1),
        ("proximal_weight", -1),
    ],
)
def test_impossible_choices_are_refused_by_name(choice, value):
    with pytest.raises(ValidationError, match=choice):
        RVD(trained("MF", "rating"), **{choice: value})


def test_more_neighbours_than_users_are_refused():
    with pytest.raises(ValueError, match="k must be between 1 and 63"):
        RVD(trained("MF", "rating"), k=64).score(np.array([0]))
