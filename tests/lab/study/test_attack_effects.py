"""What is read of the attacks, from rows whose answer is known."""

import pandas as pd
import pytest

from rvdlib.attacks import ATTACKS
from rvdlib.lab.study import attack_effects
from rvdlib.lab.study.attack_effects import ATTACKED, ELSEWHERE, HEURISTIC, KNOWING, OPTIMISING
from tests.lab.study.conftest import row_of


def rows(thr):
    """``thr``: attack → THR, the same in each seed but for a seed's own level."""
    return pd.DataFrame(
        row_of(attack, thr=thr.get(attack, 0.1) + 0.01 * seed, target_set="random", seed=seed)
        for attack in ("none", *ATTACKED)
        for seed in range(3)
    )


def test_every_attack_is_on_every_victim_in_every_setting_once_but_those_told_of_elsewhere():
    scenarios = attack_effects.scenarios(
        "ml-100k", ["MF", "CDAE"], ["rating", "ranking"], ["random"], 0.03, [0, 1]
    )
    assert len(ATTACKED) == len(set(ATTACKED))
    assert set(ATTACKED) == set(ATTACKS) - {"from_file", *ELSEWHERE}
    assert set(ELSEWHERE) < set(ATTACKS)
    assert sorted(ATTACKED) == sorted([*HEURISTIC, *OPTIMISING, *KNOWING])
    assert {*HEURISTIC} >= {"random", "clone", "low_clone"}
    assert KNOWING == ["vicinity"]
    assert len({repr(scenario) for scenario in scenarios}) == len(scenarios)
    assert len(scenarios) == 2 * 2 * 2 * (len(ATTACKED) + 1)
    assert {s.attack_size for s in scenarios if s.attack != "none"} == {0.03}
    assert {s.attack_size for s in scenarios if s.attack == "none"} == {0}


def test_differences_are_to_the_best_heuristic_seed_by_seed():
    table = attack_effects.against_heuristics(rows({"clone": 0.4, "pga": 0.65, "aush": 0.3}))
    assert table["attack"].tolist() == OPTIMISING
    assert set(table["heuristic"]) == {"clone"}
    assert table["heuristic_thr"].tolist() == pytest.approx([0.41] * len(OPTIMISING))
    found = table.set_index("attack")[["mean", "low", "high"]]
    # The seeds' own level cancels: no interval is left.
    assert found.loc["pga"].tolist() == pytest.approx([0.25] * 3)
    assert found.loc["aush"].tolist() == pytest.approx([-0.1] * 3)


JUDGED = pd.DataFrame({"id": ["C7"], "regime": ["rating"], "value": [0.5], "overall": ["mixed"]})


@pytest.mark.parametrize(
    ("thr", "most", "beat"),
    [
        (
            {"segment": 0.4, "pga": 0.5, "revadv": 0.9, "aush": 0.39},
            "by revadv with 0.910 (rating regime, random targets; 0.110 when not attacked, 0.410 by "
            "segment, the best heuristic).",
            "over seeds: pga, revadv (rating regime, random targets).",
        ),
        (
            {"segment": 0.4},
            "0.410 (rating regime, random targets; 0.110 when not attacked).",
            ": none.",
        ),
    ],
)
def test_the_answer_names_who_is_strongest_and_who_beats_the_heuristics(thr, most, beat):
    near = {"pga": 0.9, "random": 0.02, "clone": 1.0}  # the last is not the paper's
    lain = rows(thr).assign(
        fakes_near_fakes=lambda all_: all_["attack"].map(near).fillna(0.3),
        fake_neighbor_share=0.002,
        attack_size=0.25,
    )
    lines = attack_effects.answer(lain, JUDGED).splitlines()
    assert lines[2].endswith(most)
    assert lines[3].endswith(beat)
    assert lines[4] == (
        "- By attack of the paper, in the rating regime 2.0 to 90.0 % of a fake's ten nearest are fake and "
        "0.2 % of a real user's; of all users 20.0 % are (C7: mixed in the rating regime)."
    )


def test_recipes_are_a_row_an_attack():
    head, rule, *rows = attack_effects.recipes().splitlines()[2:]
    assert (head, rule) == ("| attack | its recipe |", "|---|---|")
    assert len(rows) == len(ATTACKED)
    assert "| S-TNA | As U-TNA, " in "\n".join(rows)
