"""How RVD's hyper-parameters are chosen: the rule, what it may look at, and what it chose."""

import ast
import io
from itertools import product
from types import SimpleNamespace

import click
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from papermill import inspect_notebook

from rvdlib import paths
from rvdlib.attacks import ATTACKS
from rvdlib.defenses import DEFENSES, defense
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment import cells, hyperparameters
from rvdlib.lab.experiment.cells import Attacked
from rvdlib.lab.experiment.splits import TABLE_SEEDS
from rvdlib.lab.runner.plan import PROFILES
from rvdlib.lab.tuning import defense_search as module
from rvdlib.lab.tuning.defense_search import (
    CHOSEN_FILES,
    METRICS,
    REGIMES,
    Simulation,
    choose,
    log_file,
    search_file,
    search_form,
)
from rvdlib.lab.tuning.search_space import around, candidates, lattice, within
from rvdlib.lab.tuning.victim_search import FIRST_SEED
from rvdlib.models import VICTIMS

SEARCHES = {name: yaml.safe_load(search_file(name).read_text()) for name in CHOSEN_FILES}
SEARCH = SEARCHES["defense"]
FORMS = [(name, form) for name, search in SEARCHES.items() for form in search["forms"]]
SMALL = {
    "rule": SEARCH["rule"],
    "forms": {
        "plain": {"method": "rvd", "n_users": 10, "choices": {"k": [1, 2], "steps": [5]}},
        "exact": {"method": "closed_form", "n_users": 10, "choices": {"k": [1, 2, 3]}},
    },
}
ratios = st.floats(0, 1)
errors = st.floats(0.5, 2)


QUORUM = {"method": "quorum", "choices": {"k": 7, "quorum": 3, "distance": "cosine"}}


def trials(*rows, accuracy="ndcg"):
    """Rows (THR, accuracy, undefended accuracy)."""
    return pd.DataFrame(
        rows, columns=["target_hit_ratio", accuracy, f"{accuracy}_reference"], dtype=float
    )


@pytest.mark.parametrize("accuracy", ["rmse", "ndcg"])
@given(rows=st.lists(st.tuples(ratios, errors, errors), min_size=1), budget=st.floats(0, 0.5))
def test_the_rule_takes_the_most_robust_of_the_affordable(accuracy, rows, budget):
    chosen = choose(trials(*rows, accuracy=accuracy), [accuracy], budget)

    def loss(row):
        ratio = row[1] / row[2]
        return ratio - 1 if accuracy == "rmse" else 1 - ratio

    affordable = [row for row in rows if loss(row) <= budget]
    best = min(row[0] for row in affordable) if affordable else None
    if affordable:
        assert chosen["target_hit_ratio"] == best
        assert loss(tuple(chosen)) <= budget
    else:
        assert loss(tuple(chosen)) == min(map(loss, rows))


@pytest.mark.parametrize(("equal", "taken"), [(0.0, 0), (0.005, 0), (0.011, 1), (0.5, 2)])
def test_of_nearly_equal_target_hit_ratios_the_most_accurate_is_taken(equal, taken):
    rows = trials((0.1, 0.96, 1), (0.11, 0.98, 1), (0.3, 1.0, 1), (0.1, 0.96, 1), (0.1, 0.5, 1))
    assert choose(rows, ["ndcg"], 0.05, equal).name == taken


def test_candidates_are_every_combination_and_of_several_grids_follow_each_other():
    form = {"choices": {"k": [1, 2], "steps": [3, 4, 5]}}
    assert candidates(form) == [{"k": k, "steps": s} for k, s in product([1, 2], [3, 4, 5])]
    grids = [{"optimizer": ["adam"], "k": [1, 2]}, {"optimizer": ["sgd"]}]
    assert candidates({"choices": grids}) == [
        {"optimizer": "adam", "k": 1},
        {"optimizer": "adam", "k": 2},
        {"optimizer": "sgd"},
    ]


