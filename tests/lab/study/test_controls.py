"""What is said of the controls, from rows whose answer is known."""

import pandas as pd
import pytest

from rvdlib.lab.study import attack_effects, controls
from tests.lab.study.conftest import row_of


def rows(thr):
    """``thr``: attack → THR, the same in each seed but for a seed's own level."""
    return pd.DataFrame(
        row_of(attack, thr=level + 0.1 * seed, target_set="random", seed=seed)
        for attack, level in thr.items()
        for seed in range(3)
    )


OWN = rows({"low_clone": 0.3, "pga": 0.4, "revadv": 0.5, "vicinity": 0.2, "clone": 0.9})
SWAPPED = rows({"pga": 0.45, "revadv": 0.2, "vicinity": 0.2})


def test_every_attack_that_optimises_or_knows_has_its_control_in_every_scenario():
    own = attack_effects.scenarios("ml-100k", ["MF"], ["rating"], ["random"], 0.03, [0, 1])
    swapped = controls.scenarios(own)
    assert {s.crafted_for for s in own} == {"targets"}
    assert {s.crafted_for for s in swapped} == {"others"}
    expected = {*attack_effects.OPTIMISING, *attack_effects.KNOWING}
    assert {s.attack for s in swapped} == expected
    assert len(swapped) == 2 * len(expected)
    same = {"crafted_for": "targets"}
    assert {repr(s.model_copy(update=same)) for s in swapped} <= {repr(s) for s in own}


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_gains_are_paired_by_seed_whose_levels_cancel(order):
    swapped = pd.concat([SWAPPED[SWAPPED["seed"] == seed] for seed in order])
    table = controls.gains(OWN, swapped).set_index(["attack", "control"])
    assert len(table) == 6
    for (attack, control), gain in {
        ("pga", controls.SWAPPED): -0.05,
        ("revadv", controls.SWAPPED): 0.3,
        ("vicinity", controls.SWAPPED): 0.0,
        ("pga", controls.LOW_CLONE): 0.1,
        ("revadv", controls.LOW_CLONE): 0.2,
        ("vicinity", controls.LOW_CLONE): -0.1,
    }.items():
        found = table.loc[(attack, control), ["mean", "low", "high"]].tolist()
        assert found == pytest.approx([gain] * 3, abs=1e-12)
        assert table.loc[(attack, control), "n"] == 3


def test_the_sentences_name_who_is_above_and_below_each_control():
    (said,) = controls.reading(controls.gains(OWN, SWAPPED)).splitlines()
    swapped, low = said.split("More than ")[1:]
    assert said.startswith("- **Rating regime, random targets, MF.** More than ")
    above, _, rest = swapped.partition("; less: ")
    assert "RevAdv (0.300 [0.300, 0.300])" in above
    assert "PGA" not in above
    assert rest.startswith("PGA (-0.050 [-0.050, -0.050])")
    assert "most of all: RevAdv" in rest
    above, _, rest = low.partition("; less: ")
    assert "RevAdv" in above
    assert "PGA" in above
    assert rest.startswith("vicinity (-0.100")


def test_nobody_above_a_control_is_said_to_be_none():
    own = OWN.copy()
    own.loc[own["attack"] == "low_clone", "target_hit_ratio"] += 0.6
    (said,) = controls.reading(controls.gains(own, SWAPPED)).splitlines()
    assert "More than low clones, by a paired interval: none; less: RevAdv (-0.400" in said
