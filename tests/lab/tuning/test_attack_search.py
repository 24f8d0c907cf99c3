"""How attackers who know a defence choose: what is tried, on what, and what is kept."""

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rvdlib import paths
from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.experiment.hyperparameters import ATTACKERS_FILE, REGIMES
from rvdlib.lab.experiment.splits import TABLE_SEEDS
from rvdlib.lab.tuning import attack_search as module
from rvdlib.lab.tuning.attack_search import (
    ALL,
    FILLER_SIZE,
    SEARCH_FILE,
    cells_of,
    check,
    chosen,
    draw,
    mutate,
    remembered,
)
from rvdlib.strict_yaml import read_yaml

SEARCH = read_yaml(SEARCH_FILE)
SMALL = {
    "rule": SEARCH["rule"]
    | {"first": ["clone"], "draws": 2, "mutations": 4, "seeds": [1, 2], "spared": []},
    FILLER_SIZE: [None, 5],
    "attacks": {"clone": None, "low_clone": {"lowered": [0.1, 0.5, 0.9]}},
}
seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds)
def test_what_is_drawn_is_an_attack_with_options_of_its_space(seed):
    attempt = draw(SEARCH, np.random.default_rng(seed))
    space = SEARCH["attacks"][attempt["attack"]] or {}
    assert attempt["options"].keys() == space.keys()
    assert all(attempt["options"][name] in values for name, values in space.items())
    assert attempt[FILLER_SIZE] in SEARCH[FILLER_SIZE]
    said = {name: value for name, value in attempt["options"].items() if value is not None}
    ATTACKS[attempt["attack"]].config(said)


@given(seed=seeds)
def test_a_mutation_changes_one_thing_or_draws_anew(seed):
    rng = np.random.default_rng(seed)
    best = draw(SEARCH, rng)
    never = SEARCH | {"rule": SEARCH["rule"] | {"another": 0.0}}
    changed = mutate(never, best, rng)
    if best["attack"] != "clone":
        assert changed["attack"] == best["attack"]
        dials = {**best["options"], FILLER_SIZE: best[FILLER_SIZE]}
        after = {**changed["options"], FILLER_SIZE: changed[FILLER_SIZE]}
        assert sum(dials[name] != after[name] for name in dials) == 1
    always = SEARCH | {"rule": SEARCH["rule"] | {"another": 1.0}}
    twin = np.random.default_rng(seed + 1)
    twin.random()  # whether to draw
    # The dial is not drawn: nothing but the draw itself follows.
    assert mutate(always, best, np.random.default_rng(seed + 1)) == draw(SEARCH, twin)


def test_who_faces_a_quorum_is_told_it_and_an_attempt_overrules_it():
    form = {"method": "quorum", "choices": {"k": 20, "quorum": 4, "distance": "cosine"}}
    attempt = {"attack": "vicinity", "options": {"k": 12}, FILLER_SIZE: 10}
    cells = cells_of(SEARCH, "ranking", attempt, "quorum", form, form)
    for cell, seed in zip(cells, SEARCH["rule"]["seeds"], strict=True):
        scenario = cell.scenario
        assert (scenario.seed, scenario.filler_size) == (seed, 10)
        assert scenario.attack_options["copies"] == 4
        assert scenario.attack_options["distance"] == "cosine"
        assert scenario.attack_options["hubness_reduction"] == "local_scaling"  # by default
        assert scenario.attack_options["k"] == 12
        assert scenario.attack_options["unobserved_weight"] > 0  # of the regime
        assert cell.choices == form["choices"]


def known_to_reach(monkeypatch, reached, forms):
    """What an attack reaches on a defence is known, and nothing is computed."""

    def rows(cells, store=None, jobs=-1):
        found = [
            {"target_hit_ratio": reached(cell), "fake_neighbor_share": np.nan} for cell in cells
        ]
        return pd.DataFrame(found)

    monkeypatch.setattr(module, "run_cells", rows)
    monkeypatch.setattr(module, "attacked_defenses", lambda *of: forms)


def searched(monkeypatch, reached, forms, **asked):
    """All trials of a small search."""
    known_to_reach(monkeypatch, reached, forms)
    return module.search_all(SMALL, jobs=1, **asked)


