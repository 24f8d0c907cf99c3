"""The gradient-free check: it starts from a cell's own fakes and never ends below them."""

import numpy as np
import pandas as pd
import pytest

from rvdlib import paths
from rvdlib.evaluation import Evaluation
from rvdlib.lab.experiment.cells import Cell, Scenario, run_cells
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.tuning.attack_search import SEARCH_FILE
from rvdlib.lab.tuning.swap_check import nearness, refine
from rvdlib.strict_yaml import read_yaml


def evaluation(ranks):
    ranks = np.array(ranks, dtype=float)
    raters = np.zeros(ranks.shape, dtype=bool)
    return Evaluation(
        50, np.arange(len(ranks)), np.arange(1), ranks, raters, *[ranks] * 2, ranks, 9
    )


def test_nearness_rises_with_every_rank_and_an_item_that_is_not_eligible_adds_nothing():
    values = [nearness(evaluation([[rank]])) for rank in (1, 49, 50, 51, 1000, np.inf)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)
    assert values[-1] == 0


def test_the_check_begins_where_the_cell_is_and_its_row_says_what_it_gained(dataset, tmp_path):
    attacked = {"attack": "average", "attack_size": 0.05, "target_set": "random"}
    scenario = Scenario(dataset=dataset, victim="MF", regime="rating", **attacked)
    cell = Cell(scenario=scenario, method="closed_form", choices={"k": 10}, n_users=50)
    row = refine(cell, steps=2, share=0.5)
    measured = run_cells([cell], store=CellStore(tmp_path), jobs=1)["target_hit_ratio"].iloc[0]
    assert row["before"] == pytest.approx(measured, abs=1e-9)
    assert (row["steps"], row["kept"] <= 2) == (2, True)
    none = refine(cell, steps=0, share=0.5)
    assert (none["before"], none["after"], none["kept"]) == (row["before"], row["before"], 0)


def test_the_committed_check_is_of_the_defences_that_the_search_names():
    found, search = pd.read_csv(paths.RESULTS / "search" / "swaps.csv"), read_yaml(SEARCH_FILE)
    assert set(found["defense"]) == set(search["swaps"]["defenses"])
    assert set(found["seed"]) == set(search["rule"]["seeds"])
    assert set(found["steps"]) == {search["swaps"]["steps"]}
