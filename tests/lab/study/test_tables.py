import math

import pandas as pd
import pytest

from rvdlib.lab.runner.unchanged import TABLE
from rvdlib.lab.study import tables
from rvdlib.lab.study.datasets import describe, split_dataset


def test_a_saved_table_comes_back_with_six_digits_and_no_index(results):
    frame = pd.DataFrame({"name": ["a, b", "é"], "value": [1 / 3, math.nan], "n": [1, 2]})
    tables.save(frame, "tiny", "table")
    assert (results / "tiny" / "table.csv").read_text() == (
        'name,value,n\n"a, b",0.333333,1\né,,2\n'
    )


def test_a_table_that_says_the_same_within_its_tolerance_keeps_its_bytes(results):
    kept = {}
    for name in ("03_summary", "06_summary"):
        for value in (0.5, 0.501):
            tables.save(pd.DataFrame({"value": [0.25, value]}), "tiny", name)
        kept[name] = (results / "tiny" / f"{name}.csv").read_text()
    assert kept == {"03_summary": "value\n0.25\n0.501\n", "06_summary": "value\n0.25\n0.5\n"}


def test_a_table_that_stays_is_written_all_the_same_for_the_records_of_the_run(results):
    frame = pd.DataFrame({"value": [0.5]})
    tables.save(frame, "tiny", "03_summary")
    before = (results / "tiny" / "03_summary.csv").stat()
    tables.save(frame + 1e-6, "tiny", "03_summary")
    assert (results / "tiny" / "03_summary.csv").stat().st_ino != before.st_ino


def test_a_map_is_drawn_as_it_was_where_the_victim_is_the_same(results):
    people = pd.DataFrame({"kind": ["served", "none"], "x": [1.5, 2.0], "radius": [0.5, math.nan]})
    elsewhere = people.assign(x=-people["x"])
    for new, kept in (
        (people, people),
        (elsewhere, people),
        (elsewhere.assign(radius=[0.50001, math.nan]), people),
        (elsewhere.assign(radius=[0.51, math.nan]), elsewhere.assign(radius=[0.51, math.nan])),
    ):
        pd.testing.assert_frame_equal(tables.kept(new, "tiny", "03_user_map"), kept)


def test_small_changes_do_not_add_up(results):
    for n in range(100):
        tables.save(pd.DataFrame({"value": [0.5 + n * TABLE / 2]}), "tiny", "03_summary")
        value = pd.read_csv(results / "tiny" / "03_summary.csv")["value"].item()
        assert value == pytest.approx(0.5 + n * TABLE / 2, abs=1.01 * TABLE)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.12345, 0.1, 0.2), "0.123 [0.100, 0.200]"),
        ((0.12345, math.nan, math.nan), "0.123"),
        ((math.nan, math.nan, math.nan), "–"),
        ((-0.5, -0.6, 0.0), "-0.500 [-0.600, 0.000]"),
    ],
)
def test_an_interval_is_shown_where_there_is_one(values, text):
    assert tables.format_interval(*values) == text
    row = pd.DataFrame([values], columns=["mean", "low", "high"], index=[7])
    assert tables.with_interval(row).to_dict() == {7: text}


def test_a_wide_table_keeps_the_order_of_rows_and_columns():
    rows = pd.DataFrame(
        [
            ("MF", "none", "ndcg", 0.2),
            ("MF", "none", "hit_ratio", 0.4),
            ("MF", "clone", "ndcg", 0.1),
            ("MF", "clone", "hit_ratio", 0.3),
            ("CDAE", "none", "ndcg", 0.5),
        ],
        columns=["victim", "attack", "metric", "mean"],
    ).assign(low=math.nan, high=math.nan)
    table = tables.wide(rows, ["victim", "attack"], "metric", decimals=1)
    assert list(table.index) == [("MF", "none"), ("MF", "clone"), ("CDAE", "none")]
    assert list(table.columns) == ["ndcg", "hit_ratio"]
    assert table.loc[("MF", "clone")].tolist() == ["0.1", "0.3"]
    assert table.loc[("CDAE", "none"), "ndcg"] == "0.5"


def test_facts_are_rows_with_readable_names_one_column_a_data_set():
    frame = pd.DataFrame(
        [
            {"dataset": "a", "users": 1234, "density": 0.06304, "top_share": 0.5},
            {"dataset": "b", "users": 5, "density": 0.004, "top_share": 1.0},
        ]
    )
    table = tables.facts(frame)
    assert table.columns.tolist() == ["a", "b"]
    assert table.loc["users"].tolist() == ["1,234", "5"]
    assert table.loc["density"].tolist() == ["6.30%", "0.40%"]
    assert len(table) == 3


def test_every_fact_that_is_measured_has_a_name(ml100k):
    facts = pd.DataFrame([describe(split_dataset("ml-100k", 0))])
    assert set(facts) == {"dataset", *tables.FACTS}
    assert tables.facts(facts).loc["filler size F = ⌊ratings / users⌋", "ml-100k"] == "106"


def test_demands_say_what_is_asked_in_which_direction_and_whether_it_holds():
    found = pd.DataFrame(
        [
            ("ml-100k", "rating", "MF", "rmse_holdout", 0.9071, 0.91, False, True),
            ("ml-100k", "ranking", "MF", "hit_ratio", 0.52, 0.57, False, False),
            ("yelp", "rating", "MF", "rmse_holdout", 1.1, math.nan, False, pd.NA),
            ("yelp", "ranking", "MF", "hit_ratio", 0.2, 0.1, True, True),
        ],
        columns=["dataset", "regime", "system", "metric", "mean", "bound", "strict", "holds"],
    ).assign(low=math.nan, high=math.nan)
    found["holds"] = found["holds"].astype("boolean")
    table = tables.demands(found)
    assert table["asked"].tolist() == ["≤ 0.910", "≥ 0.570", "–", "> 0.100"]
    assert table["reached"].tolist() == ["0.907", "0.520", "1.100", "0.200"]
    assert table["holds"].tolist() == ["yes", "NO", "not asked", "yes"]
    assert table.index.tolist() == ["ml-100k", "ml-100k", "yelp", "yelp"]


@pytest.mark.parametrize(
    ("values", "form", "shown"),
    [
        ([0.3, 0.1, 0.2], "{:.3f}", "0.100 to 0.300"),
        ([0.1], "{:.3f}", "0.100"),
        ([0.1001, 0.1002], "{:.3f}", "0.100"),
        ([9, 10, 100], "{:g}", "9 to 100"),  # numbers are sorted, not texts
        ([], "{:.3f}", "–"),
    ],
)
def test_a_span_goes_from_the_least_to_the_most(values, form, shown):
    assert tables.span(pd.Series(values, dtype=float), form) == shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0.034, "better by 3.4 %"), (-0.1, "worse by 10.0 %")]
)
def test_a_change_says_whether_it_is_for_the_better(share, shown):
    assert tables.change(share) == shown


def test_an_answer_is_a_list_without_what_is_not_said():
    assert tables.answer("One.", "", "Two.") == "**Answer.**\n\n- One.\n- Two."