def test_the_search_keeps_the_best_and_its_mean_is_over_seeds(monkeypatch):
    def reached(cell):
        lowered = cell.scenario.attack_options.get("lowered", 0.0)
        return lowered + (0.02 if cell.scenario.seed == 1 else 0.0)

    trials = searched(monkeypatch, reached, {"popularity": {"method": "popularity"}})
    names = {UNDEFENDED, "popularity", ALL}
    assert set(trials["defense"]) == names
    for _, here in trials.groupby(["regime", "defense"]):
        assert here["round"].tolist() == list(range(len(here)))
        assert len(here) >= 7
    found = chosen(trials)
    best = trials.groupby(["regime", "defense"])["target_hit_ratio"].max()
    for regime, of in found.items():
        for name, attempt in of.items():
            value = attempt["options"].get("lowered", 0.0) + 0.01
            assert best[regime, name] == pytest.approx(value)


def test_at_last_each_defence_meets_what_is_best_against_the_others(monkeypatch):
    """What one defence fears, low stars, hardly matters to the other, until it is tried there."""

    def reached(cell):
        lowered = cell.scenario.attack_options.get("lowered", 0.0)
        return {"popularity": lowered, "rvd": 1 - lowered, "none": 0.0}[cell.defense]

    forms = {name: {"method": name} for name in ("popularity", "rvd")}
    trials = searched(monkeypatch, reached, forms)
    best = chosen(trials)["rating"]
    for name, here in trials[trials["regime"] == "rating"].groupby("defense"):
        tried = [
            {"attack": row.attack, "options": dict(row.options), FILLER_SIZE: row.filler_size}
            for row in here.astype({FILLER_SIZE: object}).itertuples()
        ]
        tried = [
            {**each, FILLER_SIZE: None if pd.isna(each[FILLER_SIZE]) else each[FILLER_SIZE]}
            for each in tried
        ]
        assert all(attempt in tried for attempt in best.values()), name


def test_the_attack_on_all_is_judged_by_the_mean_over_the_defended(monkeypatch):
    value = {"none": 1.0, "popularity": 0.2, "rvd": 0.6}
    forms = {name: {"method": name} for name in ("popularity", "rvd")}
    trials = searched(monkeypatch, lambda cell: value[cell.defense], forms)
    here = trials[trials["defense"] == ALL]
    assert here["target_hit_ratio"].tolist() == pytest.approx([0.4] * len(here))


def test_the_draws_are_the_same_against_every_defence(monkeypatch):
    trials = searched(monkeypatch, lambda cell: 0.5, {"popularity": {"method": "popularity"}})
    drawn = trials[trials["round"] < 3]
    for _, here in drawn.groupby("round"):
        assert here[["attack", "options"]].astype(str).drop_duplicates().shape[0] == 1


TWO = {name: {"method": name} for name in ("popularity", "rvd")}


def far(cell):
    """The same everywhere: the lower, the further."""
    return cell.scenario.attack_options.get("lowered", 0.0)


def test_a_search_against_one_defence_tries_what_the_whole_search_does_and_then_what_is_on_record(
    monkeypatch,
):
    whole = searched(monkeypatch, far, TWO)
    on_record = {"ranking": [{"attack": "clone", "options": {}, FILLER_SIZE: 77}]}
    asked = {"against": ["rvd"], "regimes": ["ranking"], "on_record": on_record}
    trials = searched(monkeypatch, far, TWO, **asked)
    assert set(zip(trials["regime"], trials["defense"], strict=True)) == {("ranking", "rvd")}
    same = whole[(whole["regime"] == "ranking") & (whole["defense"] == "rvd")]
    tried, same = (each.astype({FILLER_SIZE: float})[:7] for each in (trials, same))
    pd.testing.assert_frame_equal(tried, same.reset_index(drop=True))
    assert trials[FILLER_SIZE].tolist()[7:] == [77]


