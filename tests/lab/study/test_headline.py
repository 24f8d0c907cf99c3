"""The answer of 03, from levels that are known."""

import pandas as pd
import pytest

from rvdlib.lab.runner.shown import COLUMNS
from rvdlib.lab.study import headline

BARE, POPULAR = (0.1, 0.9, 0.1, 0.02, 0.95, 0.4), (0.0, 0.0, 0.31, 0.107, float("nan"), 0.06)
CLOSED, PAPER = (0.0, 0.1, 0.2, 0.06, 0.97, 0.5), (0.1, 0.5, 0.15, 0.03, 0.97, 0.5)


def levels(systems, regime="rating", targets="unpopular"):
    """System → its six levels."""
    return pd.DataFrame(
        [
            (regime, targets, name, metric, value, value, value, 3)
            for name, values in systems.items()
            for metric, value in zip(COLUMNS, values, strict=True)
        ],
        columns=["regime", "target_set", "defense", "metric", "mean", "low", "high", "n"],
    )


DEFENDED = {"none": BARE, "RVD": PAPER, "closed form": CLOSED}


def test_each_regime_is_a_sentence_of_all_its_targets_and_robustness_stands_beside_accuracy():
    other = {**DEFENDED, "RVD": (0.1, 0.3, 0.25, 0.03, 0.97, 0.5)}
    rows = [levels(DEFENDED), levels(other, targets="random"), levels(other, "ranking", "random")]
    _, _, rating, ranking = headline.answer(pd.concat(rows)).splitlines()
    assert rating == (
        "- In the rating regime the attacks raise the THR@50 of undefended victims from 0.100 to 0.900 "
        "(unpopular targets), and under RVD to 0.500, under the closed form to 0.100, and from 0.100 to "
        "0.900 (random targets), and under RVD to 0.300, under the closed form to 0.100; HR@50 goes from "
        "0.100 to 0.200 under RVD and to 0.200 under the closed form."
    )
    assert ranking.startswith("- In the ranking regime")


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        (CLOSED, "the undefended victim, RVD, closed form."),
        ((0, 0.1, 0.4, 0.06, 1, 1), "the undefended victim, RVD."),  # a better HR
        ((0, -0.1, 0.2, 0.06, 1, 1), "the undefended victim, RVD."),  # a lower THR
    ],
)
def test_popularity_is_said_to_be_better_where_it_is_in_both(closed, said):
    rows = levels({**DEFENDED, "closed form": closed, "popularity": POPULAR})
    last = headline.answer(rows).splitlines()[-1]
    assert "have THR@50 0.000 and HR@50 0.310, both better than those of: " + said in last


def test_a_reader_sees_a_row_a_system_in_the_order_given_with_intervals():
    table = headline.shown(levels({**DEFENDED, "popularity": POPULAR}))
    assert [key[2] for key in table.index] == [*DEFENDED, "popularity"]
    assert list(table.columns) == list(COLUMNS.values())
    assert table["HR@50"].iloc[0] == "0.100 [0.100, 0.100]"
    assert table["RMSE"].iloc[-1] == "–"
