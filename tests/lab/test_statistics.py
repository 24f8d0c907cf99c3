import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.lab.statistics import (
    BETTER,
    hierarchical_interval,
    holm,
    interval_of,
    p_above,
    paired,
    paired_difference,
    rank_correlation,
    summarise,
    t_interval,
)


def test_the_interval_is_that_of_the_textbook():
    # Mean 2, standard deviation 1, t(2) = 4.3027 at 97.5 %.
    mean, low, high, n = t_interval([1, 2, 3])
    assert (mean, n) == (2, 3)
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


@given(
    st.sampled_from(["target_hit_ratio", "rho", "rmse", "lift"]),
    st.lists(st.floats(0, 1), min_size=2, max_size=5),
)
def test_the_interval_of_a_metric_is_the_part_that_is_within_its_range(metric, values):
    whole, found = t_interval(values), interval_of(metric, values)
    least = {"target_hit_ratio": 0, "rho": -1, "rmse": 0}.get(metric, -np.inf)
    most = {"target_hit_ratio": 1, "rho": 1}.get(metric, np.inf)
    ends = max(least, whole.low), min(most, whole.high)
    assert found == (whole.mean, *ends, whole.n)


def hits_of(rng, n_seeds):
    """Rows of one system: a level that a seed adds, one of each target, and 400 users for each."""
    level = rng.normal(0.5, 0.08, size=(n_seeds, 1)) + rng.normal(0, 0.08, size=(n_seeds, 5))
    hits = rng.binomial(400, np.clip(level, 0, 1))
    users = [[400] * 5] * n_seeds
    return pd.DataFrame(
        {"seed": range(n_seeds), "target_hits": hits.tolist(), "target_users": users}
    )


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_over_seeds_targets_and_users_covers_at_least_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    covered = 0
    for trial in range(100):
        found = hierarchical_interval(hits_of(rng, n), n_resamples=300, seed=trial)
        covered += found.low <= 0.5 <= found.high
    assert covered / 100 >= 0.92


def test_the_hierarchical_mean_is_the_target_hit_ratio_and_cells_of_a_seed_count_alike():
    rows = pd.DataFrame(
        {
            "seed": [0, 0, 1, 1],
            "target_hits": [[10, 20], [0, 0], [30, 40], [50, 50]],
            "target_users": [[100, 50], [100, 50], [100, 50], [100, 0]],
        }
    )
    found = hierarchical_interval(rows)
    by_seed = [(0.1 + 0.4) / 4, ((0.3 + 0.8) / 2 + 0.5) / 2]  # who cannot be served does not count
    assert found.mean == pytest.approx(np.mean(by_seed))
    assert found.low < found.mean < found.high
    assert found == hierarchical_interval(rows)
    alone = hierarchical_interval(rows[rows["seed"] == 0])
    assert (alone.n, np.isnan(alone.low)) == (1, True)


@pytest.mark.parametrize("n", [15, 40])
def test_where_only_seeds_differ_the_hierarchical_interval_is_that_over_seeds(n):
    """Targets of a seed are alike, and there are users without number: neither adds anything."""
    ratios, many = np.random.default_rng(n).uniform(0.3, 0.7, size=n), 10**9
    hits = [[round(many * ratio)] * 5 for ratio in ratios]
    rows = {"seed": range(n), "target_hits": hits, "target_users": [[many] * 5] * n}
    found, expected = hierarchical_interval(pd.DataFrame(rows)), t_interval(ratios)
    assert found.mean == pytest.approx(expected.mean)
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.06)


@pytest.mark.parametrize(("hits", "users"), [([0, 10**9] * 5, 10**9), ([50] * 10, 100)])
def test_where_seeds_are_alike_targets_and_users_still_widen_the_hierarchical_interval(hits, users):
    """Half of ten targets is in every list, the others in none; or each is in half of 100 lists."""
    n, trials = 20, 10 if 0 in hits else 10 * users
    rows = {"seed": range(n), "target_hits": [hits] * n, "target_users": [[users] * 10] * n}
    found = hierarchical_interval(pd.DataFrame(rows))
    error = np.sqrt(0.25 / trials / (n - 1))
    reach = scipy.stats.t.ppf(0.975, n - 1) * error
    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.2)


def test_every_cell_of_a_seed_counts_in_the_hierarchical_interval():
    many = 10**9
    rows = {
        "seed": np.repeat(range(5), 2),
        "target_hits": [[0] * 5, [many] * 4 + [0]] * 5,
        "target_users": [[many] * 4 + [0]] * 10,  # the last target cannot be served to anybody
    }
    assert hierarchical_interval(pd.DataFrame(rows)) == pytest.approx((0.5, 0.5, 0.5, 5), abs=1e-3)


def test_one_value_has_a_mean_and_no_interval_and_none_has_neither():
    assert t_interval([0.3]) == pytest.approx((0.3, np.nan, np.nan, 1), nan_ok=True)
    assert t_interval([]) == pytest.approx((np.nan, np.nan, np.nan, 0), nan_ok=True)
    assert t_interval([np.nan, 0.3])[3] == 1
    assert np.isnan(interval_of("target_hit_ratio", [0.2])[1:3]).all()
    assert t_interval([0.1] * 5) == pytest.approx((0.1, 0.1, 0.1, 5))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(-1, 1))
