"""One file and one line: what somebody adds appears in a cell, a table and a figure by itself.

Each addition below is what the file would hold, in at most 30 lines.
"""

import inspect

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from rvdlib.attacks import ATTACKS
from rvdlib.attacks.base import attack as an_attack
from rvdlib.attacks.profiles import assemble, filler_candidates
from rvdlib.defenses import DEFENSES
from rvdlib.defenses.protocol import Defense, Served
from rvdlib.lab.experiment import cells
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, Scenario, run_cells
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.figures import attack_plots, effect_plots
from rvdlib.lab.study import claims, effects
from rvdlib.lab.study.headline import headline
from rvdlib.models import VICTIMS, Victim

matplotlib.use("agg")


class WithoutExtremes(Defense):
    """Before training: ratings at the top of the scale are not believed."""

    def clean(self, train, levels, rng):
        kept = train.copy()
        kept.data[kept.data == levels[-1]] = 0
        kept.eliminate_zeros()
        return kept


class FewerEpochs(Defense):
    """In training: one epoch, too short for the fakes to be learnt."""

    def fit(self, victim, train, validation, levels, rng):
        short = type(victim)(**victim.config.model_dump() | {"epochs": 1})
        return short.fit(train, validation, levels, rng)


class Hesitant(Served):
    """At inference: nothing is liked as much as the victim says."""

    wraps_any = True

    def score(self, users):
        return np.minimum(self.victim.score(users), 3.0)


class TopOnly(Victim):
    """A victim: the mean of an item's ratings for everybody."""

    name = "top only"

    def encoder(self, users):
        return lambda parameters: (torch.zeros(len(users)), torch.zeros(len(users), 1))

    def parameter_shapes(self):
        return {"item_factors": (self.train.shape[1], 1), "item_bias": (self.train.shape[1],)}

    def _fit(self, validation, rng):
        sums = np.asarray(self.train.sum(axis=0)).ravel()
        means = sums / np.maximum(1, np.bincount(self.train.indices, minlength=len(sums)))
        bias = torch.from_numpy(means.astype(np.float32))
        return {"item_factors": torch.zeros(len(sums), 1), "item_bias": bias}, 1.0


@an_attack("Flood", "The same fillers in every fake, at the top.")
def flood(threat, rng, config):
    """An attack: every fake has the same fillers, at the top."""
    fillers = filler_candidates(threat)[: threat.filler_size]
    fillers = np.tile(fillers, (threat.n_fakes, 1))
    return assemble(threat, fillers, np.full(fillers.shape, threat.levels[-1]))


CHAINS = {
    "before": [{"method": "without_extremes"}],
    "in": [{"method": "fewer_epochs"}],
    "after": [{"method": "hesitant"}],
    "chain": [
        {"method": "without_extremes"},
        {"method": "fewer_epochs"},
        {"method": "closed_form", "choices": {"k": 3}},
        {"method": "hesitant"},
    ],
}


@pytest.fixture
def registered(monkeypatch):
    """The one line each."""
    for name, added in (
        ("without_extremes", WithoutExtremes),
        ("fewer_epochs", FewerEpochs),
        ("hesitant", Hesitant),
    ):
        monkeypatch.setitem(DEFENSES, name, added)
    monkeypatch.setitem(ATTACKS, "flood", flood)
    monkeypatch.setitem(VICTIMS, TopOnly.name, TopOnly)
    small = {"embedding_size": 4, "epochs": 3}
    monkeypatch.setattr(cells, "victim_hyperparameters", lambda *names: small)


@pytest.fixture
def trainings(monkeypatch):
    seen, carry_out = [], cells.carry_out

    def noting(scenario, training=()):
        seen.append((scenario.victim, scenario.attack, [step.method for step in training]))
        return carry_out(scenario, training)

    monkeypatch.setattr(cells, "carry_out", noting)
    return seen


@pytest.fixture
def wanted(registered, dataset):
    found = []
    for victim in ("MF", TopOnly.name):
        for attack, size in (("none", 0.0), ("flood", 0.1)):
            scenario = Scenario(
                dataset=dataset, victim=victim, regime="rating", attack=attack, attack_size=size
            )
            found.append(Cell(scenario=scenario))
            found += [Cell(scenario=scenario, defense=n, chain=c) for n, c in CHAINS.items()]
    return found


@pytest.fixture
def rows(wanted, tmp_path):
    return run_cells(wanted, store=CellStore(tmp_path / "cells"), jobs=1)


@pytest.mark.parametrize("added", [WithoutExtremes, FewerEpochs, Hesitant, TopOnly, flood.function])
def test_an_addition_is_short(added):
    assert len(inspect.getsource(added).splitlines()) <= 30


