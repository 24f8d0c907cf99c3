"""Defences by one protocol: how they are built, chained, and told apart."""

import copy

import numpy as np
import pytest
from conformance import (
    ANY_VICTIM,
    USERS,
    DefenseConformance,
    TrainingConformance,
    poisoned,
    trained,
)
from pydantic import ValidationError

from rvdlib.defenses import (
    DEFENSES,
    RVD,
    Chain,
    ClosedFormRVD,
    Defense,
    FastRVD,
    LeastSupport,
    MostPopular,
    RemoveDetected,
    UnobservedWeight,
    defense,
)
from rvdlib.defenses.protocol import AtInference, Served
from rvdlib.models import AutoRec
from rvdlib.seeding import stream

TRAINING = {
    "adversarial_poisoning_training",
    "adversarial_training",
    "huber_loss",
    "pca_detection",
    "profile_detection",
    "remove_detected",
    "triple_cooperative",
    "unobserved_weight",
}


class TestChainAtInference(DefenseConformance):
    kinds = ANY_VICTIM
    tolerance = 1e-5

    def defend(self, victim):
        return self.Chained(victim, min_ratings=5)

    class Chained:
        """Closed form, then least support, built as the other defences are."""

        def __init__(self, victim, **choices):
            steps = defense(ClosedFormRVD, k=5), defense(LeastSupport, **choices)
            served = Chain(*steps).wrap(victim)
            self.score, self.eligible = served.score, served.eligible


class TestChainInTraining(TrainingConformance):
    @pytest.fixture
    def defense(self):
        return Chain(RemoveDetected(share=0.2), UnobservedWeight(unobserved_weight=0.6))

    def test_an_unknown_choice_is_refused_by_name(self):
        with pytest.raises(ValidationError, match="shre"):
            Chain(RemoveDetected(shre=0.2), UnobservedWeight(unobserved_weight=0.6))


def test_no_defence_is_the_victim_as_it_is_trained_without():
    victim = copy.copy(trained("MF", "rating"))
    for nothing in (Defense(), Chain(), Chain(Defense(), Chain())):
        assert not nothing.trains
        train, validation, levels = poisoned()
        assert nothing.clean(train, levels, stream(0)) is train
        assert nothing.fit(victim, train, validation, levels, stream(0, "model")) is victim
        assert nothing.wrap(victim) is victim
    assert np.array_equal(victim.score(USERS), trained("MF", "rating").score(USERS))


@pytest.mark.parametrize("name", DEFENSES)
def test_whatever_is_registered_is_built_by_its_name_and_says_what_it_does(name):
    built = defense(DEFENSES[name])
    assert built.trains is (name in TRAINING)
    assert built.overrides("wrap") is not built.trains
    with pytest.raises(ValidationError, match="no_such_choice"):
        defense(DEFENSES[name], no_such_choice=1)


def test_a_chain_cleans_in_order_and_serves_from_the_inside_out():
    victim, (train, _, levels) = trained("AutoRec", "rating"), poisoned()
    cleaners = [RemoveDetected(share=share) for share in (0.3, 0.5)]
    kept = Chain(*cleaners).clean(train, levels, stream(0))
    alone = cleaners[1].clean(cleaners[0].clean(train, levels, stream(0)), levels, stream(0))
    assert (kept != alone).nnz == 0
    served = Chain(defense(ClosedFormRVD, k=5), defense(LeastSupport, min_ratings=3)).wrap(victim)
    assert type(served) is LeastSupport
    assert type(served.victim) is ClosedFormRVD


def test_the_trained_part_of_a_chain_is_any_of_its_parts():
    assert Chain(RemoveDetected(), defense(RVD)).trains
    assert not Chain(defense(RVD), defense(MostPopular)).trains


def test_a_chain_in_a_chain_is_its_defences():
    parts = RemoveDetected(), defense(ClosedFormRVD, k=5), defense(LeastSupport)
    assert Chain(Chain(), Chain(*parts[:2]), parts[2]).defenses == parts


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([UnobservedWeight(), UnobservedWeight()], "UnobservedWeight and UnobservedWeight"),
        ([defense(ClosedFormRVD), defense(RVD)], "RVD serves a trained victim"),
        ([defense(LeastSupport), defense(ClosedFormRVD)], "ClosedFormRVD serves a trained victim"),
        ([defense(LeastSupport), defense(DEFENSES["rvd"])], "FineTuning serves a trained victim"),
    ],
)
def test_what_cannot_follow_is_refused_before_anything_is_trained(parts, message):
    with pytest.raises(ValueError, match=message):
        Chain(*parts)
    Chain(RemoveDetected(), *parts[:1], RemoveDetected(), defense(LeastSupport))


def test_rvd_falls_back_to_the_plain_loop_where_the_engine_cannot_and_where_it_is_asked_to():
    class Deeper(AutoRec):
        pass

    known, unknown = trained("AutoRec", "rating"), Deeper(embedding_size=4, epochs=2)
    unknown.__dict__.update(known.__dict__)
    served = [
        defense(DEFENSES["rvd"], k=3, steps=2, **more).wrap(victim)
        for victim, more in ((known, {}), (unknown, {}), (known, {"plain": True}))
    ]
    assert [type(each) for each in served] == [FastRVD, RVD, RVD]
    for each in served[1:]:
        assert each.score(USERS) == pytest.approx(served[0].score(USERS), abs=1e-4)


def test_a_defence_of_no_choices_needs_no_config():
    class Reversed(Served):
        def score(self, users):
            return -self.victim.score(users)

    victim = trained("MF", "ranking")
    assert isinstance(defense(Reversed), AtInference)
    assert np.array_equal(defense(Reversed).wrap(victim).score(USERS), -victim.score(USERS))
