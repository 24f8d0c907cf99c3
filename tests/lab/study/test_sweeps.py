"""Sweeps of RVD's dials: the cells, and what the claims make of the means."""

import pandas as pd
import pytest

from rvdlib.lab.study import sweeps
from rvdlib.lab.study.effects import RVD
from tests.lab.study.conftest import row_of as row

DIALS = {"k": [1, 10, 30], "steps": [0, 5], "unobserved_weight": [0.0, 0.1, 1.0]}
BASE = {"k": 10, "steps": 20, "learning_rate": 0.001}


@pytest.fixture
def cells(monkeypatch):
    forms = {RVD: {"method": "rvd", "choices": BASE}}
    monkeypatch.setattr(sweeps, "chosen_defenses", lambda *chosen: forms)
    return sweeps.sweep_cells(
        "ml-100k",
        ["MF", "CDAE"],
        {
            "rating": {"attack": "random", "target_set": "unpopular"},
            "ranking": {"attack": "clone", "target_set": "random"},
        },
        [0, 1],
        n_users=40,
        dials=DIALS,
    )  # with the dial and the value of each


def test_one_dial_is_turned_at_a_time(cells):
    assert len(cells) == 2 * 2 * 2 * (3 + 2 + 3)
    assert len({(cell.model_dump_json(), dial) for cell, dial, _ in cells}) == len(cells)
    for cell, dial, value in cells:
        assert cell.defense == RVD
        assert cell.choices[dial] == value
        assert value in DIALS[dial]
        assert ("unobserved_weight" in cell.choices) == (dial == "unobserved_weight")
        still = {"k": 10, "steps": 20, "learning_rate": 0.001}
        still.pop(dial, None)
        assert still.items() <= cell.choices.items()
        assert (cell.method, cell.n_users) == ("rvd", 40)


def test_each_regime_has_its_own_attack_and_setting(cells):
    found = {(c.scenario.regime, c.scenario.attack, c.scenario.target_set) for c, *_ in cells}
    assert found == {("rating", "random", "unpopular"), ("ranking", "clone", "random")}


def test_the_summary_tells_what_was_swept_from_what_was_fixed(cells):
    rows = pd.DataFrame(
        row(thr=cell.choices["k"] / 100 + cell.scenario.seed)
        | cell.scenario.model_dump()
        | {"swept": dial, "value": value}
        for cell, dial, value in cells
    )
    found = sweeps.summary(rows)
    assert (found["n"] == 2).all()  # both seeds, in every row
    assert len(found) == len(cells) / 2 * 4
    weights = found[found["swept"] == "unobserved_weight"]
    assert set(weights["value"]) == {0.0, 0.1, 1.0}
    turned = found[(found["swept"] == "k") & (found["metric"] == "target_hit_ratio")]
    assert turned["mean"].to_numpy() == pytest.approx(turned["value"] / 100 + 0.5)


def test_the_answer_is_a_sentence_a_dial_of_means_over_victims_with_the_verdicts():
    def both(dial, low, high):
        return pd.DataFrame(
            row("clone", thr=thr + up, regime=regime, victim=victim, rmse=1 + value / 100)
            | {"swept": dial, "value": value}
            for regime in ("rating", "ranking")
            for victim, up in (("MF", 0.0), ("CDAE", 0.2))
            for value, thr in ((low, 0.4), (10, 0.1), (high, 0.3))
        )

    rows = pd.concat([both("k", 1, 30), both("steps", 0, 20), both("unobserved_weight", 0, 30)])
    judged = pd.DataFrame({"id": ["C12", "C13", "C14"], "overall": ["partly", "undecided", "x"]})
    judged = judged.assign(regime="ranking")
    _, _, *sentences = sweeps.answer(sweeps.summary(rows), judged).splitlines()
    assert len(sentences) == 3
    assert sentences[0] == (
        "- With 1 → 30 neighbours, THR@50 goes 0.500 → 0.400 (least at 10) and RMSE 1.010 → 1.300 in "
        "the rating regime, THR@50 goes 0.500 → 0.400 (least at 10) and NDCG@50 0.200 → 0.200 in the "
        "ranking regime (C12: partly, C14: x)."
    )
    assert sentences[1].startswith("- With 0 → 20 steps of fine-tuning, ")
    assert sentences[1].endswith("(C13: undecided).")
    assert sentences[2].endswith("in the ranking regime.")