def test_trials_are_drawn_from_the_combinations_none_twice_and_the_same_again():
    form = {"choices": {"k": list(range(20)), "optimizer": ["adam", "sgd"]}, "trials": 8}
    drawn = candidates(form)
    assert drawn == candidates(form)
    every = candidates({"choices": form["choices"]})
    places = [every.index(each) for each in drawn]
    assert len(drawn) == 8
    assert places == sorted(set(places))
    assert places != list(range(8))


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_every_form_has_the_same_budget_or_tries_all_that_there_is(search):
    forms = search["forms"].values()
    assert len({(form["n_users"], form["most"]) for form in forms}) == 1
    drawn = [len(candidates(form)) for form in forms]
    every = [len(candidates({"choices": form["choices"]})) for form in forms]
    assert all(n in (max(drawn), of) for n, of in zip(drawn, every, strict=True))


def test_a_step_changes_one_choice_to_the_value_next_to_it():
    form = {"choices": {"k": [1, 3, 10], "steps": [5], "scope": ["all", "decoder"]}}
    assert around(form, {"k": 3, "steps": 5, "scope": "all"}) == [
        {"k": 1, "steps": 5, "scope": "all"},
        {"k": 10, "steps": 5, "scope": "all"},
        {"k": 3, "steps": 5, "scope": "decoder"},
    ]


def test_steps_reach_beyond_the_grid_and_stay_in_it():
    form = {
        "choices": [{"optimizer": ["adam"], "k": [3, 10]}, {"optimizer": ["sgd"], "k": [30]}],
        "beyond": {"k": [1, 100]},
    }
    assert around(form, {"optimizer": "adam", "k": 10}) == [
        {"optimizer": "adam", "k": 3},
        {"optimizer": "adam", "k": 100},
    ]
    assert around(form, {"optimizer": "adam", "k": 1}) == [{"optimizer": "adam", "k": 3}]
    assert lattice(form, {"optimizer": "sgd", "k": 30})["k"] == [1, 30, 100]
    with pytest.raises(ValueError, match=r"no grid has.*'k': 7"):
        lattice(form, {"optimizer": "adam", "k": 7})


def searched(monkeypatch, form, thr, rmse=lambda choices: 1.0):
    """What a search tries where target hit ratio and RMSE are known functions of the choices."""

    def measured(simulation, n_users, defense=None, method=None, choices=None):
        values = dict.fromkeys(METRICS, 0.5)
        if choices is None:
            return values | {"rmse": 1.0}
        return values | {"target_hit_ratio": thr(choices), "rmse": rmse(choices)}

    monkeypatch.setattr(Simulation, "measure", measured)
    rule = {"accuracy": {"rating": ["rmse"]}, "budget": 0.05, "equal": 0.0}
    return search_form({"method": "any", **form}, Simulation(rule, "ml-100k", "rating", "MF"))


GRID = {"k": [1, 3, 10, 30, 100], "weight": [0.1, 0.3, 1.0, 3.0, 10.0]}


def at(name, choices):
    return GRID[name].index(choices[name])


def test_the_search_walks_to_the_best_of_a_bowl_from_few_draws(monkeypatch):
    form = {"choices": GRID, "trials": 2, "most": 25}
    trials = searched(
        monkeypatch, form, lambda c: ((at("k", c) - 3) ** 2 + (at("weight", c) - 1) ** 2) / 100
    )
    tried = trials["choices"].tolist()
    assert tried[:2] == candidates(form)
    assert {"k": 30, "weight": 0.3} in tried
    assert len(tried) < 25
    assert all(tried.count(each) == 1 for each in tried)
    best = choose(trials, ["rmse"], 0.05)["choices"]
    assert best == {"k": 30, "weight": 0.3}
    assert all(each in tried for each in around(form, best))


def test_the_search_never_steps_to_what_costs_too_much(monkeypatch):
    form = {"choices": GRID, "trials": 3, "most": 25}
    trials = searched(
        monkeypatch, form, lambda c: 0.5 - at("k", c) / 10, lambda c: 1.2 if c["k"] > 10 else 1.0
    )
    assert choose(trials, ["rmse"], 0.05)["choices"]["k"] == 10


@pytest.mark.parametrize("most", [2, 4, 7])
def test_the_search_ends_with_its_budget(monkeypatch, most):
    form = {"choices": GRID, "trials": 2, "most": most}
    trials = searched(monkeypatch, form, lambda c: 1 - (at("k", c) + at("weight", c)) / 10)
    assert len(trials) == most


