"""What is said of fakes with fewer targets: levels, and a difference by seed."""

import pandas as pd
import pytest

from rvdlib.lab.runner.in_short import EVERY_SET, MORE, STRONGEST
from rvdlib.lab.study import fewer_targets
from rvdlib.lab.tuning.fewer_targets import CLEAN, EVERY, ONE, TWO

THR = {
    "none": {
        CLEAN: 0.02,
        EVERY: 0.25,
        "against none": 0.3,
        "against quorum": 0.2,
        ONE: 0.1,
        TWO: 0.15,
    },
    "quorum": {
        CLEAN: 0.03,
        EVERY: 0.04,
        "against none": 0.05,
        "against quorum": 0.07,
        ONE: 0.12,
        TWO: 0.1,
    },
}


def trials():
    return pd.DataFrame(
        [
            (target_set, seed, name, fakes, thr + 0.01 * seed + 0.02 * seed * (fakes == ONE))
            for target_set in ("random", "middling")
            for seed in (0, 1)
            for name, of in THR.items()
            for fakes, thr in of.items()
        ],
        columns=["target_set", "seed", "defense", "fakes", "target_hit_ratio"],
    )


def test_the_stronger_kind_is_held_against_the_strongest_with_every_target_seed_by_seed():
    found = fewer_targets.by_fakes(trials())
    table = found.set_index(["target_set", "defense", "fakes"])
    mean = table["mean"]["random"]
    assert mean["quorum", fewer_targets.NOBODY] == pytest.approx(0.035)
    assert mean["quorum", STRONGEST] == pytest.approx(0.075)  # not under whom it was undefended
    assert mean["none", STRONGEST] == pytest.approx(0.305)
    assert mean["quorum", MORE] == pytest.approx(0.135 - 0.075)
    assert mean["none", MORE] == pytest.approx(0.155 - 0.305)
    assert table.loc[("random", "quorum", MORE), "n"] == 2
    assert table.loc[("random", "none", MORE), "low"] == pytest.approx(-0.15)  # paired: no spread
    both = table["mean"][EVERY_SET]
    for key, value in mean.items():  # both sets are alike here
        assert both[key] == pytest.approx(value)
    assert mean["quorum", EVERY] == pytest.approx(0.045)


def test_a_reader_sees_a_row_a_target_set_and_defence():
    shown = fewer_targets.shown(fewer_targets.by_fakes(trials()))
    assert shown.index.tolist() == [
        (target_set, name) for target_set in ("random", "middling", EVERY_SET) for name in THR
    ]
    assert list(shown) == [fewer_targets.NOBODY, STRONGEST, EVERY, ONE, TWO, MORE]
    assert shown.loc[("random", "quorum"), ONE].startswith("0.135 ")
