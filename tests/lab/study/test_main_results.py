"""Who faces whom in the main results, and what is read of a plan of which a part is missing."""

import itertools

import numpy as np
import pandas as pd
import pytest

from rvdlib import paths
from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.experiment.hyperparameters import RVD_HARDENED
from rvdlib.lab.study import main_results, main_tables
from rvdlib.lab.study.effects import RVD

PART = {
    "victims": {"rating": ["MF"], "ranking": ["MF", "AutoRec"]},
    "attacks": ["none", "average", "low_clone"],
    "against": [RVD, "count"],
    "retrained": ["MF"],
    "seeds": [0, 1],
    "n_users": 50,
}
TARGETS = {"rating": "unpopular", "ranking": "random"}
PLAN = {"ml-100k": PART, "yelp": PART | {"retrained": [], "seeds": [0]}}


@pytest.fixture(scope="module")
def planned():
    return main_results.cells(PLAN, TARGETS)


def measured(planned, places):
    """Rows of the planned cells at these places: 0.1 unattacked, 0.5 attacked, RVD leaves a half."""
    rows = []
    for place in places:
        cell, label = planned[place]
        lift = 0.0 if label == "none" else 0.4 * {UNDEFENDED: 1, RVD: 0.5}.get(cell.defense, 0)
        rows.append(
            cell.scenario.model_dump()
            | {"defense": cell.defense, "choices": cell.choices, "attacker": label}
            | {"target_hits": [round(100 * (0.1 + lift))], "target_users": [100]}
            | {"target_hit_ratio": 0.1 + lift, "hit_ratio": 0.2, "ndcg": 0.1, "rmse": 1.0}
            | {"list_length": 50.0}
        )
    return pd.DataFrame(rows, index=places)


def test_a_searched_attacker_meets_his_own_defence_and_the_undefended_victim_alone(planned):
    faced = {}
    for cell, label in planned:
        faced.setdefault(label, set()).add(cell.defense)
    assert faced.pop(f"against {RVD}") == {UNDEFENDED, RVD}
    assert faced.pop("against count") == {UNDEFENDED, "count"}
    listed = {UNDEFENDED, *main_results.DEFENSES} - {RVD_HARDENED}
    assert all(names == listed for names in faced.values())
    assert set(faced) == {"none", "average", "low_clone"}


def test_the_hardened_rvd_is_added_where_it_is_listed_and_changes_no_other_cell(planned):
    part = PART | {"against": [RVD, "count", RVD_HARDENED]}
    asked = main_results.cells(PLAN | {"ml-100k": part}, TARGETS)
    added = [each for each in asked if each not in planned]
    assert [each for each in asked if each in planned] == planned
    assert {cell.defense for cell, _ in added} == {RVD_HARDENED, UNDEFENDED}
    own = [(cell, label) for cell, label in added if label == f"against {RVD_HARDENED}"]
    assert {cell.defense for cell, _ in own} == {RVD_HARDENED, UNDEFENDED}


def test_a_data_set_has_its_own_victims_seeds_and_second_trainings(planned):
    seen = {(c.scenario.dataset, c.scenario.regime, c.scenario.victim) for c, _ in planned}
    assert len(seen) == 6
    assert {c.scenario.seed for c, _ in planned if c.scenario.dataset == "yelp"} == {0}
    trained = {
        (c.scenario.dataset, c.scenario.victim)
        for c, _ in planned
        if c.defense == "unobserved weight"
    }
    assert trained == {("ml-100k", "MF")}
    assert len({cell.model_dump_json() for cell, _ in planned}) == len(planned)


def test_what_is_missing_is_counted_and_shown(planned):
    there = [n for n, (cell, _) in enumerate(planned) if cell.scenario.dataset == "ml-100k"]
    covered = main_results.coverage(planned, there)
    assert covered["planned"].sum() == len(planned)
    assert covered["computed"].sum() == len(there)
    states = main_tables.shown_coverage(covered)
    assert states.loc["ml-100k", ""].tolist() == ["complete"] * 2
    assert states.loc["yelp", ""].tolist() == ["not computed"] * 2
    assert states.loc["ml-100k", "whole seeds"].tolist() == ["2 of 2"] * 2


def test_the_tables_say_what_the_rows_do(planned):
    everything = range(len(planned))
    covered = main_results.coverage(planned, everything)
    rows = main_results.comparable(measured(planned, everything))
    found = main_tables.table(rows)
    removed = found[found["metric"] == "lift_removed"].groupby("defense")["value"]
    assert removed.min()[RVD] == removed.max()[RVD] == pytest.approx(0.5)
    assert removed.min()["count"] == pytest.approx(1)
    remains = main_tables.left(main_results.whole(rows, covered))
    assert set(remains.loc[remains["defense"] == RVD, "kind"]) == {
        *(main_results.PAPERS, main_results.STRONGER, main_results.KNOWING)
    }
    assert remains.loc[remains["defense"] == RVD, "value"].to_numpy() == pytest.approx(0.5)
    bent = rows.assign(lift=rows["lift"].where(rows["victim"] != "AutoRec", 0.3))
    apart = main_tables.left(bent, within=["kind", "victim"])
    apart = apart[apart["defense"] == RVD].set_index("victim")["value"]
    assert apart["MF"].to_numpy() == pytest.approx(0.5)
    assert apart["AutoRec"].to_numpy() == pytest.approx(0.75)
    titled = main_tables.by_dataset(main_tables.over_victims(rows), PLAN, across="attack")
    assert [each.data for each in titled[::2]] == [
        f"**{dataset}, {regime} regime**" for dataset in PLAN for regime in TARGETS
    ]
    shown = titled[3]
    assert shown.columns[:2].tolist() == ["undefended", RVD]
    assert shown.loc["average", "undefended"].startswith("0.500")
    assert list(shown.index) == ["not attacked", "average", "low clone"]
    accurate = main_tables.accuracy(main_results.whole(rows, covered))
    assert accurate.groupby("metric")["value"].agg(["min", "max"]).to_numpy() == pytest.approx(
        np.array([[0.2, 0.2], [50.0, 50.0], [0.1, 0.1], [1.0, 1.0]])
    )
    text = main_tables.answer(covered, remains, accurate)
    assert "by data set (ml-100k, yelp), *RVD* leaves 50% at HR@50 0.200" in text
    assert "(undefended 0.200)." in text
    flat = remains.assign(value=np.nan)
    assert "no seed is complete" in main_tables.answer(covered, flat, accurate)
    flat = remains.assign(value=remains["value"].where(remains["dataset"] != "yelp"))
    assert "There is hardly any lift on yelp." in main_tables.answer(covered, flat, accurate)
    assert f"{len(planned)} of {len(planned)} planned cells" in text.replace(",", "")