@settings(max_examples=10)
@given(data=st.data())
def test_a_search_that_stops_early_tries_and_takes_what_one_does_that_measures_everything(data):
    """Two attacks; accuracy, and what each reaches, are any numbers of the choices."""
    some = st.lists(st.sampled_from([0.1, 0.2, 0.205, 0.3]), min_size=9, max_size=9)
    reached = {attack: data.draw(some) for attack in ("random", "clone")}
    errors = data.draw(st.lists(st.sampled_from([1.0, 1.04, 1.2]), min_size=9, max_size=9))

    def measured(cell, trained):
        at = cell.choices.get("k", 1) - 1
        found = dict.fromkeys(METRICS, 1.0) | {"rmse": errors[at] if cell.chain else 1.0}
        return found | {"target_hit_ratio": reached.get(cell.scenario.attack, errors)[at]}

    rule = SEARCH["rule"] | {"attacks": [*reached], "seeds": [2001], "accurate_under": "none"}
    form = {"method": "count", "choices": {"k": [*range(1, 10)]}, "trials": 3, "most": 7}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "carry_out", lambda scenario: Attacked(None, None, None))
        patch.setattr(module, "evaluate_cell", measured)
        whole, early = (
            search_form(form | extra, Simulation(rule | {"equal": 0.01}, "ml-100k", "rating", "MF"))
            for extra in ({}, {"stops_early": True})
        )
    assert early["choices"].tolist() == whole["choices"].tolist()
    best, same = (choose(each, ["rmse"], rule["budget"], 0.01) for each in (whole, early))
    pd.testing.assert_series_equal(best, same)
    assert not (early["target_hit_ratio"] > whole["target_hit_ratio"]).any()


def test_a_form_without_a_budget_tries_what_it_lists_alone(monkeypatch):
    trials = searched(monkeypatch, {"choices": {"k": [1, 2, 3]}}, lambda c: c["k"] / 10)
    assert trials["choices"].tolist() == [{"k": 1}, {"k": 2}, {"k": 3}]


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize(("regime", "victim"), [("rating", "MF"), ("ranking", "CDAE")])
def test_a_trial_is_on_validation_items_under_the_defender_s_own_attack_and_seeds(
    search, regime, victim
):
    rule = search["rule"]
    simulation = Simulation(rule, "ml-100k", regime, victim)
    for attack in rule["attacks"]:
        scenario = simulation.scenario(attack, rule["seeds"][0], QUORUM)
        assert scenario.evaluated_on == "validation"
        assert (scenario.regime, scenario.victim, scenario.attack) == (regime, victim, attack)
        assert scenario.attack_size == rule["attack_size"][regime]
        assert scenario.target_set == rule["target_set"][regime]


def test_an_attacker_who_knows_the_defence_is_told_the_choices_that_are_tried():
    simulation = Simulation(SEARCHES["hardened"]["rule"], "ml-100k", "rating", "MF")
    told = simulation.scenario("vicinity", 2001, QUORUM).attack_options
    assert (told["k"], told["copies"], told["distance"]) == (7, 3, "cosine")
    assert simulation.scenario("low_clone", 2001, QUORUM).attack_options == {}
    assert simulation.scenario("none", 2001, QUORUM).attack_size == 0


@pytest.mark.parametrize(("search", "form"), FORMS)
def test_every_committed_candidate_is_one_that_its_method_takes(search, form):
    form = SEARCHES[search]["forms"][form]
    for choices in candidates(form):
        for each in (choices, *around(form, choices)):
            defense(DEFENSES[form["method"]], **each)


def test_the_rules_are_the_honest_ones():
    rule = SEARCH["rule"]
    assert rule["attacks"] == ["random"]
    assert set(rule["target_set"].values()) == {"random"}
    assert rule["accuracy"] == {"rating": ["rmse"], "ranking": ["ndcg"]}
    assert 0 < rule["budget"] <= 0.05
    assert SEARCHES["robust"]["rule"] == rule | {"victims": ["MF"]}
    rule = SEARCHES["hardened"]["rule"]
    assert any(ATTACKS[attack].knows_defense for attack in rule["attacks"])
    assert all(each == ["hit_ratio", "ndcg"] for each in rule["accuracy"].values())
    assert 0 < rule["budget"] <= 0.02


