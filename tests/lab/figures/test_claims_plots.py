"""What the figures of verdicts and of main results draw; how they look is for eyes."""

import numpy as np
import pandas as pd
import pytest

from rvdlib import paths
from rvdlib.lab.figures import claims_plots, main_plots
from rvdlib.lab.runner.ledger import COLUMNS, claims


def ledger(*rows):
    return pd.DataFrame(rows, columns=COLUMNS).astype({"value": float, "low": float, "high": float})


def part(name, value, low, high, overall):
    measured = {"id": name, "value": value, "low": low, "high": high}
    return dict.fromkeys(COLUMNS) | measured | {"verdict": overall, "overall": overall}


def marks(axes):
    return [line.get_xydata() for line in axes.lines if line.get_marker() == "o"]


def test_what_the_paper_says_lies_to_the_right_whichever_way_its_metric_goes():
    found = ledger(
        part("C1", 0.4, 0.3, 0.5, "reproduced"),  # at least 0.2
        part("C3", -0.2, -0.4, 0.1, "undecided"),  # below 0
        part("C4", -0.2, -0.3, -0.1, "not reproduced"),  # above 0
        part("C9", 0.0, 0.0, 0.0, "reproduced"),  # at most 0: at the threshold itself
    )
    (axes,) = claims_plots.verdicts(found).axes
    x = [float(xy[0, 0]) for xy in marks(axes)]
    assert x == pytest.approx([0.9 * 2 / 3, 0.45, -0.6, 0.0])
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("not measured") == len(claims()) - 4
    assert "-0.200  (> 0)" in texts
    assert [label.get_text()[:2] for label in axes.get_yticklabels()][:2] == ["C1", "C2"]


def test_each_part_of_a_claim_has_a_mark_and_one_without_an_interval_too():
    parts = [part("C1", value, np.nan, np.nan, "undecided") for value in (0.1, 0.3, 0.6)]
    (axes,) = claims_plots.verdicts(ledger(*parts)).axes
    drawn = np.vstack(marks(axes))
    assert len(drawn) == 3
    assert len(set(drawn[:, 1])) == 3
    assert "0.100 to 0.600  (≥ 0.2)" in [text.get_text() for text in axes.texts]


def test_each_mark_has_the_colour_of_its_own_verdict_and_a_claim_says_how_many_show_it():
    parts = [part("C1", 0.5, 0.4, 0.6, "reproduced"), part("C1", 0.1, 0.0, 0.15, "not reproduced")]
    found = ledger(*parts).assign(overall="partly")
    (axes,) = claims_plots.verdicts(found).axes
    drawn = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_color() for line in drawn] == [claims_plots.BLUE, claims_plots.RED]
    assert "partly, 1 of 2" in [text.get_text() for text in axes.texts]


def test_what_the_paper_profile_has_not_measured_is_taken_from_the_quick_one(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    drawn = []
    monkeypatch.setattr(claims_plots.style, "save", lambda figure, *name: drawn.append(figure))
    for profile, names in {"paper": ["C1"], "quick": ["C1", "C2"]}.items():
        (tmp_path / profile).mkdir()
        value = 0.5 if profile == "paper" else 0.4
        parts = [part(name, value, np.nan, np.nan, "undecided") for name in names]
        ledger(*parts).to_csv(tmp_path / profile / "claims.csv", index=False)
    for profile in ("paper", "quick", "tiny"):
        claims_plots.save_verdicts(profile)
    texts = [[text.get_text() for text in figure.axes[0].texts] for figure in drawn]
    assert [each.count("not measured") for each in texts] == [15, 15, 17]
    assert "0.500  (≥ 0.2)" in texts[0]
    assert "0.400  (≥ -0.05)" in texts[0]
    assert "0.400  (≥ 0.2)" in texts[1]


def test_a_data_set_without_a_complete_seed_is_said_to_be_not_computed():
    columns = ["dataset", "regime", "kind", "defense", "value", "low", "high", "n"]
    rows = [
        ("ml-100k", "rating", "the paper's", "RVD", 0.7, 0.6, 0.8, 3),
        ("ml-100k", "rating", "knows the defence", "count", 3.0, 2.0, 4.0, 3),
    ]
    figure = main_plots.lift_left(pd.DataFrame(rows, columns=columns), ["ml-100k", "yelp"])
    there, missing = figure.axes
    assert [text.get_text() for text in missing.texts] == ["not computed"]
    assert [text.get_text() for text in there.texts] == ["3.0"]  # beyond the edge
    x = np.concatenate([xy[:, 0] for xy in marks(there)] + [[0.7]])
    assert (x <= main_plots.SHOWN[1]).all()
    nothing = pd.DataFrame([], columns=columns)
    assert len(main_plots.lift_left(nothing, ["ml-100k"]).axes[0].texts) == 1