def test_a_test_and_the_interval_say_the_same_of_a_threshold(values, threshold):
    interval = t_interval(values)
    if (
        np.ptp(values) < 1e-6
        or min(abs(interval.low - threshold), abs(interval.high - threshold)) < 1e-6
    ):
        return
    assert (p_above(values, threshold) < 0.025) == (interval.low > threshold)
    assert (p_above(-np.array(values), -threshold) < 0.025) == (interval.high < threshold)


def test_the_test_agrees_with_scipy_and_needs_two_values():
    values = [0.3, 0.1, 0.25, 0.2]
    expected = scipy.stats.ttest_1samp(values, 0.15, alternative="greater").pvalue
    assert p_above(values, 0.15) == pytest.approx(expected)
    assert np.isnan(p_above([0.3], 0.1))


@pytest.mark.parametrize(
    ("value", "inclusive", "p"),
    [(0.3, False, 0), (0.1, False, 1), (0.2, False, 1), (0.2, True, 0), (0.1, True, 1)],
)
def test_values_without_spread_leave_no_doubt(value, inclusive, p):
    assert p_above([value] * 3, 0.2, inclusive) == p


def test_holm_is_that_of_the_textbook():
    found = holm([0.01, 0.04, 0.03, np.nan, 0.005])
    assert found == pytest.approx([0.03, 0.06, 0.06, np.nan, 0.02], nan_ok=True)
    assert holm([0.6, 0.7]).tolist() == [1, 1]


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
    assert (table.high - table.low).max() < 0.02
    unpaired = summarise(cells, by=["victim", "defense"], values=["hit_ratio"])
    assert (unpaired.high - unpaired.low).min() > 0.1


def test_seeds_without_a_partner_are_left_out_and_counted(cells):
    lonely = cells[~((cells.defense == "none") & (cells.seed < 2) & (cells.victim == "mf"))]
    table = paired_difference(
        lonely, column="defense", baseline="none", by=["victim"], values=["hit_ratio"]
    )
    assert table[table.victim == "mf"].n.tolist() == [2, 2]
    assert table[table.victim == "cdae"].n.tolist() == [4, 4]


def test_what_does_not_pair_and_a_missing_baseline_are_refused(cells):
    arguments = {"column": "defense", "by": ["victim"], "values": ["hit_ratio"]}
    with pytest.raises(ValueError, match="no row has defense = 'nothing'"):
        paired_difference(cells, baseline="nothing", **arguments)
    twice = pd.concat([cells, cells[(cells.seed == 0) & (cells.defense == "rvd")]])
    with pytest.raises(ValueError, match="cannot pair hit_ratio on seed 0: 2 and 1 rows"):
        paired_difference(twice, baseline="none", **arguments)


@pytest.mark.parametrize(("metric", "better"), [("hit_ratio", -0.2), ("rmse", 0.2)])
def test_an_improvement_is_positive_whichever_way_is_better(cells, metric, better):
    renamed = cells.rename(columns={"hit_ratio": metric})
    table = paired_difference(
        renamed, column="defense", baseline="none", by=["victim"], values=[metric], improvement=True
    )
    found = table.loc[table["defense"] == "rvd", "mean"]
    assert found.tolist() == pytest.approx([better] * 2, abs=0.005)
    assert BETTER[metric] == (-1 if metric == "rmse" else 1)


def test_pairs_average_a_seed_first_and_may_be_relative(cells):
    mf = cells[cells.victim == "mf"]
    sides = mf[mf.defense == "rvd"], mf[mf.defense == "none"]
    twice = [pd.concat([side, side.assign(hit_ratio=side["hit_ratio"] + 0.2)]) for side in sides]
    assert paired(*twice, "hit_ratio").tolist() == pytest.approx(
        paired(*sides, "hit_ratio").tolist()
    )
    base = sides[1].set_index("seed")["hit_ratio"]
    change = paired(*sides, "hit_ratio", relative=True)
    assert change.tolist() == pytest.approx((paired(*sides, "hit_ratio") / base).tolist())


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_rank_correlation_is_spearmans_ties_and_all(pairs):
    one, other = np.array(pairs, dtype=float).T
    found = rank_correlation([*one, np.nan, 3], [*other, 1, np.nan])  # pairs that are not defined
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(scipy.stats.spearmanr(one, other).statistic)


def test_two_pairs_have_no_rank_correlation():
    assert np.isnan(rank_correlation([1, 2], [3, 4]))


def test_of_nothing_there_is_no_relative_change():
    level, base = (
        pd.DataFrame({"seed": [0, 1], "hit_ratio": values}) for values in ([0.1, 0.3], [0.0, 0.2])
    )
    change = paired(level, base, "hit_ratio", relative=True)
    assert np.isnan(change[0])
    assert change[1] == pytest.approx(0.5)