def test_every_addition_is_a_row_with_numbers(rows, wanted):
    assert rows["defense"].tolist() == [cell.defense for cell in wanted]
    assert set(rows["victim"]) == {"MF", TopOnly.name}
    assert set(rows["attack"]) == {"none", "flood"}
    assert not rows[["target_hit_ratio", "hit_ratio", "ndcg", "rmse"]].isna().any().any()
    methods = dict(zip(rows["defense"], rows["method"], strict=True))
    assert methods["chain"] == "without_extremes + fewer_epochs + closed_form + hesitant"
    assert methods[UNDEFENDED] == UNDEFENDED
    by_name = rows[rows["attack"] == "flood"].set_index(["victim", "defense"])
    for name in ("before", "in", "after", "chain"):
        assert by_name.loc[("MF", name), "ndcg"] != by_name.loc[("MF", UNDEFENDED), "ndcg"]
    choices = rows.loc[rows["defense"] == "chain", "choices"].iloc[0]
    assert choices["closed_form"] == {"k": 3}


def test_what_has_no_vicinity_says_nothing_of_one(rows):
    shares = rows.set_index(["victim", "attack", "defense"])["fake_neighbor_share"]
    assert shares.xs("after", level="defense").isna().all()
    for plain in (UNDEFENDED, "before", "in"):
        assert not shares.xs(plain, level="defense").isna().any()
    assert shares["MF", "flood", UNDEFENDED] > 0


def test_each_training_is_done_once_whatever_the_order(wanted, trainings, tmp_path):
    mf = [cell for cell in wanted if cell.scenario.victim == "MF"]
    jumbled = [mf[n] for n in np.random.default_rng(0).permutation(len(mf))]
    rows = run_cells(jumbled, store=CellStore(tmp_path / "jumbled"), jobs=1)
    # Undefended and "after" share one training; the others have their own.
    assert len(trainings) == 2 * 4 == len({str(each) for each in trainings})
    in_order = run_cells(mf, store=CellStore(tmp_path / "jumbled"), jobs=1)
    assert rows["defense"].tolist() == [cell.defense for cell in jumbled]
    keys = ["attack", "defense"]
    both = (frame.set_index(keys)["ndcg"].sort_index() for frame in (rows, in_order))
    pd.testing.assert_series_equal(*both)


def test_every_addition_is_in_the_tables(rows):
    lifted = effects.with_lift(rows)
    robustness = effects.robustness(lifted)
    assert set(robustness["defense"]) == {UNDEFENDED, *CHAINS}
    assert set(robustness["attack"]) == {"none", "flood"}
    assert set(headline(lifted)["defense"]) == {UNDEFENDED, *CHAINS}
    assert set(effects.summary(lifted)["victim"]) == {"MF", TopOnly.name}
    assert set(claims.others(lifted)["defense"]) == set(CHAINS)
    assert len(effects.cell_table(rows)) == len(rows)


def test_every_addition_is_in_the_figures_with_a_colour_of_its_own(rows):
    lifted = effects.with_lift(rows)
    summary = effects.summary(lifted)
    thr = summary[(summary["metric"] == "target_hit_ratio") & (summary["defense"] == UNDEFENDED)]
    setting, accuracy = ["regime", "target_set", "victim"], ["hit_ratio", "ndcg", "rmse"]
    falls = effects.changes(lifted, setting, ["target_hit_ratio"])
    gains = effects.changes(lifted, ["regime", "victim"], accuracy, improvement=True)
    levels = effects.levels(lifted)
    for figure, names in (
        (effect_plots.target_hit_ratios(levels, falls), {"undefended", "not attacked", *CHAINS}),
        (effect_plots.accuracy_changes(gains), set(CHAINS)),
        (
            attack_plots.attack_effects(thr.assign(crafted_for="targets")),
            {f"crafted for its targets, {victim}" for victim in ("MF", TopOnly.name)},
        ),
    ):
        (legend,) = figure.legends
        assert {text.get_text() for text in legend.get_texts()} == names
        for axes in figure.axes:
            drawn = {c.get_label(): c.lines[0].get_color() for c in axes.containers}
            assert drawn.keys() >= names - {"undefended", "not attacked"}
            assert len(set(drawn.values())) == len(drawn)
    plt.close("all")


def test_a_victim_that_no_search_has_seen_meets_every_form_and_every_rival(dataset):
    known, found = chosen_defenses("rating", "MF"), chosen_defenses("ranking", TopOnly.name)
    assert list(found) == [name for name in known if name != "unobserved weight"]
    for forms in (found, known):
        for form in forms.values():
            scenario = Scenario(dataset=dataset, victim="MF", regime="rating")
            assert Cell(scenario=scenario, **form).method == form["method"]


def test_the_rivals_stand_behind_the_forms_of_rvd_and_train_as_in_the_ranking_regime():
    names = ["popularity", "least support", "unobserved weight"]
    for regime, rivals in (("rating", names), ("ranking", names[:2])):
        for victim in ("MF", "CDAE"):
            assert list(chosen_defenses(regime, victim))[2:] == rivals
    for victim in ("MF", "CDAE"):
        choices = chosen_defenses("rating", victim, dataset="filmtrust")["unobserved weight"]
        choices = choices["choices"]
        ranking = cells.victim_hyperparameters("filmtrust", "ranking", victim)
        weight = choices["unobserved_weight"]
        assert choices["hyperparameters"] | {"unobserved_weight": weight} == ranking
