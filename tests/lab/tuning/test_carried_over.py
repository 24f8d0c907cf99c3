"""What is measured of choices carried over: the same cells under both."""

from itertools import product

import pytest

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.experiment.splits import TABLE_SEEDS
from rvdlib.lab.study import tables
from rvdlib.lab.tuning import carried_over
from rvdlib.lab.tuning.carried_over import ATTACKS, HOME, METRICS, REGIME, SEEDS


def test_both_choices_meet_the_same_attacks_on_the_seeds_of_tables():
    found = carried_over.cells()
    assert {*SEEDS} <= {*TABLE_SEEDS}
    by_scenario = {}
    for cell, where in found:
        by_scenario.setdefault(repr(cell.scenario), []).append((cell.defense, where, cell))
    assert len(by_scenario) == 4 * len(SEEDS) * len(ATTACKS)
    for here in by_scenario.values():
        names = [(name, where) for name, where, _ in here]
        forms = product(("RVD", "closed form"), (HOME, "filmtrust"))
        assert sorted(names) == sorted([(UNDEFENDED, ""), *forms])
        for name, where, cell in here:
            carried = chosen_defenses(REGIME, cell.scenario.victim, HOME)
            if where == HOME:
                assert cell.choices == carried[name]["choices"]
            elif where:
                assert cell.choices != carried[name]["choices"]


def test_the_committed_rows_are_those_that_are_asked_for():
    rows = tables.trials("carried_over").fillna({"chosen_on": ""})
    asked = [
        (*(getattr(cell.scenario, name) for name in ("dataset", "victim", "seed", "attack")), cell.defense, where)
        for cell, where in carried_over.cells()
    ]  # fmt: skip
    assert [*rows[carried_over.COLUMNS].itertuples(index=False, name=None)] == asked
    assert not rows[METRICS].isna().any().any()


@pytest.mark.parametrize("attack", ATTACKS[1:])
def test_undefended_every_attack_does_something(attack):
    rows = tables.trials("carried_over")
    bare = rows[rows["defense"] == UNDEFENDED].groupby("attack")["target_hit_ratio"].mean()
    assert bare[attack] > bare["none"] + 0.02
