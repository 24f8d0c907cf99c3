"""What attackers are told: a defence as it is, defaults and chains included, and no more."""

import pytest

from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.cells import craftable
from rvdlib.lab.experiment.knowing import has_neighbors, resolved, told

QUORUM = {"method": "quorum", "choices": {"k": 20, "quorum": 2}}
CHAIN = {"chain": [{"method": "closed_form", "choices": {"k": 100}}, QUORUM]}


@pytest.mark.parametrize("attack", craftable()[1:])
@pytest.mark.parametrize("form", [QUORUM, CHAIN], ids=["quorum", "chain"])
def test_who_is_made_against_neighbours_is_told_what_the_attack_has_options_for(attack, form):
    said = told("rating", attack, form)  # defaults of the quorum among it
    truth = {
        "k": 20,
        "copies": 2,
        "distance": "euclidean",
        "hubness_reduction": "local_scaling",
        "max_in_degree": 20,
    }
    has = ATTACKS[attack].Config.model_fields if ATTACKS[attack].knows_defense else {}
    assert said == {option: value for option, value in truth.items() if option in has}


def test_own_options_overrule_and_none_is_as_told():
    said = told("rating", "vicinity", QUORUM, {"k": None, "copies": 5, "lowered": 0.25})
    assert (said["k"], said["copies"], said["lowered"]) == (20, 5, 0.25)


def test_without_a_defence_an_attack_is_told_of_the_regime_alone():
    assert told("ranking", "vicinity", {})["unobserved_weight"] > 0
    assert told("rating", "vicinity", {}) == {}
    assert told("rating", "none", QUORUM) == {}


@pytest.mark.parametrize(
    ("form", "near"),
    [
        ({}, False),
        (QUORUM, True),
        (CHAIN, True),
        ({"method": "popularity", "choices": {}}, False),
        ({"method": "closed_form", "choices": {"neighbors": "random"}}, False),
        ({"method": "rvd", "choices": {}}, True),
    ],
)
def test_a_defence_listens_to_neighbours_if_it_looks_for_the_nearest(form, near):
    assert has_neighbors(form) == near
    assert ("k" in resolved(form)) == (near or "neighbors" in form.get("choices", {}))
