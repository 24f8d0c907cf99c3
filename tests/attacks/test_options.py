"""Options of the attacks: out of their range or type they are refused by name, before any draw."""

import math
from typing import Literal, get_args, get_origin

import numpy as np
import pytest

from rvdlib.attacks import ATTACKS, craft
from rvdlib.attacks.surrogate import SurrogateConfig
from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model

FIELDS = {
    (name, option): field
    for name, attack in ATTACKS.items()
    for option, field in attack.Config.model_fields.items()
}
NUMBERS = [key for key, field in FIELDS.items() if field.annotation in (int, float)]
EVERY = pytest.mark.parametrize(("name", "option"), NUMBERS)
SHARES = (
    "decay",
    "level",
    "lowered",
    "quantile",
    "raised",
    "shrinkage",
    "swapped",
    "unobserved_weight",
)
NEEDED = {"from_file": {"path": "f.npz"}}


def bounds(name, option):
    """Lowest value, whether it is allowed itself, and the highest, allowed; None: no highest."""
    found = {
        kind: getattr(bound, kind)
        for bound in FIELDS[name, option].metadata
        for kind in ("ge", "gt", "le")
        if hasattr(bound, kind)
    }
    return found.get("ge", found.get("gt")), "ge" in found, found.get("le")


def accepted(name, option, value):
    config = ATTACKS[name].config(NEEDED.get(name, {}) | {option: value})
    assert getattr(config, option) == value


def refused(name, option, value, must_be=""):
    with pytest.raises(ValueError, match=f"^{option} must be {must_be}"):
        ATTACKS[name].config(NEEDED.get(name, {}) | {option: value})


def test_every_option_is_explained_and_every_default_is_one():
    for (name, option), field in FIELDS.items():
        assert field.description, f"{name}: {option} is not explained"
        if not field.is_required():
            accepted(name, option, field.default)


@EVERY
def test_every_number_has_a_lowest_value_and_nothing_below_passes(name, option):
    low, allowed, _ = bounds(name, option)
    assert low is not None
    (accepted if allowed else refused)(name, option, low)
    for value in (low - 1, -math.inf):
        refused(name, option, value if FIELDS[name, option].annotation is float else int(low - 1))


@EVERY
def test_the_highest_value_passes_and_nothing_above(name, option):
    _, _, high = bounds(name, option)
    if high is not None:
        accepted(name, option, float(high))
        refused(name, option, high + 0.01, f"at most {high}, got {high + 0.01}")
    shares = option.endswith("_share") or option in SHARES
    assert (high == 1) == shares


@EVERY
def test_what_is_no_number_of_its_kind_is_refused(name, option):
    whole = FIELDS[name, option].annotation is int
    for value in (True, "3", [1], None, *([2.5, 3.0] if whole else [math.nan, math.inf])):
        refused(name, option, value)
    low, _, high = bounds(name, option)
    accepted(name, option, np.int64(low + 1) if whole else np.float64(high or low + 0.5))


@pytest.mark.parametrize(
    ("name", "option"),
    [key for key, field in FIELDS.items() if get_origin(field.annotation) is Literal],
)
def test_a_choice_is_one_of_those_that_its_type_names(name, option):
    known = get_args(FIELDS[name, option].annotation)
    for value in known:
        accepted(name, option, value)
    refused(name, option, known[0][:-1], f"one of .*did you mean '{known[0]}'")
    refused(name, option, 3, "one of")


@pytest.mark.parametrize("name", ATTACKS)
def test_an_unknown_option_is_refused_with_those_that_there_are(name):
    known = ATTACKS[name].Config.model_fields
    with pytest.raises(ValueError, match=f"attack '{name}' has no option 'nosuch', it") as error:
        ATTACKS[name].config(NEEDED.get(name, {}) | {"nosuch": 1})
    assert all(option in str(error.value) for option in known)


@pytest.mark.parametrize("name", ["pga", "segment", "low_clone"])
def test_nothing_is_drawn_where_an_option_is_refused(name):
    ratings = synthetic_ratings(30, 25, 300, rng=stream(0, "ratings"))
    split = leave_one_out(ratings, stream(0, "split"))
    threat = build_threat_model(split, np.array([3, 20]), stream(0, "threat"), attack_size=0.1)
    rng = stream(0, "attack")
    before = rng.bit_generator.state
    option = list(ATTACKS[name].Config.model_fields)[-1]
    with pytest.raises(ValueError, match=f"^{option} must be at least"):
        craft(name, threat, rng, **{option: -1})
    assert rng.bit_generator.state == before


def test_attacks_with_a_surrogate_take_its_options_with_the_same_defaults():
    base = SurrogateConfig.model_fields
    for name in ("mixinf", "pga", "u_tna", "s_tna", "revadv", "vicinity", "centroid", "dp"):
        fields = ATTACKS[name].Config.model_fields
        assert {option: fields[option].default for option in base} == {
            option: field.default for option, field in base.items()
        }