def test_the_seeds_of_the_choices_stand_in_no_table():
    in_tables = set()
    for profile in PROFILES:
        for parameters in yaml.safe_load((paths.PARAMS / f"{profile}.yml").read_text()).values():
            in_tables |= set((parameters or {}).get("seeds", []))
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        seeds = inspect_notebook(path).get("seeds", {"default": "[]"})
        in_tables |= set(ast.literal_eval(seeds["default"]))
    assert in_tables
    searched = {seed for search in SEARCHES.values() for seed in search["rule"]["seeds"]}
    assert in_tables.isdisjoint(searched)
    assert in_tables <= set(TABLE_SEEDS)  # whose test ratings the victims' search takes out
    assert max(TABLE_SEEDS) < FIRST_SEED  # it takes this one and those after it
    assert min(searched) > FIRST_SEED + 100


def search_of(folder, monkeypatch):
    monkeypatch.setattr(module, "CHOSEN_FILES", {"defense": folder / "defenses.yml"})
    monkeypatch.setattr(paths, "PARAMS", folder)
    monkeypatch.setattr(paths, "RESULTS", folder)
    monkeypatch.setattr(module, "VICTIMS", ["MF", "AutoRec"])
    (folder / "defense_search.yml").write_text(yaml.safe_dump(SMALL))


def test_the_choice_is_written_with_every_trial_that_led_to_it(tmp_path, monkeypatch):
    def measured(cell, trained):
        """k = 2 is the best that can be afforded; the seeds differ, and their mean counts."""
        k, above = cell.choices.get("k", 0), 0.8 if cell.scenario.seed % 2 else 1.2
        return {
            "target_hit_ratio": (0.5 - 0.1 * k) * above,
            "hit_ratio": 0.5,
            "ndcg": 0.2 - 0.004 * k - (0.1 if k == 3 else 0),
            "rmse": 1.0 + 0.02 * k + (0.1 if k == 3 else 0),
        }

    search_of(tmp_path, monkeypatch)
    monkeypatch.setattr(module, "carry_out", lambda scenario: Attacked(None, None, None))
    monkeypatch.setattr(module, "evaluate_cell", measured)
    module.main(["--jobs", "1"], standalone_mode=False)
    chosen = yaml.safe_load((tmp_path / "defenses.yml").read_text())
    for regime, victim in product(REGIMES, ["MF", "AutoRec"]):
        assert chosen[regime][victim] == {
            "plain": {"method": "rvd", "choices": {"k": 2, "steps": 5}},
            "exact": {"method": "closed_form", "choices": {"k": 2}},
        }
    log = pd.read_csv(tmp_path / "search" / "defenses.csv")
    assert len(log) == len(REGIMES) * 2 * (2 + 3)
    assert log["target_hit_ratio"].tolist()[:2] == pytest.approx([0.4, 0.3])
    np.testing.assert_allclose(log["ndcg_reference"], 0.2)


def test_a_form_that_is_searched_alone_takes_its_place_and_leaves_the_others_as_they_are(
    tmp_path, monkeypatch
):
    search_of(tmp_path, monkeypatch)
    monkeypatch.setattr(module, "carry_out", lambda scenario: Attacked(None, None, None))
    reached = 0.5

    def measured(cell, trained):
        thr = reached / cell.choices.get("k", 1)
        return dict.fromkeys(METRICS, 1.0) | {"target_hit_ratio": thr}

    monkeypatch.setattr(module, "evaluate_cell", measured)
    with pytest.raises(click.UsageError, match=r"no form 'plan', but \['exact', 'plain'\]"):
        module.main(["--form", "plan"], standalone_mode=False)
    module.main(["--jobs", "1"], standalone_mode=False)
    files = tmp_path / "defenses.yml", tmp_path / "search" / "defenses.csv"
    before = [file.read_text() for file in files]
    alone = ["--jobs", "1", "--form", "plain"]
    module.main(alone, standalone_mode=False)
    assert [file.read_text() for file in files] == before
    reached = 0.25
    module.main(alone, standalone_mode=False)
    log, old = (pd.read_csv(text) for text in (files[1], io.StringIO(before[1])))
    changed = (log != old).any(axis=1)
    assert changed.equals(log["defense"] == "plain")


