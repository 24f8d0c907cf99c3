import numpy as np
import pandas as pd
import pytest

from rvdlib.evaluation import Evaluation
from rvdlib.lab.statistics import (
    bootstrap_interval,
    paired_difference,
    summarise,
    user_sample_interval,
)


def test_the_interval_agrees_with_the_normal_one_where_that_holds():
    values = np.random.default_rng(0).normal(10, 2, size=400)
    mean, low, high, n = bootstrap_interval(values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert (mean, n) == (pytest.approx(values.mean()), 400)
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(400):
        _, low, high, _ = bootstrap_interval(rng.normal(size=40), n_resamples=400, seed=trial)
        covered += low <= 0 <= high
    # Binomial around 0.93 to 0.95, standard deviation 0.013.
    assert 0.90 < covered / 400 < 0.98


def test_one_value_has_a_mean_and_no_interval_and_none_has_neither():
    assert bootstrap_interval([0.3]) == pytest.approx((0.3, np.nan, np.nan, 1), nan_ok=True)
    assert bootstrap_interval([]) == pytest.approx((np.nan, np.nan, np.nan, 0), nan_ok=True)
    assert bootstrap_interval([np.nan, 0.3])[3] == 1


def test_constant_values_have_an_interval_of_one_point():
    assert bootstrap_interval([0.1] * 5) == (0.1, 0.1, 0.1, 5)


def test_the_same_values_always_have_the_same_interval():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


@pytest.fixture
def cells():
    """Two victims, two defences and none, four seeds; seeds differ much, defences little."""
    rng = np.random.default_rng(0)
    rows = []
    for victim in ("mf", "cdae"):
        for seed in range(4):
            level = rng.normal(0.5, 0.3)
            for defense, effect in (("none", 0.0), ("rvd", -0.2), ("pca", 0.1)):
                ratio = level + effect + rng.normal(0, 0.001)
                rows.append((victim, defense, seed, ratio, np.nan if seed == 3 else ratio**2))
    return pd.DataFrame(rows, columns=["victim", "defense", "seed", "hit_ratio", "ndcg"])


def test_summarise_gives_one_tidy_row_per_group_and_metric(cells):
    table = summarise(cells, by=["victim", "defense"], values=["hit_ratio", "ndcg"])
    assert list(table.columns) == ["victim", "defense", "metric", "mean", "low", "high", "n"]
    assert len(table) == 2 * 3 * 2
    row = table[(table.victim == "mf") & (table.defense == "rvd") & (table.metric == "hit_ratio")]
    values = cells[(cells.victim == "mf") & (cells.defense == "rvd")].hit_ratio
    assert row["mean"].item() == pytest.approx(values.mean())
    assert row["low"].item() < values.mean() < row["high"].item()
    assert table[table.metric == "ndcg"].n.tolist() == [3] * 6


def test_summarise_keeps_groups_whose_key_is_missing(cells):
    cells["attack"] = None
    assert len(summarise(cells, by=["attack"], values=["hit_ratio"])) == 1


def test_pairing_over_seeds_takes_out_what_seeds_share(cells):
    shuffled = cells.sample(frac=1, random_state=0)
    table = paired_difference(
        shuffled, column="defense", baseline="none", by=["victim"], values=["hit_ratio"]
    )
    assert sorted(zip(table.victim, table.defense, strict=True)) == [
        ("cdae", "pca"),
        ("cdae", "rvd"),
        ("mf", "pca"),
        ("mf", "rvd"),
    ]
    effect = table.defense.map({"rvd": -0.2, "pca": 0.1})
    assert (table["mean"] - effect).abs().max() < 0.005
    assert (table.high - table.low).max() < 0.01
    unpaired = summarise(cells, by=["victim", "defense"], values=["hit_ratio"])
    assert (unpaired.high - unpaired.low).min() > 0.1


def test_seeds_without_a_partner_are_left_out_and_counted(cells):
    lonely = cells[~((cells.defense == "none") & (cells.seed < 2) & (cells.victim == "mf"))]
    table = paired_difference(
        lonely, column="defense", baseline="none", by=["victim"], values=["hit_ratio"]
    )
    assert table[table.victim == "mf"].n.tolist() == [2, 2]
    assert table[table.victim == "cdae"].n.tolist() == [4, 4]


def test_pairs_that_cannot_be_told_apart_and_a_missing_baseline_are_refused(cells):
    arguments = {"column": "defense", "by": ["victim"], "values": ["hit_ratio"]}
    with pytest.raises(ValueError, match="no row has defense = 'nothing'"):
        paired_difference(cells, baseline="nothing", **arguments)
    with pytest.raises(ValueError, match="cannot pair on 'seed'"):
        paired_difference(cells, baseline="none", **(arguments | {"by": []}))


@pytest.fixture
def evaluation():
    """400 users: about a third hit their test item; five targets, hit by a tenth."""
    rng = np.random.default_rng(0)
    raters = rng.random((400, 5)) < 0.1
    target_ranks = np.where(raters, np.inf, rng.integers(1, 501, size=(400, 5)))
    test_ranks = rng.integers(1, 151, size=400).astype(float)
    return Evaluation(
        50, np.arange(400), np.arange(5), target_ranks, raters, test_ranks, rng.random(400)
    )


def test_the_interval_of_a_sample_of_users_agrees_with_the_binomial(evaluation):
    share = evaluation.hit_ratio
    mean, low, high, n = user_sample_interval(evaluation, "hit_ratio")
    half = 1.96 * np.sqrt(share * (1 - share) / 400)
    assert (mean, n) == (share, 400)
    assert low == pytest.approx(share - half, abs=0.15 * half)
    assert high == pytest.approx(share + half, abs=0.15 * half)


def test_a_sample_costs_less_the_more_of_the_users_it_holds(evaluation):
    def width(population):
        interval = user_sample_interval(evaluation, "target_hit_ratio", population=population)
        return interval.high - interval.low

    assert width(533) == pytest.approx(0.5 * width(None), rel=0.01)
    assert width(400) == 0
    with pytest.raises(ValueError, match="at least the 400 users"):
        width(399)


def test_an_undefined_metric_has_an_undefined_interval(evaluation):
    evaluation.test_ranks[:] = np.nan
    assert np.isnan(user_sample_interval(evaluation, "ndcg")[:3]).all()
