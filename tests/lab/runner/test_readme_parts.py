"""What README shows of the results, from tables whose answer is known."""

import json

import pandas as pd
import pytest

from rvdlib.lab.errors import StudyError
from rvdlib.lab.runner import ledger, readme, verdicts

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
    shown = readme.shown_headline(headline(none=BARE, closed_form=CLOSED, popularity=POPULAR))
    assert shown["defence"].tolist() == ["no defence", "closed form", "popularity"]
    assert shown.columns.tolist()[3:] == list(readme.COLUMNS.values())
    assert shown.iloc[2].tolist()[3:] == ["0.000", "0.000", "0.310", "0.107", "–", "0.060"]
    lines = readme.headline_table(headline(none=BARE)).splitlines()
    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1


def test_levels_are_told_as_shares_of_users_with_their_intervals():
    RVD = (0.0, 0.4567, 0.05, 0.01, 0.95, 0.4)
    (said,) = readme.levels(headline(none=BARE, RVD=RVD, popularity=POPULAR)).splitlines()
    assert "without an attack 10.0% of users" in said
    assert "attacked 90.0% [90.0%, 90.0%]. Under RVD it is 45.7% [45.7%, 45.7%]" in said
    assert "HR@50 goes from 0.100 to 0.050" in said
    assert said.endswith("has 0.0% [0.0%, 0.0%] at HR@50 0.310.")


def test_what_is_left_of_the_lift_and_what_it_costs_are_two_tables_of_the_same_rows():
    where = ("yelp", "rating", "unpopular")
    left = [(*where, "the paper's", "RVD", "lift left", 0.3, 0.2, 0.4, 3)]
    left += [(*where, "stronger", "RVD", "lift left", 0.9, 0.8, 1.0, 3)]
    left += [(*where, "the paper's", "popularity", "lift left", None, None, None, 0)]
    names = ["dataset", "regime", "target_set", "kind", "defense", "metric"]
    remains = pd.DataFrame(left, columns=[*names, "value", "low", "high", "n"])
    accurate = pd.DataFrame(
        [
            (*where[:2], victim, defense, metric, value, 3)
            for victim in ("MF", "NSVD")
            for defense in ("none", "RVD", "popularity")
            for metric, value in (
                ("hit_ratio", 0.125),
                ("list_length", 1 + 49 * (defense != "RVD")),
            )
        ],
        columns=["dataset", "regime", "victim", "defense", "metric", "value", "n"],
    )
    shares, hits = readme.by_dataset(remains, accurate).split("\n\n")
    assert shares.splitlines()[2].startswith("| yelp, rating | 3 | 0.30 ± 0.10 | – |")
    assert "| no lift |" in shares
    assert hits.splitlines()[2].startswith("| yelp, rating | 0.125 | 0.125 (1 item) | – |")


def test_an_answer_is_that_of_the_executed_notebook_of_the_paper_s_size_where_there_is_one(project):
    assert readme.answer("04") == "–"
    for profile in ("quick", "paper"):
        texts = ["a table", ["**Answer.**\n", "\n", f"- {profile}"], "**Answer.** of another"]
        outputs = [{"data": {"text/markdown": text}} for text in texts]
        cells = [{"cell_type": "markdown"}, {"outputs": [{"text": "printed"}, *outputs]}]
        (project / "results" / profile).mkdir()
        path = project / "results" / profile / "04_x.ipynb"
        path.write_text(json.dumps({"cells": cells}))
        assert readme.answer("04") == f"- {profile}"
    (path.parent / "05_x.failed.ipynb").write_text(path.read_text())
    assert readme.answer("05") == "–"


def test_a_claim_is_shown_with_the_range_of_its_parts_and_its_verdict(project):
    for profile in ("quick", "paper"):
        (project / "results" / profile).mkdir()
    row = dict.fromkeys(ledger.PART) | {"id": "C13", "low": 0.1, "high": 0.3}
    parts = [
        row | {"value": v, "verdict": w, "n_seeds": n}
        for v, w, n in ((0.2, "undecided", 3), (0.25, "reproduced", 10))
    ]
    pd.DataFrame(parts).to_csv(project / "results" / "quick" / "04_claims.csv", index=False)
    for profile in ("quick", "paper"):
        ledger.assemble(profile)
    lines = verdicts.claims_table().splitlines()
    assert len(lines) == 2 + 17
    (depth,) = (line for line in lines if line.startswith("| C13 "))
    said = "*partly* (1 reproduced, 1 undecided, 3 to 10 seeds), 0.200 to 0.250, [04](results/quick/04_"
    assert said in depth
    pd.DataFrame(parts[:1]).to_csv(project / "results" / "paper" / "04_claims.csv", index=False)
    ledger.assemble("paper")
    (depth,) = (line for line in verdicts.claims_table().splitlines() if line.startswith("| C13 "))
    assert "0.200 [0.100, 0.300]" in depth
    assert "results/paper/" in depth