def test_nothing_is_chosen_on_a_victim_that_its_reference_beats(tmp_path, monkeypatch):
    def one_beaten(scenario):
        beaten = (scenario.victim, scenario.regime, scenario.seed) == ("AutoRec", "rating", 2002)
        return Attacked(None, None, None, "biases" if beaten else "")

    search_of(tmp_path, monkeypatch)
    monkeypatch.setattr(module, "carry_out", one_beaten)
    monkeypatch.setattr(module, "evaluate_cell", lambda cell, trained: dict.fromkeys(METRICS, 0.5))
    with pytest.raises(StudyError, match=r"biases beats .* AutoRec, rating regime, seed 2002;"):
        module.main(["--jobs", "1"], standalone_mode=False)
    assert [path.name for path in tmp_path.iterdir()] == ["defense_search.yml"]


def test_a_trial_serves_a_real_victim_under_the_form_and_changes_what_it_scores(
    dataset, monkeypatch
):
    monkeypatch.setattr(cells, "beaten_by", lambda *_, **__: "")  # so few users are
    rule = SEARCH["rule"] | {"seeds": [2001]}
    simulation = Simulation(rule, dataset, "rating", "MF")
    bare = simulation.measure(30, defense="none")
    defended = simulation.measure(30, method="closed_form", choices={"k": 30})
    assert list(bare) == list(defended) == METRICS
    assert bare["rmse"] != defended["rmse"]


def test_a_trial_of_a_defence_in_training_trains_its_own_victim(monkeypatch):
    trained = []

    def noting(scenario, training=()):
        trained.append((scenario.seed, [step.method for step in training]))
        return Attacked(None, None, None, training)

    monkeypatch.setattr(module, "carry_out", noting)
    monkeypatch.setattr(
        module,
        "evaluate_cell",
        lambda cell, trained: dict.fromkeys(METRICS, len(trained.beaten_by)),
    )
    rule = SEARCHES["robust"]["rule"] | {"seeds": [1, 2]}
    simulation = Simulation(rule, "ml-100k", "rating", "MF")
    for _ in range(2):
        found = simulation.measure(30, method="huber_loss", choices={"threshold": 1.0})
        assert found["rmse"] == 1
    assert simulation.measure(30, defense="none")["rmse"] == 0
    its_own = [seed for seed, methods in trained if methods == ["huber_loss"]]
    assert its_own == [1, 2, 1, 2]
    assert [seed for seed, methods in trained if not methods] == [1, 2]


def test_the_worst_attack_counts_and_mean_accuracy(monkeypatch):
    found = {("random", 1): 0.1, ("random", 2): 0.3, ("clone", 1): 0.6, ("clone", 2): 0.2}

    def measured(cell, trained):
        thr = found[cell.scenario.attack, cell.scenario.seed]
        return {"target_hit_ratio": thr, "hit_ratio": thr, "ndcg": 0.5, "rmse": 1.0}

    monkeypatch.setattr(module, "carry_out", lambda scenario: Attacked(None, None, None))
    monkeypatch.setattr(module, "evaluate_cell", measured)
    rule = SEARCH["rule"] | {"attacks": ["random", "clone"], "seeds": [1, 2]}
    measure = Simulation(rule, "ml-100k", "rating", "MF").measure(30, defense="none")
    assert (measure["target_hit_ratio"], measure["hit_ratio"]) == (0.4, 0.3)
    found |= {("none", 1): 0.9, ("none", 2): 0.8}
    rule |= {"accurate_under": "none"}
    measure = Simulation(rule, "ml-100k", "rating", "MF").measure(30, defense="none")
    assert (measure["target_hit_ratio"], measure["hit_ratio"]) == (0.4, 0.85)