@pytest.fixture
def files(monkeypatch, tmp_path):
    """A small search's files: each defence and regime has had a clone, on record."""
    clone = {"attack": "clone", "options": {}, FILLER_SIZE: 77}
    names = [UNDEFENDED, *TWO, ALL]
    written = {
        "SEARCH_FILE": SMALL,
        "ATTACKERS_FILE": {regime: dict.fromkeys(names, clone) for regime in REGIMES},
        "EARLIER_FILE": {regime: {} for regime in REGIMES},
    }
    for name, content in written.items():
        monkeypatch.setattr(module, name, tmp_path / f"{name}.yml")
        getattr(module, name).write_text(yaml.safe_dump(content, sort_keys=False))
    monkeypatch.setattr(module, "LOG_FILE", tmp_path / "log.csv")
    rows = [
        f"{regime},{name},0,clone,{{}},77,0.0123,0.0005" for regime in REGIMES for name in names
    ]
    head = "regime,defense,round,attack,options,filler_size,target_hit_ratio,fake_neighbor_share"
    module.LOG_FILE.write_text("\n".join([head, *rows]) + "\n")
    known_to_reach(monkeypatch, far, TWO)
    return clone


def test_what_is_on_record_of_others_stays_and_what_was_of_this_one_is_remembered(files):
    before = module.LOG_FILE.read_text().splitlines()
    asked = ["--against", "rvd", "--regime", "ranking", "--jobs", "1"]
    done = CliRunner().invoke(module.main, asked)
    assert done.exit_code == 0, done.output
    log = module.LOG_FILE.read_text().splitlines()
    assert log[: len(before) - 1] == [row for row in before if not row.startswith("ranking,rvd,")]
    assert all(row.startswith("ranking,rvd,") for row in log[len(before) - 1 :])
    last, earlier = read_yaml(module.ATTACKERS_FILE), read_yaml(module.EARLIER_FILE)
    found = last["ranking"].pop("rvd")
    assert found["options"] == {"lowered": 0.9}
    assert [*last["ranking"]] == [UNDEFENDED, "popularity", ALL]
    assert all(each == files for names in last.values() for each in names.values())
    assert earlier == {"ranking": {"rvd": [files]}}


def test_a_defence_that_nobody_is_searched_against_is_refused_with_those_that_there_are(files):
    before = module.LOG_FILE.read_bytes()
    done = CliRunner().invoke(module.main, ["--against", "quorom"])
    assert done.exit_code == 2
    assert "nobody is searched against 'quorom', but ['none', 'popularity', 'rvd'," in done.output
    assert module.LOG_FILE.read_bytes() == before


def test_the_committed_space_holds_options_of_the_attacks():
    check(SEARCH)
    with pytest.raises(ValueError, match="attack 'clone' has no option 'lowered'"):
        check({"rule": {"first": []}, "attacks": {"clone": {"lowered": [0.5]}}})
    with pytest.raises(ValueError, match="attack 'average' is not in the space"):
        check({"rule": {"first": ["average"]}, "attacks": {"clone": None}})


def test_the_seeds_of_the_search_stand_in_no_table_and_in_no_other_search():
    other = [read_yaml(paths.PARAMS / f"{name}_search.yml") for name in ("defense", "hardened")]
    used = {seed for search in other for seed in search["rule"]["seeds"]} | set(TABLE_SEEDS)
    assert used.isdisjoint(SEARCH["rule"]["seeds"])


def committed():
    log = pd.read_csv(paths.RESULTS / "search" / "attackers.csv")
    return log.assign(options=log["options"].map(yaml.safe_load))


def test_the_committed_attackers_are_the_best_of_the_committed_trials():
    assert chosen(committed()) == read_yaml(ATTACKERS_FILE)


def test_no_attacker_is_forgotten_and_none_stands_twice():
    a, b, c = ({"attack": name} for name in "abc")
    last, earlier = {"rating": {"x": a, "y": b}}, {"rating": {"x": [b, c], "z": [c]}}
    assert remembered({"rating": {"x": b, "y": b}}, last, earlier) == {
        "rating": {"x": [a, c], "z": [c]}
    }


def test_the_committed_trials_are_as_many_as_the_rule_says_and_of_its_space():
    log, rule = committed(), SEARCH["rule"]
    for key, here in log.groupby(["regime", "defense"]):
        assert here["round"].tolist() == list(range(len(here))), key
        assert len(here) >= len(rule["first"]) + rule["draws"] + rule["mutations"], key
        assert here["attack"].tolist()[: len(rule["first"])] == rule["first"]
    for attempt in log.itertuples():
        space = SEARCH["attacks"][attempt.attack] or {}
        by_default = {} if attempt.attack in rule["first"] else space
        assert attempt.options.keys() in (space.keys(), by_default.keys())
        assert all(value in space[name] for name, value in attempt.options.items())
