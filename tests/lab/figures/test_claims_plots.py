"""What the figures of verdicts and of main results draw; how they look is for eyes."""

import numpy as np
import pandas as pd

from rvdlib import paths
from rvdlib.lab.figures import claims_plots, main_plots
from rvdlib.lab.runner.ledger import COLUMNS, claims


def ledger(*rows):
    return pd.DataFrame(rows, columns=COLUMNS).astype({"value": float, "low": float, "high": float})


def parts(name, overall, *verdicts, value=0.4):
    row = dict.fromkeys(COLUMNS) | {"id": name, "regime": "rating", "value": value}
    row["overall"] = overall
    return [row | {"verdict": verdict} for verdict in verdicts]


def marks(axes):
    return [line.get_xydata() for line in axes.lines if line.get_marker() == "o"]


def said(axes):
    return [text.get_text() for text in axes.texts if not text.get_text().isdigit()]


def test_a_bar_counts_the_tests_that_show_a_claim_and_its_contrary_in_its_regime():
    found = ledger(
        *parts("C1", "mixed", "reproduced", "undecided", "not reproduced", "undecided"),
        *parts("C9", "holds as restated", "holds as restated"),
        *parts("C17", "not measured for RVD", "reproduced"),
    )
    rating, ranking = claims_plots.bars(found).axes
    names = [label.get_text().split()[0] for label in rating.get_yticklabels()]
    assert names == [*claims()]
    verdicts = dict(zip(names, said(rating), strict=True))
    assert verdicts["C1"] == "mixed"
    assert verdicts["C9"] == "holds as\nrestated"
    assert [*verdicts.values()].count("not measured") == len(claims()) - 3
    assert set(said(ranking)) == {"not measured"}
    bars = [bar.patches[0] for bar in rating.containers]
    assert [bar.get_width() for bar in bars] == [0.25, 0.5, 0.25, 1, 1]
    assert [bar.get_alpha() for bar in bars] == [1] * 4 + [0.45]
    assert [text.get_text() for text in rating.texts if text.get_text().isdigit()] == [*"12111"]
    assert len({bar.get_facecolor() for bar in bars[:4]}) == 4  # a theorem of ours is no success


def test_what_the_paper_profile_has_not_measured_is_taken_from_the_quick_one(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    drawn = []
    monkeypatch.setattr(claims_plots.style, "save", lambda figure, *name: drawn.append(figure))
    for profile, names in {"paper": ["C1"], "quick": ["C1", "C2"]}.items():
        (tmp_path / profile).mkdir()
        verdict = "reproduced" if profile == "paper" else "undecided"
        rows = [row for name in names for row in parts(name, verdict, verdict)]
        ledger(*rows).to_csv(tmp_path / profile / "claims.csv", index=False)
    for profile in ("paper", "quick", "tiny"):
        claims_plots.save_verdicts(profile)
    texts = [said(figure.axes[0]) for figure in drawn]
    assert [each.count("not measured") for each in texts] == [15, 15, 17]
    assert [each[:2] for each in texts[:2]] == [["reproduced", "undecided"], ["undecided"] * 2]


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
