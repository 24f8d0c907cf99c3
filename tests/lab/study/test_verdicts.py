"""Verdicts on the paper's claims, against frames whose answer is plain."""

import numpy as np
import pandas as pd
import pytest

from rvdlib.lab.statistics import Interval
from rvdlib.lab.study import verdicts
from rvdlib.lab.study.verdicts import judge

FORM = "RVD"


def interval(mean, low, high):
    return Interval(mean, low, high, 3)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (interval(0.3, 0.25, 0.4), "reproduced"),
        (interval(0.3, 0.2, 0.4), "reproduced"),  # the bound itself is reached
        (interval(0.3, 0.1, 0.4), "partly"),
        (interval(0.2, 0.2, 0.2), "reproduced"),
        (interval(0.19, 0.1, 0.4), "not reproduced"),
        (interval(-1, -2, 0.4), "not reproduced"),
        (interval(0.3, np.nan, np.nan), "partly"),  # one seed has no interval
        (interval(np.nan, np.nan, np.nan), "not measured"),
    ],
)
def test_a_threshold_is_reached_by_the_interval_by_the_mean_or_not(found, verdict):
    assert judge(found, 0.2) == verdict


def cells(
    regime="rating", thr=None, reduction=None, seeds=(0, 1, 2), target_set="random", **defended
):
    """Four victims under one attack, undefended and defended; victim → THR, victim → reduction."""
    victims = ("MF", "NSVD", "AutoRec", "CDAE")
    thr = thr or dict.fromkeys(victims, 0.5)
    reduction = reduction or dict.fromkeys(victims, 0.4)
    bare = {"hit_ratio": 0.5, "ndcg": 0.2, "rmse": 1.0}
    return pd.DataFrame(
        [
            {
                "regime": regime,
                "target_set": target_set,
                "victim": victim,
                "attack": attack,
                "defense": defense,
                "seed": seed,
                "target_hit_ratio": thr[victim],
                "reduction": 0.0 if defense == "none" else reduction[victim],
                **bare,
                **{f"{name}_undefended": value for name, value in bare.items()},
                **(defended if defense != "none" else {}),
            }
            for victim in victims
            for attack in ("none", "average")
            for defense in ("none", FORM)
            for seed in seeds
        ]
    )


def verdict_of(rows, claim):
    found = verdicts.claims(rows).set_index("claim")
    return found.loc[claim, "verdict"]


def test_each_claim_stands_once_for_each_setting_and_form():
    rows = pd.concat([cells("rating"), cells("rating", target_set="unpopular")])
    rows = pd.concat([rows, rows[rows["defense"] == FORM].assign(defense="another")])
    found = verdicts.claims(rows)
    assert found["claim"].tolist() == ["C1"] * 4 + ["C2"] * 4 + ["C3"] * 2 + ["C4"] * 4
    assert not found.duplicated(["claim", "target_set", "defense"]).any()
    assert set(found.loc[found["claim"] == "C3", "defense"]) == {"none"}


@pytest.mark.parametrize(
    ("reduction", "verdict"),
    [(0.2, "reproduced"), (0.19, "not reproduced"), (np.nan, "not measured")],
)
def test_the_reduction_is_held_to_a_fifth(reduction, verdict):
    rows = cells(reduction=dict.fromkeys(("MF", "NSVD", "AutoRec", "CDAE"), reduction))
    assert verdict_of(rows, "C1") == verdict


def test_a_reduction_that_seeds_disagree_on_is_partly_reproduced():
    rows = cells()
    rows.loc[(rows["seed"] == 0) & (rows["defense"] == FORM), "reduction"] = 0.0
    assert verdict_of(rows, "C1") == "partly"  # 0.4, 0.4, 0: mean 0.27


def test_no_clean_cell_enters_a_verdict():
    rows = cells()
    spoiled = rows.copy()
    clean = spoiled["attack"] == "none"
    spoiled.loc[clean, ["reduction", "target_hit_ratio", "hit_ratio", "ndcg", "rmse"]] = 99
    pd.testing.assert_frame_equal(verdicts.claims(rows), verdicts.claims(spoiled))


@pytest.mark.parametrize(
    ("defended", "verdict"),
    [
        ({}, "reproduced"),
        ({"hit_ratio": 0.48, "rmse": 1.04}, "reproduced"),
        ({"hit_ratio": 0.9, "ndcg": 0.9, "rmse": 0.1}, "reproduced"),
        ({"rmse": 1.06}, "partly"),  # less is better, and this is more
        ({"hit_ratio": 0.4}, "partly"),
        ({"hit_ratio": 0.4, "ndcg": 0.1, "rmse": 2.0}, "not reproduced"),
    ],
)
def test_accuracy_is_maintained_if_no_metric_worsens_by_a_twentieth(defended, verdict):
    assert verdict_of(cells(**defended), "C2") == verdict


def test_the_change_of_accuracy_is_shown_with_its_sign():
    found = verdicts.claims(cells(hit_ratio=0.45, rmse=1.2)).set_index("claim")
    assert found.loc["C2", "measured"] == "HR -10%, NDCG +0%, RMSE +20%"


@pytest.mark.parametrize(
    ("deep", "shallow", "verdict"),
    [(0.2, 0.5, "reproduced"), (0.5, 0.2, "not reproduced")],
)
def test_deep_victims_are_claimed_to_be_hit_less_and_helped_more(deep, shallow, verdict):
    values = {"MF": shallow, "NSVD": shallow, "AutoRec": deep, "CDAE": deep}
    assert verdict_of(cells(thr=values), "C3") == verdict
    opposite = {victim: 1 - value for victim, value in values.items()}
    assert verdict_of(cells(reduction=opposite), "C4") == verdict


@pytest.mark.parametrize("victims", [["MF", "NSVD"], ["AutoRec"]])
def test_a_comparison_without_one_side_is_not_measured(victims):
    rows = cells()
    rows = rows[rows["victim"].isin(victims)]
    found = verdicts.claims(rows).set_index("claim")
    assert found.loc[["C3", "C4"], "verdict"].tolist() == ["not measured"] * 2
    assert found.loc[["C3", "C4"], "measured"].tolist() == ["–"] * 2
    assert found.loc["C1", "verdict"] == "reproduced"
