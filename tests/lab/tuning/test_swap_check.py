"""The gradient-free check: it starts from a cell's own fakes, climbs, and keeps the budget."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from rvdlib import paths
from rvdlib.attacks import craft
from rvdlib.attacks.profiles import check_profiles
from rvdlib.evaluation import Evaluation
from rvdlib.lab.experiment.cells import Cell, Scenario, run_cells
from rvdlib.lab.experiment.hyperparameters import searched_attackers
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.tuning.attack_search import SEARCH_FILE
from rvdlib.lab.tuning.swap_check import (
    CONTROL,
    FAKES,
    FILLERS,
    RANDOM,
    SEARCHED,
    nearness,
    refine,
    swap_fakes,
    swap_fillers,
)
from rvdlib.seeding import stream
from rvdlib.strict_yaml import read_yaml
from rvdlib.threat_model import ThreatModel


def a_threat(n_items=12, filler_size=4, n_fakes=3, levels=(1, 2, 3, 4, 5), seed=0):
    levels = np.array(levels, dtype=np.float32)
    rng = np.random.default_rng(seed)
    visible = rng.choice(np.append(np.float32(0), levels), (6, n_items))
    return ThreatModel(sp.csr_matrix(visible), np.array([0]), n_fakes, filler_size, levels)


def worth(threat, seed=0):
    """A sum of stars, each times a weight of its cell: the best is known."""
    weights = np.random.default_rng(seed).normal(size=(threat.n_fakes, threat.n_items))
    return weights, lambda profiles: float((profiles.toarray() * weights).sum())


@given(
    st.integers(0, 6),
    st.integers(1, 4),
    st.sampled_from([(1, 2, 3, 4, 5), (0.5, 4), (1,)]),
    st.integers(0, 15),
    st.integers(0, 2**32),
)
def test_it_never_gets_worse_keeps_the_budget_and_measures_what_it_returns(
    filler_size, n_fakes, levels, steps, seed
):
    threat = a_threat(7, filler_size, n_fakes, levels, seed)
    start = craft("random", threat, stream(seed))
    before, (_, objective) = start.toarray(), worth(threat, seed)
    at_once = 1 + seed % n_fakes
    found, history = swap_fillers(start, threat, stream(seed), objective, steps, at_once)
    check_profiles(threat, found)
    assert found.dtype == np.float32
    assert np.array_equal(start.toarray(), before)
    assert len(history) == steps + 1
    assert (np.diff(history) >= 0).all()
    assert (history[0], history[-1]) == (objective(start), objective(found))


@pytest.mark.parametrize(("fakes_at_once", "share"), [(1, 1.0), (3, 0.8)])
def test_the_best_of_a_known_objective_is_found_and_nearly_so_if_all_must_gain(
    fakes_at_once, share
):
    threat = a_threat(filler_size=2)
    weights, objective = worth(threat)
    start = craft("random", threat, stream(0))
    _, history = swap_fillers(start, threat, stream(0), objective, 2000, fakes_at_once)
    # Of each fake the two items of which the top or the bottom rating is worth most.
    cells = np.maximum(weights * 1, weights * 5)[:, 1:]
    best = 5 * weights[:, 0].sum() + np.sort(cells, axis=1)[:, -2:].sum()
    assert history[-1] <= best + 1e-5
    assert history[-1] - history[0] > share * (best - history[0]) - 1e-5


def test_fakes_of_others_are_taken_where_they_help_and_nowhere_else():
    rng = np.random.default_rng(0)
    own, *others = (sp.csr_matrix(rng.integers(1, 6, (6, 9)), dtype=np.float32) for _ in range(4))
    weights = rng.normal(size=9)

    def objective(profiles):
        return float((profiles.toarray() @ weights).sum())

    found, history = swap_fakes(own, others, stream(0), objective, 500)
    known = [row.tolist() for each in (own, *others) for row in each.toarray()]
    assert all(row.tolist() in known for row in found.toarray())
    assert found.shape == own.shape
    assert (np.diff(history) >= 0).all()
    assert (history[0], history[-1]) == (objective(own), objective(found))
    best = 6 * max((each.toarray() @ weights).max() for each in others)
    assert history[-1] > 0.9 * best
    worse = [sp.csr_matrix(np.where(weights > 0, 1, 5) * np.ones((6, 1)), dtype=np.float32)]
    kept, history = swap_fakes(own, worse, stream(0), objective, 50)
    assert (kept != own).nnz == 0
    assert history == [objective(own)] * 51


@pytest.mark.parametrize(("filler_size", "levels"), [(11, (1, 5)), (3, (1,))])
def test_items_alone_or_stars_alone_are_exchanged_where_the_other_cannot_be(filler_size, levels):
    threat = a_threat(12, filler_size, levels=levels)
    _, objective = worth(threat)
    start = craft("random", threat, stream(0))
    _, history = swap_fillers(start, threat, stream(0), objective, 100, 1)
    assert history[-1] > history[0]


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
    row = refine(cell, CONTROL, (), steps=2, share=0.5)
    measured = run_cells([cell], store=CellStore(tmp_path), jobs=1)["target_hit_ratio"].iloc[0]
    assert row["before"] == pytest.approx(measured, abs=1e-9)
    assert (row["start"], row["steps"], row["kept"] <= 2) == (CONTROL, 2, True)
    assert row["kept"] > 0 or row["after"] == row["before"]
    assert row["exchanged"] == FILLERS
    other = cell.model_copy(update={"scenario": scenario.model_copy(update={"attack": "random"})})
    mixed = refine(cell, SEARCHED, (other,), steps=1, share=0.5)
    assert (mixed["before"], mixed["exchanged"]) == (row["before"], FAKES)
    none = refine(cell, CONTROL, (), steps=0, share=0.5)
    assert (none["before"], none["after"], none["kept"]) == (row["before"], row["before"], 0)


def test_the_committed_check_is_of_the_defences_that_the_search_names():
    found, search = pd.read_csv(paths.RESULTS / "search" / "swaps.csv"), read_yaml(SEARCH_FILE)
    assert set(found["defense"]) == set(search["swaps"]["defenses"])
    starts = found.groupby(["regime", "defense", "start", "exchanged"])["attack"].unique().map(list)
    for (regime, name, start, _), attacks in starts.items():
        attempt = RANDOM if start == CONTROL else searched_attackers(regime)[name]
        assert attacks == [attempt["attack"]]
    assert len(starts) == 2 * 2 * 2 * 2
    assert set(found["seed"]) == set(search["rule"]["seeds"])
    assert set(found["steps"]) == {search["swaps"]["steps"]}
