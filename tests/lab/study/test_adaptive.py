"""Who knows what of the defence, and what is read of rows whose answer is known."""

import pandas as pd
import pytest

from rvdlib.lab.experiment.exposure import SHARES, TARGET_HIT_RATIOS
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.statistics import t_interval
from rvdlib.lab.study import adaptive, claims
from rvdlib.lab.study.effects import CLOSED_FORM, RVD

CURES = {"cosine": {"distance": "cosine"}, "median": {"groups": 5}, "k = 7": {"k": 7}}


def cells(**changes):
    arguments = {
        "dataset": "ml-100k",
        "victim": "MF",
        "target_sets": {"rating": "unpopular", "ranking": "random"},
        "attacks": ["none", "clone"],
        "guesses": {"vicinity": {}, "guesses k = 3": {"k": 3}},
        "cures": CURES,
        "evasions": {"median": {"sources": "hubs"}},
        "seeds": [0],
    }
    return adaptive.cells(**arguments | changes)


def test_the_knowing_attacker_is_told_what_he_faces_and_a_guess_replaces_it(monkeypatch):
    forms = {RVD: {"method": "rvd", "choices": {"k": 20}}}
    forms[CLOSED_FORM] = {"method": "closed_form", "choices": {"k": 50}}
    monkeypatch.setattr(adaptive, "chosen_defenses", lambda regime, victim: forms)
    told = {
        (cell.scenario.regime, label, cell.defense): cell.scenario.attack_options
        for cell, label in cells()
    }
    options = {key[:2]: known for key, known in told.items() if key[2] != RVD}
    for regime in ("rating", "ranking"):
        assert told[regime, "vicinity", RVD]["k"] == 20
        assert told[regime, "guesses k = 3", RVD]["k"] == 3
        k, truth = 50, options[regime, "vicinity"]
        assert truth["k"] == k
        assert options[regime, "guesses k = 3"]["k"] == 3
        known = options[regime, "vicinity, knows cosine"]
        assert (known["k"], known["distance"]) == (k, "cosine")
        assert options[regime, "vicinity, knows k = 7"]["k"] == 7
        assert options[regime, "clone"] == {}
        assert options[regime, "vicinity, knows median"] == truth | {"sources": "hubs"}


def test_everybody_faces_every_defence_and_who_knows_a_cure_faces_the_cure():
    faced = {}
    for cell, label in cells(target_sets={"rating": "unpopular"}):
        faced.setdefault(label, []).append(cell.defense)
    everything = {"none", RVD, CLOSED_FORM, *CURES}
    for label in ("none", "clone", "vicinity", "guesses k = 3"):
        assert len(faced[label]) == len(everything)
        assert set(faced.pop(label)) == everything
    assert faced == {
        "vicinity, knows cosine": ["none", "cosine"],
        "vicinity, knows k = 7": ["none", "k = 7"],
        "vicinity, knows median": ["none", "median"],
    }


def test_a_cure_changes_what_it_says_and_nothing_else():
    chosen = chosen_defenses("rating", "MF")[CLOSED_FORM]["choices"]
    for cell, _ in cells(target_sets={"rating": "unpopular"}):
        if cell.defense in CURES:
            assert cell.choices == chosen | CURES[cell.defense]
            assert cell.method == "closed_form"


def rows(thr, accuracy):
    """(defence, attacker) → THR, and defence → RMSE; the seeds differ by a level of their own."""
    return pd.DataFrame(
        {
            "regime": "rating",
            "defense": defense,
            "attacker": attacker,
            "seed": seed,
            "target_hit_ratio": value + 0.01 * seed,
            "rmse": accuracy[defense] * (1 + 0.1 * seed),
            "fake_neighbor_share": 0.1,
            **dict(zip(SHARES, (0.5, 0.3, 0.2, 0), strict=True)),
            **dict(zip(TARGET_HIT_RATIOS, (0.1, 0.2, 0.3, float("nan")), strict=True)),
        }
        for (defense, attacker), value in thr.items()
        for seed in (0, 1)
    )


