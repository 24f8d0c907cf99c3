"""Fakes that rate fewer targets: nothing else of them changes, and the targets are shared out as said."""

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from rvdlib.lab.experiment.hyperparameters import searched_attackers
from rvdlib.lab.study import tables
from rvdlib.lab.tuning import fewer_targets
from rvdlib.lab.tuning.attack_search import SEARCH_FILE
from rvdlib.lab.tuning.fewer_targets import (
    CLEAN,
    EVERY,
    ONE,
    TWO,
    asked,
    keeping,
    measured,
    most_rated,
    one_each,
    scenarios,
)
from rvdlib.strict_yaml import read_yaml
from tests.lab.conftest import small_victims

SEARCH = read_yaml(SEARCH_FILE)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 60))
def test_each_fake_keeps_one_target_and_each_target_its_share_of_the_fakes(counts, n_fakes):
    counts = np.array(counts)
    kept = one_each(counts, n_fakes)
    assert kept.shape == (n_fakes, len(counts))
    assert (kept.sum(axis=1) == 1).all()
    shares = n_fakes * (counts + 0.5) / (counts + 0.5).sum()
    assert (np.abs(kept.sum(axis=0) - shares) < len(counts)).all()
    if n_fakes >= 10 and (counts == counts[0]).all():
        assert np.ptp(kept.sum(axis=0)) <= 1


def test_those_that_most_rated_are_kept_the_first_of_equal_ones():
    kept = most_rated(np.array([3, 9, 9, 9, 0]), 4)
    assert kept.tolist() == [[False, True, True, False, False]] * 4


def test_what_is_no_target_stays_and_no_target_but_those_kept_does():
    rng = np.random.default_rng(0)
    targets = np.array([0, 4, 11])
    dense = rng.integers(0, 6, (8, 12)).astype(np.float32)
    dense[:, targets] = 5
    kept = rng.random((8, 3)) < 0.5
    profiles = sp.csr_matrix(dense)
    found = keeping(profiles, targets, kept).toarray()
    assert (found[:, targets] == 5 * kept).all()
    fillers = np.setdiff1d(np.arange(12), targets)
    assert (found[:, fillers] == dense[:, fillers]).all()
    assert (profiles.toarray() == dense).all()  # as they were


def test_the_seeds_are_in_no_table_and_each_attacker_is_met_once_on_each():
    ours, rule = SEARCH["fewer_targets"], SEARCH["rule"]
    assert not {*ours["seeds"]} & {*rule["seeds"], *range(1000)}
    forms = asked(ours["defenses"], rule)
    under = [*scenarios(SEARCH, forms)]
    labels = [label for _, label in under]
    assert {CLEAN, EVERY} < {*labels}
    assert len({repr(scenario) for scenario, _ in under}) == len(under)
    own = searched_attackers("ranking")["closed form, hardened"]
    met = {scenario.attack for scenario, label in under if label == "against closed form, hardened"}
    assert met == {own["attack"]}


def test_our_own_fakes_are_measured_with_every_target_and_with_fewer(monkeypatch):
    small_victims(monkeypatch, embedding_size=8, epochs=2)
    forms = asked(["closed form, hardened"], SEARCH["rule"])
    scenario = next(each for each, label in scenarios(SEARCH, forms) if label == EVERY)
    profiles = fewer_targets.fakes_of(scenario)
    rated = {name: each.getnnz(axis=1) for name, each in profiles.items()}
    n_fillers = scenario.filler_size
    assert {name: {*each.tolist()} for name, each in rated.items()} == {
        EVERY: {n_fillers + 5},
        ONE: {n_fillers + 1},
        TWO: {n_fillers + 2},
    }
    rows = measured(scenario, EVERY, forms, 20)
    assert [(row["fakes"], row["defense"]) for row in rows] == [
        (fakes, name) for fakes in (EVERY, ONE, TWO) for name in forms
    ]
    assert all(0 <= row["target_hit_ratio"] <= 1 for row in rows)


def test_the_committed_rows_are_those_that_are_asked_for():
    rows = tables.trials("fewer_targets")
    forms = asked(SEARCH["fewer_targets"]["defenses"], SEARCH["rule"])
    labels = {label for _, label in scenarios(SEARCH, forms)} | {ONE, TWO}
    ours = SEARCH["fewer_targets"]
    expected = len(labels) * len(forms) * len(ours["seeds"]) * len(ours["target_sets"])
    assert len(rows) == expected
    assert {*rows["fakes"]} == labels
    assert not rows.isna().any(axis=None)
    assert rows["target_hit_ratio"].between(0, 1).all()
