"""What 14 says, from timings that are known."""

import pandas as pd

from rvdlib.lab.benchmark.rivals import KEY
from rvdlib.lab.study import timings

COSTS = pd.DataFrame(
    [
        ("ml-100k", "rating", "MF", "none", 0.5, 0.012, 1.0, 1.0),
        ("ml-100k", "rating", "MF", "APT", 4.0, 0.012, 8.0, 1.0),
        ("ml-100k", "ranking", "MF", "RVD", 2.0, 5.13, 1.0, 427.5),
    ],
    columns=[*KEY, "train_seconds", "ms_per_user", "training", "serving"],
)


def test_the_answer_is_of_the_first_catalogue_and_names_the_slowest():
    times = pd.DataFrame(
        {
            "dial": dial,
            "items": items,
            "group": group,
            "form": form,
            "ms_per_user": ms * factor * slower,
        }
        for dial, items, factor in (("items", 1682, 1), ("k", 1682, 7), ("items", 9000, 5))
        for group, form, ms in (
            ("many", "undefended", 0.02),
            ("many", "closed_form", 0.1),
            ("many", "engine", 1.5),
            ("few", "closed_form", 0.3),
            ("few", "engine", 1.7),
            ("few", "plain_loop", 284.0),
        )
        for slower in (0.5, 1, 3)  # the median over rounds is shown
    )
    trials = pd.DataFrame(
        {
            "system": ["MF", "CDAE"],
            "dataset": "ml-100k",
            "regime": ["rating", "ranking"],
            "train_seconds": [2.0, 30.0],
            "peak_mib": [1500.0, 900.0],
        }
    )
    keys = pd.MultiIndex.from_tuples([("rating", "clone"), ("rating", "revadv")])
    crafting = pd.DataFrame({"mean": [0.1, 12.0]}, index=keys)
    said = timings.answer(times, trials, COSTS, crafting).splitlines()[2:]
    serving, training, rivals, attack = said
    assert "1,682 items cost 0.02 ms undefended, 0.1 ms in closed form, 1.5 ms under RVD" in serving
    assert serving.endswith("and 280 ms by the plain loop.")
    assert "longer than 30 CPU seconds (CDAE, ml-100k, ranking regime)" in training
    assert "more than 1,500 MiB" in training
    assert "*APT* trains longest, 8 times as long as the undefended victim (rating" in rivals
    assert "*RVD* serves slowest, 5.1 CPU ms a user (ranking regime)" in rivals
    assert "is revadv, 12 CPU seconds on average (rating regime)" in attack


def test_costs_stand_beside_what_the_rivals_hold_in_the_same_profile(results):
    without = timings.beside_what_they_hold(COSTS, "tiny")
    assert without["NDCG@50"].tolist() == ["–"] * 3
    held = [
        ("unpopular", "MF", "APT", "target_hit_ratio", 0.25),
        ("unpopular", "MF", "APT", "ndcg", 0.2),
        ("unpopular", "NSVD", "none", "ndcg", 0.9),
    ]
    table = pd.DataFrame(held, columns=["target_set", "victim", "defense", "metric", "mean"])
    table.insert(0, "regime", "rating")
    table.insert(0, "dataset", "ml-100k")
    (results / "tiny").mkdir()
    table.to_csv(results / "tiny" / "10_rivals.csv", index=False)
    found = timings.beside_what_they_hold(COSTS, "tiny")
    assert found.loc["ml-100k", "rating", "MF", "APT"].tolist() == [
        "4",
        "8",
        "0.012",
        "1",
        "0.250",
        "0.200",
    ]
    assert found.loc["ml-100k", "rating", "MF", "none"].tolist()[-2:] == ["–", "–"]