def test_an_average_is_of_whole_seeds_and_a_lone_row_is_left_out(planned):
    """One cell of seed 1 is missing: its kind of attack counts for seed 0 alone."""
    gone = next(
        n
        for n, (cell, label) in enumerate(planned)
        if label == "average" and cell.scenario.seed == 1 and cell.defense == UNDEFENDED
    )
    there = [n for n in range(len(planned)) if n != gone]
    covered = main_results.coverage(planned, there)
    rows = main_results.comparable(measured(planned, there))
    lost = planned[gone][0].scenario
    same = (rows[["dataset", "regime", "seed"]] == [lost.dataset, lost.regime, 1]).all(axis=1)
    assert not (same & (rows["attack"] == "average") & (rows["victim"] == lost.victim)).any()
    whole = main_results.whole(rows, covered)
    kinds = whole[(whole["dataset"] == lost.dataset) & (whole["regime"] == lost.regime)]
    seeds = kinds.groupby("kind")["seed"].nunique().to_dict()
    assert seeds == {"": 2, "the paper's": 1, "stronger": 2, "knows the defence": 2}


def test_where_there_is_no_lift_no_share_of_it_is_shown(planned):
    rows = main_results.comparable(measured(planned, range(len(planned))))
    remains = main_tables.left(rows.assign(lift_undefended=0.0), within=["kind", "victim"])
    shown = main_tables.by_dataset(remains, PLAN, across="kind")[1]
    assert set(shown[RVD]) == {"no lift"}


def test_tests_of_a_claim_are_counted_for_and_against_it():
    where = {"id": "C1", "defense": "count", "dataset": "yelp", "regime": "rating"}
    verdicts = ["reproduced", "undecided", "not reproduced", "not reproduced"]
    judged = pd.DataFrame([{**where, "verdict": each} for each in verdicts])
    judged = pd.concat([judged, judged.iloc[:2].assign(regime="ranking")])
    counted = main_tables.counted(judged).loc[("C1", "count")]
    assert counted.to_dict() == {
        ("yelp", "rating"): "1 of 4 (2 against)",
        ("yelp", "ranking"): "1 of 2",
    }


def test_nothing_at_all_is_an_answer_too(planned, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "CELL_STORE", tmp_path)
    cells, attackers = zip(*planned[:2], strict=True)
    rows = main_results.gathered(cells, compute=False, attacker=attackers)
    covered = main_results.coverage(planned, rows.index)
    assert (covered["computed"] == 0).all()
    rows = main_results.comparable(rows)
    whole = main_results.whole(rows, covered)
    remains, found = main_tables.left(whole), main_tables.table(rows)
    assert found.empty
    titled = main_tables.by_dataset(main_tables.over_victims(whole), PLAN, across="attack")
    assert [each.data for each in titled[1::2]] == ["Not computed."] * 4
    assert main_tables.accuracy(whole).empty
    swept = main_results.gathered(cells, compute=False, swept=attackers, value=attackers)
    swept = main_results.dials(swept, {"ml-100k": {"k": [1], "steps": [0]}})
    assert main_tables.shown_along(main_tables.along(swept)).empty
    judged = main_tables.judged(main_tables.of_the_paper(whole), swept)
    assert judged.empty
    accurate = main_tables.accuracy(whole)
    assert "no seed is complete" in main_tables.answer(covered, remains, accurate)


def test_a_dial_counts_for_the_seeds_that_have_all_its_values():
    turned = {"ml-100k": {"k": [1, 3], "steps": [0, 5]}}
    rows = pd.DataFrame(
        {"dataset": "ml-100k", "regime": "rating", "victim": "MF", "seed": seed}
        | {"swept": dial, "value": float(value), "target_hit_ratio": 0.1 * value}
        for seed in (0, 1)
        for dial, value in itertools.chain(
            itertools.product(["k"], [1, 3]), itertools.product(["steps"], [0, 5])
        )
    )
    found = main_results.dials(rows.drop(index=rows.index[-1]), turned)
    assert found["seed"].unique().tolist() == [0]
    assert len(found) == 4
    along = main_tables.shown_along(main_tables.along(found))
    assert along.loc[("ml-100k", "rating", "MF"), "k = 3"] == "0.300"
    assert np.isnan(main_tables.along(found)["low"]).all()
