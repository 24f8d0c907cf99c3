"""The engine against the plain form: the same scores, from fewer numbers."""

import functools

import numpy as np
import pytest
import torch
from conformance import (
    EACH_VICTIM,
    FAKE,
    KINDS,
    LONELY_USER,
    N_USERS,
    PAPERS,
    USERS,
    WIDER,
    DefenseConformance,
    fit,
    in_double,
    trained,
    unchanged,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib import metrics
from rvdlib.data import leave_one_out
from rvdlib.defenses import DEFENSES, RVD, FastRVD, RVDConfig, defense, engine
from rvdlib.defenses.engine import fast as fast_module
from rvdlib.models import VICTIMS, AutoRec
from rvdlib.seeding import stream

OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "adam": {"optimizer": "adam", "learning_rate": 0.02},
}
SCOPES = ("all", "decoder")
REGULARIZERS = ("coupled", "decoupled", "none")
PLAIN = {"k": 7, "steps": 5}
RICH = {**PLAIN, "include_user": True, "proximal_weight": 0.5}
AWKWARD_USERS = np.array([FAKE, 3, LONELY_USER])


class TestThePapersForm(DefenseConformance):
    tolerance = 1e-5

    def defend(self, victim):
        return FastRVD(victim, **PAPERS)


class TestAWiderVicinity(DefenseConformance):
    reads_row_numbers = (
        True  # by cosine, everybody is as near to a vector of zeros: lower rows first
    )
    tolerance = 1e-5

    def defend(self, victim):
        return FastRVD(victim, **WIDER)


@pytest.fixture(params=EACH_VICTIM, ids="-".join)
def victim(request):
    return trained(*request.param)


def difference(victim, users=AWKWARD_USERS, **choices):
    """Stars by which the engine is off the plain form, at most."""
    plain, fast = RVD(victim, **choices).score(users), FastRVD(victim, **choices).score(users)
    assert fast.dtype == plain.dtype
    return np.abs(fast - plain).max()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_scores_are_those_of_the_plain_form(victim, scope, optimizer, regularizer):
    """To the last digits in float64; in float32, Adam may turn a rounding into part of a step."""
    double = in_double(victim)
    chosen = {"scope": scope, "regularizer": regularizer, **OPTIMIZERS[optimizer]}
    for choices, omega in ((PLAIN, 0), (RICH, 0), (RICH, 0.1)):
        choices = {**choices, **chosen, "unobserved_weight": omega}
        assert difference(double, **choices) < 1e-9
        assert difference(victim, **choices) < 1e-3


@pytest.mark.parametrize("choices", [{"neighbors": "random"}, {"neighbors": "none"}, {}])
def test_the_victims_own_loss_and_the_controls_are_those_of_the_plain_form(victim, choices):
    for more in ({}, {"include_user": True, "regularizer": "decoupled"}):
        assert difference(in_double(victim), k=7, steps=5, **choices, **more) < 1e-9


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    k=st.integers(1, N_USERS - 1),
    steps=st.integers(1, 6),
    optimizer=st.sampled_from(list(OPTIMIZERS)),
    scope=st.sampled_from(SCOPES),
    regularizer=st.sampled_from(REGULARIZERS),
    include_user=st.booleans(),
    unobserved_weight=st.sampled_from([None, 0, 0.01, 1]),
    proximal_weight=st.sampled_from([0, 2]),
    user=st.integers(0, N_USERS - 1),
)
def test_whatever_is_chosen(kind, optimizer, user, **choices):
    victim = in_double(trained(*kind))
    choices |= OPTIMIZERS[optimizer]
    plain = RVD(victim, **choices).score(np.array([user]))
    assert FastRVD(victim, **choices).score(np.array([user])) == pytest.approx(plain, abs=1e-9)


@functools.cache
def of_size(name, regime, size):
    config = trained(name, regime).config.model_dump() | {"embedding_size": size, "epochs": 2}
    return in_double(fit(VICTIMS[name](**config), seed=0))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("size", [1, 6, 7, 64])
