"""Numeric options of the attacks: out of range they are refused, and at once."""

import inspect
import math

import numpy as np
import pytest

from rvdlib.attacks import ATTACKS, craft
from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model

QUICK = {
    "aush": {"epochs": 1},
    "mixinf": {"sweeps": 1, "embedding_size": 2, "n_candidates": 2},
    "pga": {"steps": 1, "embedding_size": 2, "sweeps": 1},
    "u_tna": {"steps": 1, "embedding_size": 2},
    "s_tna": {"steps": 1, "embedding_size": 2},
    "revadv": {"steps": 1, "embedding_size": 2},
    "vicinity": {"embedding_size": 2, "sweeps": 1},
    "low_clone": {},
}
# Where 0 is a choice, and what is at most 1.
NOTHING = {
    "aush": {"generator_rate", "discriminator_rate", "zero_share", "reg"},
    "mixinf": {"unobserved_weight"},
    "pga": {"steps", "availability_weight", "unobserved_weight"},
    "u_tna": {"steps", "l1_weight", "unobserved_weight"},
    "s_tna": {"steps", "l1_weight", "unobserved_weight"},
    "revadv": {"unobserved_weight"},
    "vicinity": {"lowered", "unobserved_weight"},
    "low_clone": {"lowered"},
}
SHARES = {
    *("zero_share", "influential_share", "exchanged_share"),
    *("unobserved_weight", "lowered"),
}
NUMBERS = {
    (name, option.name): option.default
    for name in QUICK
    for option in inspect.signature(ATTACKS[name]).parameters.values()
    if isinstance(option.default, int | float)
}
EVERY = pytest.mark.parametrize(("name", "option"), NUMBERS)


@pytest.fixture(scope="module")
def threat():
    ratings = synthetic_ratings(30, 25, 300, rng=stream(0, "ratings"))
    split = leave_one_out(ratings, stream(0, "split"))
    return build_threat_model(split, np.array([3, 20]), stream(0, "threat"), attack_size=0.1)


def accepted(threat, name, option, value):
    craft(name, threat, stream(0, "attack"), **QUICK[name] | {option: value})


def refused(threat, name, option, value):
    rng = stream(0, "attack")
    before = rng.bit_generator.state
    with pytest.raises(ValueError, match=f"^{option} must be "):
        craft(name, threat, rng, **QUICK[name] | {option: value})
    assert rng.bit_generator.state == before


@EVERY
def test_what_is_negative_or_not_finite_is_refused(threat, name, option):
    for value in (-3, -0.5, math.nan, math.inf, -math.inf):
        refused(threat, name, option, value)


@EVERY
def test_counts_are_whole_numbers(threat, name, option):
    if isinstance(NUMBERS[name, option], int):
        refused(threat, name, option, 2.5)
        accepted(threat, name, option, np.int64(3))


@EVERY
def test_nothing_is_accepted_only_where_it_means_something(threat, name, option):
    check = accepted if option in NOTHING[name] else refused
    check(threat, name, option, 0)


@EVERY
def test_the_top_of_a_share_is_accepted_and_no_more(threat, name, option):
    if option in SHARES:
        accepted(threat, name, option, 1.0)
        refused(threat, name, option, 1.01)