def test_the_reference_is_whatever_is_more_accurate(monkeypatch):
    accuracy = {None: 0.3, "popularity": 0.5, "any": 0.45}
    monkeypatch.setattr(
        Simulation,
        "measure",
        lambda simulation, n_users, defense=None, method=None, choices=None: dict.fromkeys(
            METRICS, accuracy[method]
        ),
    )
    rule = {
        "accuracy": {"rating": ["ndcg"]},
        "budget": 0.05,
        "equal": 0.0,
        "reference": "popularity",
    }
    form = {"method": "any", "choices": {"k": [1]}}
    trials = search_form(form, Simulation(rule, "ml-100k", "rating", "MF"))
    assert trials["ndcg_reference"].tolist() == [0.5]


def test_no_more_neighbours_are_asked_for_than_there_are():
    form = SEARCH["forms"]["RVD"]
    fit = within(form, 795)
    assert fit == within(fit, 795)
    assert max(k for grid in fit["choices"] for k in grid["k"]) == 600
    assert fit["beyond"] == form["beyond"] | {"k": []}
    assert within(form, 900) == form
    assert all(k <= 10 for choices in candidates(within(form, 10)) for k in [choices["k"]])


def test_another_data_set_has_files_of_its_own_and_leaves_ml_100k_s(tmp_path, monkeypatch):
    search_of(tmp_path, monkeypatch)
    monkeypatch.setattr(module, "carry_out", lambda scenario: Attacked(None, None, None))
    monkeypatch.setattr(module, "evaluate_cell", lambda *_: dict.fromkeys(METRICS, 0.5))
    monkeypatch.setattr(module, "load_dataset", lambda name: SimpleNamespace(n_users=796))
    module.main(["--jobs", "1"], standalone_mode=False)
    before = {path: path.read_text() for path in tmp_path.rglob("defenses*")}
    alone = ["--jobs", "1", "--dataset", "filmtrust", "--regime", "ranking", "--victim", "MF"]
    module.main(alone, standalone_mode=False)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("defenses*")}
    own = {"defenses_filmtrust.yml", "search/defenses_filmtrust.csv"}
    assert files == own | {"defenses.yml", "search/defenses.csv"}
    assert {path: path.read_text() for path in before} == before
    chosen = yaml.safe_load((tmp_path / "defenses_filmtrust.yml").read_text())
    assert {regime: [*victims] for regime, victims in chosen.items()} == {"ranking": ["MF"]}


FOUR = ["MF", "NSVD", "AutoRec", "CDAE"]
IN_EFFECT = [*((search, "ml-100k") for search in SEARCHES), ("defense", "filmtrust")]
SEARCHED = [*IN_EFFECT, ("defense", "yelp")]


def committed(search, dataset="ml-100k"):
    """Regime, victim, form, and the trials that what is chosen for them follows from."""
    log = pd.read_csv(log_file(search, dataset))
    # Biases beat every victim of the others' rating regime, and no defence is chosen on such.
    regimes = REGIMES if dataset == "ml-100k" else ["ranking"]
    victims = SEARCHES[search]["rule"].get("victims", VICTIMS) if dataset == "ml-100k" else FOUR
    assert {*log["regime"]} == {*regimes}
    for regime, victim, form in product(regimes, victims, SEARCHES[search]["forms"]):
        here = (log["regime"] == regime) & (log["victim"] == victim) & (log["defense"] == form)
        if regime in SEARCHES[search]["forms"][form].get("regimes", REGIMES):
            yield regime, victim, form, log[here]
        else:
            assert not here.any()


def chosen_in(search, dataset="ml-100k"):
    """Regime, victim, form, what stands in ``params/``, and the trials.

    Of another data set than ML-100K a form may be left as it is there.
    """
    chosen = yaml.safe_load(hyperparameters.own_file(CHOSEN_FILES[search], dataset).read_text())
    for regime, victim, form, rows in committed(search, dataset):
        if dataset == "ml-100k" or form in chosen[regime][victim]:
            yield regime, victim, form, chosen[regime][victim][form], rows