@pytest.mark.parametrize("kind", [("MF", "rating"), ("CDAE", "ranking")], ids="-".join)
def test_silence_is_heard_alike_one_by_one_and_in_sums(kind, size, scope):
    """Sums are taken where 2k > d; d and k leave all rests of four."""
    adam = OPTIMIZERS["adam"]
    for k in (1, 3, 32, 33, 34, 63):
        choices = {"k": k, "steps": 3, "scope": scope, "unobserved_weight": 0.3}
        assert difference(of_size(*kind, size), **choices, **adam) < 1e-9, k


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("unobserved_weight", [0, 0.1])
def test_no_step_is_no_defence(victim, scope, unobserved_weight):
    fast = FastRVD(victim, steps=0, scope=scope, unobserved_weight=unobserved_weight)
    assert fast.score(USERS) == pytest.approx(victim.score(USERS), abs=1e-5)


@pytest.mark.parametrize("unobserved_weight", [0, 0.1])
def test_neighbours_who_rated_nothing_say_nothing_without_a_weight(
    victim, unobserved_weight, monkeypatch
):
    victim, users = in_double(victim), np.array([3, LONELY_USER])
    monkeypatch.setattr(RVD, "vicinity", lambda self, users: np.full((len(users), 1), LONELY_USER))
    plain, fast = (
        method(victim, k=1, steps=4, unobserved_weight=unobserved_weight, regularizer="none").score(
            users
        )
        for method in (RVD, FastRVD)
    )
    assert fast == pytest.approx(plain, abs=1e-9)
    moved = np.abs(fast - victim.score(users)).max()
    # Without biases, a user of zeros is predicted the zeros that unobserved cells are taken to be.
    silent = not unobserved_weight or (victim.name == "PlainMF" and victim.ranking)
    assert moved < 1e-9 if silent else moved > 1e-3


@pytest.mark.parametrize("choices", [PLAIN, {**RICH, "unobserved_weight": 0.1}])
def test_threads_and_blocks_change_nothing(victim, choices, monkeypatch):
    fast, everyone = FastRVD(victim, **choices), np.arange(N_USERS)
    whole = fast.score(everyone)
    monkeypatch.setattr(fast_module, "_USERS_AT_ONCE", 5)
    one = fast.score(everyone)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    with unchanged(victim):
        three = fast.score(everyone)
    assert three.tobytes() == one.tobytes()
    assert np.abs(one - whole).max() < 1e-5


def test_a_descent_that_diverges_is_seen_and_stays_alone(victim):
    """Infinities of one user are not left in the memory that the next is served from."""
    choices = {"k": 5, "steps": 60, "optimizer": "sgd", "learning_rate": 1e3}
    fast = FastRVD(victim, **choices)
    assert not np.isfinite(fast.score(USERS)).all()
    assert not np.isfinite(RVD(victim, **choices).score(USERS)).all()
    lonely = np.array([LONELY_USER])
    after, alone = fast.score(np.append(USERS, LONELY_USER))[-1], fast.score(lonely)[0]
    np.testing.assert_allclose(after, alone, rtol=1e-5)


def test_an_unknown_victim_is_told_where_to_go():
    class Deeper(AutoRec):
        pass

    with pytest.raises(ValueError, match=r"Deeper.*RVD.*FunctionalRVD"):
        FastRVD(Deeper())


def test_it_is_what_is_registered_and_every_victim_is_known(victim):
    served = defense(DEFENSES["rvd"], k=3).wrap(victim)
    assert type(served) is FastRVD
    assert served.config == RVDConfig(k=3)
    assert set(engine.ENCODERS) == set(VICTIMS.values())


@pytest.mark.parametrize("name", ["MF", "CDAE"])
def test_at_real_size_lists_are_the_same(name, ml100k):
    split = leave_one_out(ml100k, stream(0, "split"))
    victim = VICTIMS[name](epochs=2).fit(
        split.train, split.validation, ml100k.levels, stream(0, "model")
    )
    users, seen = np.array([0, 404, 942]), split.train[[0, 404, 942]]
    wide = {"k": 100, "unobserved_weight": 0.1}
    for choices in ({}, {"scope": "decoder", "unobserved_weight": 0.1}, wide):
        plain, fast = (
            method(in_double(victim), steps=10, **choices).score(users) for method in (RVD, FastRVD)
        )
        assert np.abs(plain - fast).max() < 1e-6
        assert np.array_equal(metrics.top_k(plain, seen, 50), metrics.top_k(fast, seen, 50))
        single = FastRVD(victim, steps=10, **choices).score(users)
        assert np.abs(single - plain).max() < 5e-3
