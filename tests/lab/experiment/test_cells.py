"""Cells: from a scenario to a row, in any order, once, and never with a look at the test items."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import ValidationError
from scipy.spatial.distance import cdist

from rvdlib.attacks import ATTACKS
from rvdlib.data import HeldOut, leave_one_out, load_dataset
from rvdlib.lab.experiment import cells, poison, splits
from rvdlib.lab.experiment.cells import (
    Cell,
    Scenario,
    carry_out,
    evaluate_cell,
    run_cells,
    sample_users,
)
from rvdlib.lab.experiment.hyperparameters import ATTACKS_FILE
from rvdlib.lab.experiment.store import CellStore
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream
from tests.lab.conftest import small_victims

DEMANDED = ["dataset", "victim", "regime", "attack", "attack_size", "target_set", "defense", "seed"]
DEMANDED += ["target_hit_ratio", "hit_ratio", "ndcg", "rmse"]
QUICK = {"embedding_size": 4, "epochs": 2}
ATTACKED = {"attack": "average", "attack_size": 0.1}
RVD = {"defense": "RVD", "method": "rvd", "choices": {"k": 3, "steps": 2}}


@pytest.fixture
def quick(monkeypatch):
    """Every victim is small and trained for two epochs."""
    small_victims(monkeypatch, **QUICK)


@pytest.fixture
def trainings(monkeypatch):
    """The scenarios that were carried out, in order."""
    carried_out, carry_out = [], cells.carry_out

    def noting(scenario, training=()):
        carried_out.append(scenario)
        return carry_out(scenario, training)

    monkeypatch.setattr(cells, "carry_out", noting)
    return carried_out


@pytest.fixture
def store(tmp_path):
    return CellStore(tmp_path / "cells")


@pytest.fixture
def scenario(dataset):
    """``scenario(**changes)``: MF in the rating regime, not attacked, unless said."""

    def make(**changes):
        return Scenario(**{"dataset": dataset, "victim": "MF", "regime": "rating", **changes})

    return make


def numbers(rows: pd.DataFrame) -> list[dict]:
    rows = rows.astype(object)
    return rows.where(rows.notna(), None).to_dict("records")  # NaN equals nothing


def test_a_row_has_all_that_a_table_needs(quick, scenario, store):
    wanted = [
        Cell(scenario=scenario(**ATTACKED)),
        Cell(scenario=scenario(**ATTACKED), n_users=10, **RVD),
    ]
    rows = run_cells(wanted, store=store, jobs=1)
    assert set(DEMANDED) <= set(rows.columns)
    assert not rows[DEMANDED].isna().any().any()
    assert rows["defense"].tolist() == ["none", "RVD"]
    assert rows["n_users"].tolist() == [120, 10]
    assert rows["choices"].tolist() == [{}, {"k": 3, "steps": 2}]
    assert rows[["target_hit_ratio", "hit_ratio", "ndcg"]].stack().between(0, 1).all()
    assert (rows["rmse"] > 0).all()
    assert rows["catalogue_share"].between(0, 1).all()
    for row in rows.to_dict("records"):
        hits, users = np.array(row["target_hits"]), np.array(row["target_users"])
        assert (users <= row["n_users"]).all()
        assert (hits / users).mean() == pytest.approx(row["target_hit_ratio"])


def test_two_processes_and_any_order_give_the_same_numbers(scenario, tmp_path):
    # With the hyper-parameters of params/, as the other processes have no patched ones.
    wanted = [
        Cell(scenario=scenario(seed=seed, **attack), n_users=20, **form)
        for seed, attack in ((0, {}), (1, ATTACKED))
        for form in ({}, RVD)
    ]
    one = run_cells(wanted, store=CellStore(tmp_path / "one"), jobs=1)
    two = run_cells(wanted[::-1], store=CellStore(tmp_path / "two"), jobs=2)
    assert numbers(one) == numbers(two[::-1])
    assert one["target_hit_ratio"].nunique() > 1


def test_a_cell_that_is_asked_for_twice_is_computed_once(quick, scenario, store, trainings):
    cell, other = Cell(scenario=scenario()), Cell(scenario=scenario(seed=1))
    rows = run_cells([cell, other, cell], store=store, jobs=1)
    assert len(trainings) == 2
    assert rows["seed"].tolist() == [0, 1, 0]
    assert rows.iloc[0].equals(rows.iloc[2])


def test_a_row_tells_whose_neighbours_fakes_are(quick, scenario, store):
    attacked, clean = scenario(**ATTACKED), scenario()
    cells_ = [Cell(scenario=attacked), Cell(scenario=attacked, **RVD), Cell(scenario=clean)]
    rows = run_cells(cells_, store=store, jobs=1)
    victim = carry_out(attacked).victim
    everyone = np.arange(132)
    for row, k in zip(rows[:2].itertuples(), (10, 3), strict=True):
        distances = cdist(victim.user_factors(), victim.user_factors())
        np.fill_diagonal(distances, np.inf)
        fakes = np.argsort(distances, axis=1, kind="stable")[:, :k] >= 120
        assert row.fake_neighbor_share == pytest.approx(fakes[everyone < 120].mean())
        assert row.fakes_near_fakes == pytest.approx(fakes[everyone >= 120].mean())
    assert rows["fake_neighbor_share"].iloc[2] == 0
    assert np.isnan(rows["fakes_near_fakes"].iloc[2])


def test_cells_on_record_are_read_back_as_they_were(quick, scenario, store, trainings):
    wanted = [Cell(scenario=scenario(seed=seed), n_users=10, **RVD) for seed in (0, 1)]
    computed = run_cells(wanted, store=store, jobs=1)
    trainings.clear()
    found = run_cells(wanted[::-1], store=store, jobs=1)
    assert trainings == []
    # Times too: a second run changes no table.
    found = found[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, computed, check_exact=True, check_like=True)


def test_changed_hyperparameters_make_a_new_cell_and_keep_the_old(
    scenario, store, trainings, monkeypatch
):
    wanted = [Cell(scenario=scenario())]

    def with_epochs(epochs):
        chosen = QUICK | {"epochs": epochs}
        monkeypatch.setattr(cells, "victim_hyperparameters", lambda *names: chosen)
        return numbers(run_cells(wanted, store=store, jobs=1))

    two, one = with_epochs(2), with_epochs(1)
    assert len(trainings) == 2
    assert one != two
    assert with_epochs(2) == two
    assert len(trainings) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"choices": {"k": 4, "steps": 2}},
        {"n_users": 6},
        {"defense": "another name"},
        {"method": "closed_form", "choices": {"k": 3}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_of_a_cell_it_is_not_taken_for_the_old_one(
    quick, scenario, store, trainings, change
):
    cell = {"scenario": scenario(), "n_users": 5, **RVD}
    run_cells([Cell(**cell)], store=store, jobs=1)
    run_cells([Cell(**cell | change)], store=store, jobs=1)
    assert len(trainings) == 2


def test_what_was_finished_before_an_interruption_is_kept(
    quick, scenario, store, trainings, monkeypatch
):
    wanted = [
        Cell(scenario=scenario(seed=seed), n_users=5, **form)
        for seed in (0, 1)
        for form in ({}, RVD)
    ]

    def interrupted(cell, attacked):
        if cell == wanted[3]:
            raise KeyboardInterrupt
        return evaluate_cell(cell, attacked)

    with monkeypatch.context() as patch:
        patch.setattr(cells, "evaluate_cell", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_cells(wanted, store=store, jobs=1)
    trainings.clear()
    run_cells(wanted[:3], store=store, jobs=1)
    assert trainings == []
    resumed = run_cells(wanted, store=store, jobs=1)
    assert trainings == [scenario(seed=1)]
    fresh = run_cells(wanted, store=CellStore(store.folder / "fresh"), jobs=1)
    assert numbers(resumed) == numbers(fresh)


def with_other_test_items(ratings, rng):
    """The same split, its test items swapped for others that the users did not train on."""
    split = leave_one_out(ratings, rng)
    shift = 1 + np.random.default_rng(1).integers(100, size=len(split.test.items))
    items = (split.test.items + shift) % ratings.n_items
    return replace(split, test=HeldOut(split.test.users, items.astype(np.int32), split.test.stars))


@pytest.mark.parametrize(("evaluated_on", "seen"), [("validation", False), ("test", True)])
@pytest.mark.parametrize("regime", ["rating", "ranking"])
def test_a_validation_cell_never_sees_the_test_items(
    quick, scenario, tmp_path, monkeypatch, regime, evaluated_on, seen
):
    wanted = [
        Cell(scenario=scenario(regime=regime, evaluated_on=evaluated_on, **ATTACKED), **form)
        for form in ({}, {"method": "closed_form", "choices": {"k": 3}})
    ]
    before = run_cells(wanted, store=CellStore(tmp_path / "before"), jobs=1)
    in_tables = splits.tested_in_tables(load_dataset(wanted[0].scenario.dataset))
    monkeypatch.setattr(splits, "tested_in_tables", lambda ratings: in_tables)
    monkeypatch.setattr(splits, "leave_one_out", with_other_test_items)
    cells._split.cache_clear()
    try:
        after = run_cells(wanted, store=CellStore(tmp_path / "after"), jobs=1)
    finally:
        cells._split.cache_clear()
    assert (numbers(before) != numbers(after)) is seen


def test_the_sample_of_users_is_that_of_the_seed_whatever_the_cell(quick, scenario, monkeypatch):
    evaluated, evaluate = [], cells.evaluate

    def noting(recommender, split, targets, users):
        if len(users) > 1:  # one alone warms up
            evaluated.append(users)
        return evaluate(recommender, split, targets, users=users)

    monkeypatch.setattr(cells, "evaluate", noting)
    for changes in ({}, ATTACKED, {"victim": "AutoRec"}, {"regime": "ranking"}, {"seed": 1}):
        attacked = carry_out(scenario(**changes))
        for form in ({}, RVD):
            evaluate_cell(Cell(scenario=scenario(**changes), n_users=7, **form), attacked)
    same, other = evaluated[:-2], evaluated[-2:]
    assert all(np.array_equal(users, same[0]) for users in same)
    assert np.array_equal(*other)
    assert not np.array_equal(other[0], same[0])


def test_a_sample_is_of_real_users_without_repeats_and_one_as_large_as_all_is_all():
    users = sample_users(50, 20, seed=3)
    assert len(users) == 20
    assert (np.diff(users) > 0).all()
    assert 0 <= users[0] <= users[-1] < 50
    for n_users in (None, 50, 51):
        assert sample_users(50, n_users, seed=3).tolist() == list(range(50))


def test_no_attack_is_clean_training(quick, scenario, dataset):
    attacked = carry_out(scenario(attack="none", attack_size=0.5))
    ratings = load_dataset(dataset)
    split = leave_one_out(ratings, stream(0, "split"))
    clean = VICTIMS["MF"](**QUICK).fit(
        split.train, split.validation, ratings.levels, stream(0, "model", "MF")
    )
    assert (attacked.victim.train != clean.train).nnz == 0
    users = np.arange(ratings.n_users)
    np.testing.assert_array_equal(attacked.victim.score(users), clean.score(users))


def test_victims_of_one_poison_are_trained_on_fakes_that_are_crafted_once(
    quick, scenario, store, monkeypatch
):
    crafted, craft = [], poison.craft

    def noting(attack, threat, *rest):
        crafted.append(threat.targets.tolist())
        return craft(attack, threat, *rest)

    monkeypatch.setattr(poison, "craft", noting)
    under = [
        scenario(victim=victim, **ATTACKED | {"target_set": target_set})
        for victim in ("MF", "AutoRec")
        for target_set in ("random", "unpopular")
    ]
    rows = run_cells([Cell(scenario=each) for each in under], store=store, jobs=1)
    assert len(crafted) == 2
    assert crafted[0] != crafted[1]
    assert rows["victim"].tolist() == ["MF", "MF", "AutoRec", "AutoRec"]
    assert rows["target_set"].tolist() == ["random", "unpopular"] * 2


@pytest.mark.parametrize(
    "knowledge", [{"visible_share": 0.9}, {"filler_size": 3}, {"attack_options": {"steps": 1}}]
)
def test_what_the_attacker_knows_changes_the_fakes_and_nothing_else(quick, scenario, knowledge):
    attacked = ATTACKED | {"attack": "pga"}
    base, knowing = (carry_out(scenario(**attacked, **more)) for more in ({}, knowledge))
    n_real = base.split.train.shape[0]
    assert (base.split.train != knowing.split.train).nnz == 0
    assert (base.victim.train[:n_real] != knowing.victim.train[:n_real]).nnz == 0
    assert (base.victim.train[n_real:] != knowing.victim.train[n_real:]).nnz > 0
    assert np.array_equal(base.targets, knowing.targets)


@pytest.mark.parametrize("regime", ["rating", "ranking"])
def test_every_option_of_the_attacks_is_one_that_its_attack_takes(scenario, regime):
    for attack, options in yaml.safe_load(ATTACKS_FILE.read_text())[regime].items():
        ATTACKS[attack].config(options)
        assert scenario(attack=attack, regime=regime).attack_options == options
    assert scenario(attack="clone", regime=regime).attack_options == {}


@pytest.mark.parametrize("attack", ["random", "vicinity", "pga"])  # each by tests of its own
def test_an_attack_changes_neither_split_nor_targets_and_adds_its_fakes_below(
    quick, scenario, attack
):
    clean = carry_out(scenario())
    attacked = carry_out(scenario(attack=attack, attack_size=0.1))
    np.testing.assert_array_equal(attacked.targets, clean.targets)
    for part in ("validation", "test"):
        for mine, theirs in zip(
            getattr(attacked.split, part), getattr(clean.split, part), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)
    assert (attacked.split.train != clean.split.train).nnz == 0
    poisoned, n_real = attacked.victim.train, clean.split.train.shape[0]
    assert poisoned.shape[0] == n_real + 12
    assert (poisoned[:n_real] != clean.victim.train).nnz == 0
    assert (poisoned[n_real:][:, attacked.targets].toarray() == 1).all()


@pytest.mark.parametrize(
    "change", [{"victim": "AutoRec"}, {"regime": "ranking"}, {"target_set": "random"}, ATTACKED]
)
def test_only_the_seed_changes_the_split(quick, scenario, change):
    base, changed = carry_out(scenario()), carry_out(scenario(**change))
    assert (base.split.train != changed.split.train).nnz == 0
    assert (base.split.train != carry_out(scenario(seed=1)).split.train).nnz > 0
    assert np.array_equal(base.targets, changed.targets) is ("target_set" not in change)


def test_no_step_of_rvd_is_the_undefended_cell(quick, scenario, store):
    form = RVD | {"choices": {"k": 3, "steps": 0}}
    wanted = [Cell(scenario=scenario(**ATTACKED), n_users=15, **f) for f in ({}, form)]
    bare, defended = numbers(run_cells(wanted, store=store, jobs=1))
    # One user is decoded at a time, or all at once: float32 may differ in the last bit.
    metrics = ["target_hit_ratio", "hit_ratio", "ndcg", "rmse"]
    assert [defended[m] for m in metrics] == pytest.approx([bare[m] for m in metrics], rel=1e-6)


def test_nothing_wanted_is_no_row(store):
    assert run_cells([], store=store, jobs=1).empty


@pytest.mark.parametrize(
    "wrong",
    [{"victim": "SVD"}, {"regime": "both"}, {"seed": -1}, {"attack_size": 3}, {"k": 10}],
    ids=str,
)
def test_a_scenario_that_cannot_be_is_refused(scenario, wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        scenario(**wrong)


def test_an_unknown_attack_is_refused_before_any_training(quick, scenario, store, monkeypatch):
    monkeypatch.setattr(VICTIMS["MF"], "fit", lambda *args: pytest.fail("trained"))
    with pytest.raises(ValueError, match=r"'rndom' is not one of none, random"):
        run_cells([Cell(scenario=scenario(attack="rndom"))], store=store, jobs=1)
