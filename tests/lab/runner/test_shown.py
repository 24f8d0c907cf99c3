"""How results are shown, from tables and notebooks whose answer is known."""

import json

import pandas as pd

from rvdlib.lab.runner import shown

LEVELS = [
    "target_hit_ratio_clean",
    "target_hit_ratio",
    "hit_ratio",
    "ndcg",
    "rmse",
    "catalogue_share",
]


def headline(**systems):
    """System → its six levels."""
    return pd.DataFrame(
        [
            ("rating", "unpopular", name.replace("_", " "), metric, value, value, value, 3)
            for name, values in systems.items()
            for metric, value in zip(LEVELS, values, strict=True)
        ],
        columns=["regime", "target_set", "defense", "metric", "mean", "low", "high", "n"],
    )


BARE = (0.1, 0.9, 0.1, 0.02, 0.95, 0.4)
POPULAR = (0.0, 0.0, 0.31, 0.107, float("nan"), 0.06)
CLOSED = (0.0, 0.1, 0.2, 0.06, 0.97, 0.5)


def test_the_headline_is_a_row_a_system_in_the_order_given():
    table = shown.headline_table(headline(none=BARE, closed_form=CLOSED, popularity=POPULAR))
    assert table["defence"].tolist() == ["no defence", "closed form", "popularity"]
    assert table.columns.tolist()[3:] == list(shown.COLUMNS.values())
    assert table.iloc[2].tolist()[3:] == ["0.000", "0.000", "0.310", "0.107", "–", "0.060"]


def test_an_answer_is_that_of_the_executed_notebook_of_the_paper_s_size_where_there_is_one(project):
    assert shown.answer("04") == "–"
    for profile in ("quick", "paper"):
        texts = ["a table", ["**Answer.**\n", "\n", f"- {profile}"], "**Answer.** of another"]
        outputs = [{"data": {"text/markdown": text}} for text in texts]
        cells = [{"cell_type": "markdown"}, {"outputs": [{"text": "printed"}, *outputs]}]
        (project / "results" / profile).mkdir()
        path = project / "results" / profile / "04_x.ipynb"
        path.write_text(json.dumps({"cells": cells}))
        assert shown.answer("04") == f"- {profile}"
    (path.parent / "05_x.failed.ipynb").write_text(path.read_text())
    assert shown.answer("05") == "–"