@pytest.mark.parametrize(("search", "dataset"), SEARCHED)
def test_the_committed_trials_are_those_of_the_committed_search(search, dataset):
    """The draws first, then steps around what was the best when they were made."""
    rule = SEARCHES[search]["rule"]
    others = {"filmtrust": 795}.get(dataset, 942)
    for regime, victim, name, rows in committed(search, dataset):
        form = within(SEARCHES[search]["forms"][name], others)
        rows = rows.assign(choices=rows["choices"].map(yaml.safe_load)).reset_index(drop=True)
        tried = rows["choices"].tolist()
        drawn = len(candidates(form))
        assert tried[:drawn] == candidates(form), (regime, victim, name)
        assert len(tried) <= form["most"]
        while True:
            best = choose(rows[:drawn], rule["accuracy"][regime], rule["budget"], rule["equal"])[
                "choices"
            ]
            steps = [each for each in around(form, best) if each not in tried[:drawn]]
            steps = steps[: form["most"] - drawn]
            assert tried[drawn : drawn + len(steps)] == steps, (regime, victim, name)
            drawn += len(steps)
            if not steps:
                break
        assert drawn == len(tried)


@pytest.mark.parametrize(("search", "dataset"), IN_EFFECT)
def test_the_committed_choice_is_the_one_that_the_committed_trials_imply(search, dataset):
    rule, found = SEARCHES[search]["rule"], [*chosen_in(search, dataset)]
    assert found
    for regime, victim, form, chosen, rows in found:
        best = choose(rows, rule["accuracy"][regime], rule["budget"], rule["equal"])
        assert chosen["method"] == SEARCHES[search]["forms"][form]["method"]
        assert chosen["choices"] == yaml.safe_load(best["choices"]), (regime, victim, form)


def test_a_defence_is_as_chosen_on_the_data_set_where_it_was_searched_and_else_as_on_ml_100k(
    tmp_path, monkeypatch
):
    file = tmp_path / "defenses.yml"
    file.write_text(CHOSEN_FILES["defense"].read_text())
    monkeypatch.setattr(hyperparameters, "DEFENSES_FILE", file)
    own = {"RVD": {"method": "rvd", "choices": {"k": 7}}}  # a form searched alone leaves the other
    text = yaml.safe_dump({"ranking": {"MF": own}})
    (tmp_path / "defenses_filmtrust.yml").write_text(text)
    at = ["filmtrust", "FilmTrust", "yelp", "a/filmtrust"]
    for dataset, regime, victim in product(at, REGIMES, FOUR):
        found, carried = (
            hyperparameters.chosen_defenses(regime, victim, of) for of in (dataset, "ml-100k")
        )
        searched = (dataset.lower(), regime, victim) == ("filmtrust", "ranking", "MF")
        assert found["closed form"] == carried["closed form"]
        assert found["RVD"] == (own if searched else carried)["RVD"]
        assert list(found) == list(carried)
    assert hyperparameters.searched_on(file) == {
        "rating": ["ml-100k"],
        "ranking": ["ml-100k", "filmtrust"],
    }


# The ends of what means anything: nothing lies beyond them (of k, hardly anybody: of FilmTrust's users
# there are 795).
NATURAL_ENDS = {"unobserved_weight": (0.0, 1.0), "steps": (1,)}
MOST = {"ml-100k": 900, "filmtrust": 600}


def on_the_edge(name: str, value, grid: list, dataset: str) -> bool:
    """Whether a better value may lie outside of the grid; what is no number has no edge."""
    if any(isinstance(each, bool | str) or each is None for each in grid) or len(grid) == 1:
        return False
    natural = NATURAL_ENDS | {"k": (1, MOST[dataset])}
    return value in (min(grid), max(grid)) and value not in natural.get(name, ())


@pytest.mark.parametrize("dataset", MOST)
def test_no_committed_choice_lies_on_the_edge_of_what_could_be_tried(dataset):
    forms = {name: within(form, MOST[dataset]) for name, form in SEARCH["forms"].items()}
    edges = [
        f"{regime}, {victim}, {name}: {choice} = {chosen['choices'][choice]} of {values}"
        for regime, victim, name, chosen, _ in chosen_in("defense", dataset)
        for choice, values in lattice(forms[name], chosen["choices"]).items()
        if on_the_edge(choice, chosen["choices"][choice], values, dataset)
    ]
    assert edges == []