def test_the_verdict_on_each_data_set_stands_by_itself(project):
    (project / "results" / "quick").mkdir()
    row = dict.fromkeys(ledger.PART) | {"id": "C5", "n_seeds": 3, "overall": "partly"}
    parts = [
        row | {"dataset": dataset, "regime": regime, "value": value, "verdict": verdict}
        for dataset, regime, value, verdict in (
            ("ml-100k", "rating", 0.1, "not reproduced"),
            ("yelp", "rating", 0.5, "reproduced"),
            ("ml-100k", "ranking", 0.2, "undecided"),
        )
    ]
    pd.DataFrame(parts).to_csv(project / "results" / "quick" / "10_claims.csv", index=False)
    ledger.assemble("quick")
    (said,) = (line for line in verdicts.claims_table().splitlines() if line.startswith("| C5 "))
    first, second = said.split("<br>")
    counts = "(1 not reproduced, 1 undecided, 3 seeds)"
    assert f"ml-100k: *not reproduced* {counts}, 0.100 to 0.200, [10]" in first
    assert second.startswith("yelp: *reproduced* (1 reproduced, 3 seeds), 0.500, [10]")
    said = verdicts.summary().splitlines()
    where = "0.3 in the rating regime (1 of 2; contrary 1), 0.2 in the ranking regime (0 of 1; contrary 0)"
    assert said[2:4] == [
        "- **Mixed** (1 of 17):",
        f"  - {ledger.claims()['C5'].claim} (C5): share of the lift removed {where}.",
    ]
    assert said[4].startswith("- **Not measured** (16 of 17):")


def test_theorems_that_we_stated_are_counted_apart(project):
    (project / "results" / "quick").mkdir()
    row = dict.fromkeys(ledger.PART) | {"n_seeds": 3, "regime": "rating", "value": 0.0}
    shown = {"C9": "holds as restated", "C7": "reproduced"}
    for number, name in (("08", "C9"), ("06", "C7")):
        part = row | {"id": name, "verdict": shown[name]}
        pd.DataFrame([part]).to_csv(
            project / "results" / "quick" / f"{number}_claims.csv", index=False
        )
    ledger.assemble("quick")
    heads = [line for line in verdicts.summary().splitlines() if line.startswith("- ")]
    assert heads[0] == "- **Reproduced** (1 of 17):"
    assert heads[1].startswith(
        "- **Holds as restated** (1 of 17; the paper's theorems were not at hand"
    )


def test_a_claim_on_timings_is_shown_with_its_milliseconds(project):
    folder = project / "results" / "quick"
    folder.mkdir()
    row = dict.fromkeys(ledger.PART) | {"id": "C6", "n_seeds": 0, "verdict": "not reproduced"}
    pd.DataFrame([row]).to_csv(folder / "12_claims.csv", index=False)
    ledger.assemble("quick")
    times = folder / "12_serving_timings_caching.csv"
    for columns, said in (
        ({"ratio": [30, 50]}, "in its tables"),
        (
            {"ratio": [30, 50], "rvd_cpu_ms": [0.3, 0.75], "undefended_cpu_ms": [0.01, 0.015]},
            "30 to 50 times as long, 0.30 to 0.75 ms against 0.010 to 0.015 ms",
        ),
    ):
        pd.DataFrame({"regime": ["rating", "ranking"]} | columns).to_csv(times, index=False)
        (line,) = (each for each in verdicts.claims_table().splitlines() if "| C6 " in each)
        assert f"(1 not reproduced), {said}, [12]" in line


def test_what_stands_between_the_markers_is_replaced_and_nothing_else(project, monkeypatch):
    path = project / "README.md"
    marked = "".join(
        f"<!-- {m}: made by x -->\nold\n<!-- end of {m} -->\nkept\n"
        for m in ("answer", "claims", "headline")
    )
    path.write_text(f"before\n{marked}after\n")
    monkeypatch.setattr(
        readme, "generated", lambda: dict.fromkeys(("answer", "claims", "headline"), "new\nlines")
    )
    readme.update(path)
    assert path.read_text() == f"before\n{marked.replace('old', 'new' + chr(10) + 'lines')}after\n"
    assert readme.between(path.read_text(), "claims") == "new\nlines"
    path.write_text(marked.replace("<!-- end of claims -->", ""))
    with pytest.raises(StudyError, match=r"README has no line <!-- claims: .*<!-- end of claims"):
        readme.update(path)


def test_a_table_that_is_missing_is_named_and_nothing_is_written(project):
    (project / "README.md").write_text("as it was")
    with pytest.raises(StudyError, match=r"neither .*paper/headline\.csv nor .*: run rvd study"):
        readme.update(project / "README.md")
    assert (project / "README.md").read_text() == "as it was"
