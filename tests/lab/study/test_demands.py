import itertools
import math

import pandas as pd
import pytest

from rvdlib.lab.study import demands
from rvdlib.lab.study.demands import METRICS

COLUMNS = ["dataset", "regime", "system", "kind", "metric", "mean"]


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Bounds of our own, for one data set."""
    file = tmp_path / "good.yml"
    file.write_text(
        "rmse_holdout: {here: {MF: 0.9}}\nhit_ratio: {here: {MF: 0.5}}\ntrain_seconds: {}\n"
    )
    monkeypatch.setattr(demands, "DEMANDS_FILE", file)


def measured(*rows):
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.assign(low=math.nan, high=math.nan, n=1)


def victim(dataset, regime, metric, mean):
    return (dataset, regime, "MF", "victim", metric, mean)


def popularity(dataset, hit_ratio):
    return (dataset, "ranking", "popularity", "reference", "hit_ratio", hit_ratio)


@pytest.mark.parametrize(("mean", "holds"), [(0.89, True), (0.9, True), (0.90001, False)])
def test_rmse_may_be_at_most_what_is_asked(asked, mean, holds):
    (row,) = demands.demands(measured(victim("here", "rating", "rmse_holdout", mean))).itertuples()
    assert (row.bound, row.holds) == (0.9, holds)


@pytest.mark.parametrize(
    ("mean", "popular", "bound", "holds"),
    [
        (0.51, 0.3, 0.5, True),
        (0.5, 0.3, 0.5, True),
        (0.49, 0.3, 0.5, False),
        (0.55, 0.6, 0.6, False),  # what is asked is reached, and popularity is better
        (0.6, 0.6, 0.6, False),  # popularity is to be beaten
        (0.61, 0.6, 0.6, True),
    ],
)
def test_hit_ratio_must_reach_what_is_asked_and_beat_popularity(asked, mean, popular, bound, holds):
    rows = measured(victim("here", "ranking", "hit_ratio", mean), popularity("here", popular))
    (row,) = demands.demands(rows).itertuples()
    assert (row.bound, row.holds) == (bound, holds)


def test_where_nothing_is_asked_popularity_of_that_data_set_is_the_floor_and_rmse_is_shown(asked):
    rows = measured(
        victim("there", "rating", "rmse_holdout", 3.0),
        victim("there", "ranking", "hit_ratio", 0.2),
        popularity("there", 0.1),
        popularity("here", 0.9),
    )
    found = demands.demands(rows).set_index("metric")
    assert math.isnan(found.loc["rmse_holdout", "bound"])
    assert found.loc["rmse_holdout", "holds"] is pd.NA
    assert found.loc["hit_ratio", "bound"] == 0.1
    assert found.loc["hit_ratio", "holds"]


def test_a_regime_is_judged_by_its_own_metric_alone(asked):
    rows = measured(
        *(
            victim("here", regime, metric, 0.5)
            for regime, metric in itertools.product(("rating", "ranking"), METRICS)
        )
    )
    found = demands.demands(rows)
    assert set(zip(found["regime"], found["metric"], strict=True)) == {
        ("rating", "rmse_holdout"),
        ("ranking", "hit_ratio"),
    }


def test_summary_holds_everybody_on_the_data_sets_measured_the_rating_regime_first(tmp_path):
    row = dict.fromkeys(METRICS, 0.5)
    peers = pd.DataFrame(
        [
            row | {"dataset": "here", "regime": "rating", "system": "SVD", "seed": 0},
            row | {"dataset": "elsewhere", "regime": "rating", "system": "SVD", "seed": 0},
        ]
    )
    peers.to_csv(tmp_path / "peers.csv", index=False)
    rows = pd.DataFrame(
        [
            row | {"dataset": "here", "regime": "ranking", "system": system, "seed": 0}
            for system in ("MF", "popularity")
        ]
        + [
            row
            | {"dataset": "here", "regime": "rating", "system": "MF", "seed": seed, "rmse": seed}
            for seed in (0, 1)
        ]
    )
    summary = demands.summary(rows, tmp_path / "peers.csv")
    assert set(summary["dataset"]) == {"here"}
    rmse = summary[summary["metric"] == "rmse"]
    assert rmse[["regime", "system", "kind", "mean"]].to_numpy().tolist() == [
        ["rating", "MF", "victim", 0.5],
        ["rating", "SVD", "peer", 0.5],
        ["ranking", "MF", "victim", 0.5],
        ["ranking", "popularity", "reference", 0.5],
    ]
    reach = 12.7062 * 0.5  # t of two seeds
    expected = pytest.approx([0, 0.5 + reach], abs=1e-4)  # an RMSE is not below 0
    assert rmse.iloc[0][["low", "high"]].tolist() == expected


def test_what_is_asked_in_the_project_names_known_victims_metrics_and_data_sets():
    found = demands.demands(
        measured(
            *(
                (dataset, regime, system, "victim", metric, 0.0)
                for dataset in ("ml-100k", "ml-1m", "filmtrust", "yelp")
                for regime, metric in demands.JUDGED_BY.items()
                for system in ("MF", "NSVD", "AutoRec", "CDAE")
            )
        )
    )
    # RMSE of two data sets, HR@50 of two, four victims each.
    assert found["bound"].notna().sum() == 4 * (2 + 2)


def trained(*rows):
    return pd.DataFrame(rows, columns=["dataset", "regime", "system", "seed", "train_seconds"])


def test_training_of_the_victims_is_held_against_the_seconds_asked():
    found = demands.training_times(
        trained(
            ("ml-100k", "rating", "MF", 0, 5.0),
            ("ml-100k", "rating", "MF", 1, 6.0),
            ("ml-100k", "ranking", "MF", 0, 6.5),
            ("own.csv", "rating", "MF", 0, 1.0),
            ("ml-100k", "rating", "biases", 0, 9.0),
        )
    )
    assert found["mean"].tolist() == [5.5, 6.5, 1.0]
    assert found["bound"].tolist()[:2] == [6, 6]
    assert found["holds"].tolist() == [True, False, pd.NA]


def test_time_is_asked_of_every_victim_on_every_data_set():
    datasets, victims = ("ml-100k", "ml-1m", "filmtrust", "yelp"), ("MF", "NSVD", "AutoRec", "CDAE")
    rows = [(d, "rating", v, 0, 0.0) for d, v in itertools.product(datasets, victims)]
    assert demands.training_times(trained(*rows))["holds"].tolist() == [True] * 16


def test_published_figures_say_where_they_stand_and_how_they_were_measured():
    published = demands.published()
    assert published.notna().all(axis=None)
    assert not published.duplicated(["dataset", "system"]).any()
    assert published["rmse"].between(0.8, 1.0).all()
    assert set(published["dataset"]) <= {"ml-100k", "ml-1m"}


def trial(system, regime, seed, **figures):
    nothing = dict.fromkeys(METRICS, math.nan)
    return {
        "dataset": "here",
        "system": system,
        "regime": regime,
        "seed": seed,
        **nothing,
        **figures,
    }


def test_a_victim_that_is_beaten_on_one_seed_is_named_with_it_whatever_the_mean():
    rows = pd.DataFrame(
        [
            trial("biases", "rating", 0, rmse=1.0, rmse_holdout=1.0),
            trial("biases", "rating", 1, rmse=1.0, rmse_holdout=1.0),
            trial("popularity", "ranking", 0, hit_ratio=0.3, ndcg=0.1),
            trial("popularity", "ranking", 1, hit_ratio=0.3, ndcg=0.1),
            trial("MF", "rating", 0, rmse=0.5, rmse_holdout=0.9),
            trial("MF", "rating", 1, rmse=1.01, rmse_holdout=0.9),
            trial("MF", "ranking", 0, hit_ratio=0.29, ndcg=0.1),
            trial("MF", "ranking", 1, hit_ratio=0.28, ndcg=0.2),
            trial("NSVD", "rating", 1, rmse=1.0, rmse_holdout=1.02),
            trial("NSVD", "ranking", 1, hit_ratio=0.3, ndcg=0.09),
        ]
    )
    found = demands.beaten(rows).set_index(["system", "metric"])
    assert found["seeds"].to_dict() == {
        ("MF", "rmse"): [1],
        ("NSVD", "rmse_holdout"): [1],
        ("MF", "hit_ratio"): [0, 1],
        ("NSVD", "ndcg"): [1],
    }
    assert found["n"].tolist() == [2, 1, 2, 1]
    assert found["reference"].tolist() == ["biases", "biases", "popularity", "popularity"]
    assert demands.beaten(rows[rows["system"].isin(["biases", "popularity"])]).empty


def test_the_answer_names_what_is_missed_and_who_is_no_better_than_the_simplest(asked):
    rows = measured(
        victim("here", "rating", "rmse_holdout", 0.9),
        victim("here", "rating", "hit_ratio", 0.4),
        ("here", "rating", "NSVD", "victim", "rmse_holdout", 0.96),
        ("here", "rating", "NSVD", "victim", "hit_ratio", 0.1),
        ("here", "rating", "biases", "reference", "rmse_holdout", 0.95),
        victim("here", "ranking", "hit_ratio", 0.45),
        popularity("here", 0.3),
        ("here", "ranking", "EASE", "reference", "hit_ratio", 0.6),
    )
    held, rating, ranking = demands.answer(rows, demands.demands(rows), 2).splitlines()[2:]
    assert held == "- 1 of 2 demands hold; not held: MF (here, ranking regime)."
    assert "the RMSE of the victims is 0.90 to 0.96, that of biases alone 0.95" in rating
    assert "(no better than that: NSVD (here)); asked to rank, 1 of 2 beat" in rating
    assert ranking.endswith(
        "HR@50 is 0.45, that of the most popular items 0.30, that of EASE 0.60."
    )