@pytest.fixture
def measured():
    thr = {
        (defense, attacker): value
        for defense, values in {
            "none": (0.1, 0.5, 0.8, 0.9),
            RVD: (0.1, 0.4, 0.7, 0.8),
            CLOSED_FORM: (0.0, 0.1, 0.3, 0.6),
            "cosine": (0.0, 0.1, 0.2, 0.1),
        }.items()
        for attacker, value in zip(("none", "random", "low_clone", "vicinity"), values, strict=True)
    }
    thr["cosine", "vicinity, knows cosine"] = 0.4
    return rows(thr, {"none": 1.0, RVD: 1.1, CLOSED_FORM: 1.05, "cosine": 0.9})


def test_a_cure_is_judged_by_its_worst_attacker_who_may_know_it(measured):
    table = adaptive.cures(measured).set_index("defense")
    assert table.loc["cosine", ["worst", "thr"]].tolist() == [
        "vicinity, knows cosine",
        pytest.approx(0.405),
    ]
    assert table.loc[CLOSED_FORM, "worst"] == "vicinity"
    # RMSE: lower is better; the seeds' levels cancel.
    for defense, change in (("none", 0), (RVD, -0.1), (CLOSED_FORM, -0.05), ("cosine", 0.1)):
        found = table.loc[defense, ["change", "change_low", "change_high"]].tolist()
        assert found == pytest.approx([change] * 3)


def test_the_worst_attacker_is_the_same_one_on_every_seed(measured):
    here = (measured["defense"] == RVD) & (measured["attacker"] == "random")
    measured.loc[here & (measured["seed"] == 1), "target_hit_ratio"] = 0.95  # worse, but once
    found = adaptive.cures(measured).set_index("defense").loc[RVD]
    assert found["worst"] == "vicinity"
    expected = t_interval([0.8, 0.81])[:3]
    assert found[["thr", "thr_low", "thr_high"]].tolist() == pytest.approx(expected)


def test_the_ranking_regime_is_judged_by_ndcg_where_more_is_better(measured):
    ranking = measured.assign(regime="ranking", ndcg=measured["rmse"])
    assert adaptive.cures(ranking).set_index("defense").loc["cosine", "change"] < 0


def test_the_table_shows_shares_and_hits_by_number_of_fakes(measured):
    measured = measured.assign(hit_ratio=0.5, ndcg=0.2)
    table = adaptive.by_fakes(adaptive.summary(measured))
    assert len(table) == 2 * 3
    row = table.loc["rating", CLOSED_FORM, "low_clone"]
    assert row.tolist() == ["10.0%", "50%: 0.100", "30%: 0.200", "20%: 0.300", "0%: –"]


def test_the_answer_compares_the_knowing_with_low_clones(measured):
    measured = measured.assign(victim="MF")
    judged = [claims.of_knowing(measured, "vicinity", form) for form in (RVD, CLOSED_FORM)]
    table = adaptive.cures(measured)
    *_, regime, best = adaptive.answer(measured, table, pd.concat(judged)).splitlines()
    assert "THR@50 of 0.805 under RVD and 0.605 under closed form; low clones" in regime
    assert regime.endswith("reach 0.705 under RVD and 0.305 under closed form (C15: reproduced).")
    assert (
        "*cosine* in the rating regime (THR@50 0.405 [0.341, 0.469] under *vicinity, knows cosine*"
        in best
    )
    assert best.endswith("accuracy better by 10.0 %).")


def test_one_seed_has_an_answer_too(measured):
    alone = measured[measured["seed"] == 0].assign(victim="MF")
    judged = claims.of_knowing(alone, "vicinity")
    assert "nan" not in adaptive.answer(alone, adaptive.cures(alone), judged)
