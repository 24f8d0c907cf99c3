"""What each heuristic attack does beyond the budget that all share."""

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.attacks import craft
from rvdlib.attacks.profiles import by_popularity, item_moments
from rvdlib.threat_model import ThreatModel

LEVELS = np.arange(1, 6, dtype=np.float32)


def threat_of(dense, *, targets=(0,), n_fakes=200, filler_size=2):
    return ThreatModel(
        sp.csr_matrix(np.array(dense, dtype=np.float32)),
        np.array(targets),
        n_fakes,
        filler_size,
        LEVELS,
    )


def rated(profiles, item):
    values = profiles[:, [item]].toarray().ravel()
    return values[values > 0]


@pytest.mark.parametrize(("name", "options"), [("random", {}), ("bandwagon", {"n_popular": 1})])
def test_random_fillers_follow_the_global_mean_and_deviation(name, options):
    rng = np.random.default_rng(0)
    dense = np.clip(np.round(rng.normal(3, 0.8, (40, 200))), 1, 5)
    threat = threat_of(dense, n_fakes=100, filler_size=100)
    # Bandwagon's popular item is the first that is no target.
    fillers = craft(name, threat, rng, **options)[:, 2:].data
    assert fillers.mean() == pytest.approx(dense.mean(), abs=0.03)
    assert fillers.std() == pytest.approx(dense.std(), abs=0.06)


def test_random_and_average_fillers_come_from_all_items_that_are_not_targets():
    dense = np.zeros((3, 40))
    dense[:, :4] = [[1, 3, 5, 2], [2, 4, 5, 1], [3, 3, 4, 4]]
    threat = threat_of(dense, targets=(1, 7), n_fakes=400, filler_size=10)
    for name in ("random", "average"):
        counts = np.diff(craft(name, threat, np.random.default_rng(1)).tocsc().indptr)
        others = np.delete(counts, threat.targets)
        assert counts[threat.targets].tolist() == [400, 400]
        # 400 profiles, 10 of 38 items each: binomial, standard deviation below 9.
        assert np.abs(others - 400 * 10 / 38).max() < 45


def test_average_spreads_ratings_by_the_standard_deviation_not_by_the_mean():
    # Item 1 is always 3 (deviation 0); a deviation of 3, its mean, would scatter it over the scale.
    dense = [[0, 3, 1], [0, 3, 5], [0, 3, 1], [0, 3, 5]]
    profiles = craft("average", threat_of(dense), np.random.default_rng(0))
    assert set(rated(profiles, 1)) == {3}
    assert set(rated(profiles, 2)) == {1, 2, 3, 4, 5}


def test_average_centres_on_the_mean_of_the_item():
    dense = [[0, 1, 5], [0, 2, 4], [0, 1, 5], [0, 2, 4]]
    profiles = craft("average", threat_of(dense), np.random.default_rng(0))
    assert rated(profiles, 1).mean() == pytest.approx(1.5, abs=0.15)
    assert rated(profiles, 2).mean() == pytest.approx(4.5, abs=0.15)


def test_item_moments_agree_with_numpy_and_fall_back_where_undefined():
    dense = np.array([[5, 3, 1, 0], [4, 1, 0, 0], [0, 2, 0, 0]], dtype=float)
    means, deviations = item_moments(threat_of(dense))
    every = dense[dense > 0]
    assert means.tolist() == pytest.approx([4.5, 2, 1, every.mean()])
    one, several = every.std(ddof=1), [np.std([5, 4], ddof=1), np.std([3, 1, 2], ddof=1)]
    assert deviations.tolist() == pytest.approx([*several, one, one])


def test_bandwagon_pays_for_popular_items_out_of_the_filler_budget():
    # Popularity falls with the index; item 0, the most popular, is the target.
    dense = np.triu(np.full((30, 30), 2.0)).T
    threat = threat_of(dense, n_fakes=20, filler_size=10)
    profiles = craft("bandwagon", threat, np.random.default_rng(0), n_popular=4)
    assert (np.diff(profiles.indptr) == 1 + 10).all()
    assert (profiles[:, [1, 2, 3, 4]].toarray() == 5).all()
    assert set(profiles[:, 5:].data) == {2}


def test_bandwagon_with_fewer_fillers_than_popular_items_takes_the_most_popular():
    dense = np.triu(np.full((30, 30), 2.0)).T
    profiles = craft("bandwagon", threat_of(dense, filler_size=3), np.random.default_rng(0))
    assert set(profiles.indices) == {0, 1, 2, 3}


def test_equally_popular_items_stand_in_item_order():
    counts = np.random.default_rng(0).integers(0, 4, size=500)
    dense = (np.arange(4)[:, None] < counts) * 3
    expected = sorted(range(1, 500), key=lambda item: (-counts[item], item))
    assert by_popularity(threat_of(dense)).tolist() == expected


def test_segment_rates_the_largest_audience_set_high_and_the_rest_lowest():
    # Items 1-3 are most rated, but a 3 of 5 is no liking; 4-6 are liked together; users 8, 9 rated
    # the target.
    dense = np.zeros((10, 12))
    dense[:, 1:4] = 3
    dense[:5, 4:7] = 4
    dense[5:8, [4, 8]] = 5
    dense[8:, 0] = 1
    dense[:, 7] = [0, 0, 0, 0, 0, 0, 0, 5, 5, 5]
    profiles = craft(
        "segment", threat_of(dense, n_fakes=10, filler_size=6), np.random.default_rng(0)
    ).toarray()
    assert (profiles[:, [0, 4, 5, 6]] == 5).all()
    others = np.delete(profiles, [0, 4, 5, 6], axis=1)
    assert set(others[others > 0]) == {1}


def test_segment_audience_leaves_out_those_who_rated_a_target():
    # Six users like items 1 and 2 but rated the target; four like 3 and 4.
    dense = np.zeros((10, 8))
    dense[:6, [0, 1, 2]] = 5
    dense[6:, [3, 4]] = 5
    profiles = craft(
        "segment", threat_of(dense, filler_size=2), np.random.default_rng(0), segment_size=2
    )
    assert set(profiles.indices) == {0, 3, 4}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bandwagon", {"n_popular": 0}, "n_popular must be at least 1"),
        ("segment", {"segment_size": 0}, "segment_size must be at least 1"),
        ("segment", {"pool_size": 2}, "pool_size must be at least segment_size"),
        ("average", {"sigma": 1}, "no option 'sigma'"),
        ("avarage", {}, "attack must be one of random, average"),
    ],
)
def test_unusable_options_are_refused_by_name(name, options, message):
    with pytest.raises(ValueError, match=message):
        craft(name, threat_of(np.ones((2, 5))), np.random.default_rng(0), **options)
