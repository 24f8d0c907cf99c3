"""The attacks made against neighbours, and their forebear, each against its own definition."""

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.attacks import craft, poison
from rvdlib.attacks.center import by_weight
from rvdlib.attacks.centroid import rounded_at_random
from rvdlib.attacks.groups import most_rated, tally
from rvdlib.attacks.light_hubs import lightest
from rvdlib.attacks.popular_in_cluster import clustered
from rvdlib.attacks.power_user import most_similar, similarity
from rvdlib.attacks.profiles import item_moments
from rvdlib.attacks.sources import cover, hubs
from rvdlib.attacks.surrogate import Surrogate
from rvdlib.attacks.vicinity import neighbors_in
from rvdlib.data import leave_one_out, round_to_levels
from rvdlib.neighbors import NeighborSearch
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel, build_threat_model, draw_targets

TARGETS = np.array([3, 40])
N_VISIBLE, N_FAKES, N_FILLERS = 90, 15, 12
LEVELS = np.arange(1, 6, dtype=np.float32)


@pytest.fixture(scope="module")
def threat(split):
    return build_threat_model(
        split,
        TARGETS,
        stream(0, "threat"),
        attack_size=N_FAKES / 150,
        filler_size=N_FILLERS,
        visible_share=N_VISIBLE / 150,
    )


def fillers(profiles):
    """(m, F) items and their stars."""
    dense = profiles.toarray()
    dense[:, TARGETS] = 0
    items = np.array([np.flatnonzero(row) for row in dense])
    return items, np.take_along_axis(dense, items, axis=1)


def of_few_users(dense, *, n_fakes=4, filler_size=3, targets=(0,)):
    visible = sp.csr_matrix(np.array(dense, dtype=np.float32))
    return ThreatModel(visible, np.array(targets), n_fakes, filler_size, LEVELS)


# Center


@pytest.mark.parametrize("lowered", [0.0, 0.25, 1.0])
def test_without_noise_a_center_fake_rates_items_at_their_means_lowered(threat, lowered):
    items, stars = fillers(craft("center", threat, stream(0), noise=0.0, lowered=lowered))
    means, _ = item_moments(threat)
    assert np.array_equal(stars, round_to_levels(means[items] - 4 * lowered, LEVELS))


def test_noise_spreads_the_ratings_of_one_item():
    """An item of mean 3, rated by every fake: its rounded ratings have mean 3 and the noise's spread."""
    threat = of_few_users([[0, 2], [0, 4]], n_fakes=4000, filler_size=1)
    stars = craft("center", threat, stream(0), noise=0.2, lowered=0.0).toarray()[:, 1]
    assert stars.mean() == pytest.approx(3, abs=0.05)
    # Noise 0.2 · 4 stars; rounding adds a twelfth.
    assert stars.var() == pytest.approx(0.8**2 + 1 / 12, rel=0.1)


def test_fillers_of_the_center_are_drawn_by_popularity_the_unrated_last():
    weights = np.array([0, 6, 3, 1, 0])
    drawn = np.array([by_weight(stream(0, str(n)), weights) for n in range(4000)])
    assert set(map(tuple, np.sort(drawn[:, :3], axis=1).tolist())) == {(1, 2, 3)}
    assert np.bincount(drawn[:, 0]) / 4000 == pytest.approx([0, 0.6, 0.3, 0.1], abs=0.03)
    assert np.mean(drawn[:, 3] == 0) == pytest.approx(0.5, abs=0.03)
    second = drawn[drawn[:, 0] == 1, 1]
    assert np.mean(second == 2) == pytest.approx(0.75, abs=0.03)


# Shrunk clones


@pytest.mark.parametrize(("shrinkage", "lowered"), [(1.0, 0.0), (0.35, 0.25), (0.0, 0.0)])
def test_a_shrunk_clone_is_the_clone_of_the_same_stream_nearer_to_the_means(
    threat, shrinkage, lowered
):
    items, own = fillers(craft("clone", threat, stream(0)))
    options = {"shrinkage": shrinkage, "lowered": lowered}
    shrunk_items, stars = fillers(craft("shrunk_clone", threat, stream(0), **options))
    assert np.array_equal(items, shrunk_items)
    means = item_moments(threat)[0][items]
    expected = shrinkage * own + (1 - shrinkage) * means - 4 * lowered
    # Where a sum is exactly between two levels, another order of adding may round it otherwise.
    middle = np.isclose(expected % 1, 0.5, rtol=0, atol=1e-9)
    assert np.array_equal(stars[~middle], round_to_levels(expected, LEVELS)[~middle])
    assert middle.mean() < 0.05


# Groups


def test_a_group_is_tallied_by_count_and_mean_and_ties_go_to_the_popular():
    dense = [[0, 1, 0, 4, 0, 0], [0, 2, 0, 0, 5, 0], [3, 3, 0, 0, 0, 0], [0, 0, 0, 0, 2, 0]]
    threat = of_few_users(dense)
    counts, means = tally(threat, [0, 1])
    assert counts.tolist() == [0, 2, 0, 1, 1, 0]
    everybody = np.array(dense)[np.array(dense) > 0].mean()
    assert means.tolist() == [3, 1.5, everybody, 4, 5, everybody]
    orders = {tuple(most_rated(threat, counts, stream(n)).tolist()) for n in range(20)}
    assert orders == {(1, 4, 3, 2, 5), (1, 4, 3, 5, 2)}


def test_centroids_are_the_means_of_a_covering_user_and_the_nearest(threat):
    options = {"group_size": 8, "n_groups": 4}
    items, stars = fillers(craft("centroid", threat, stream(0), **options))
    surrogate = Surrogate.train(
        threat, stream(0), embedding_size=16, unobserved_weight=0.0, reg=0.04, sweeps=20
    )
    lists = neighbors_in(surrogate, 7)
    visible = threat.visible.toarray()
    first = cover(lists, np.arange(N_VISIBLE), 4)
    for fake in range(N_FAKES):
        user = first[fake % 4]
        group = visible[[user, *lists[user]]]
        counts = (group > 0).sum(axis=0)
        counts[TARGETS] = 0
        least = np.sort(counts)[-N_FILLERS]
        assert set(np.flatnonzero(counts > least)) <= set(items[fake])
        assert counts[items[fake]].min() == least > 0
        means = group[:, items[fake]].sum(axis=0) / counts[items[fake]]
        assert (np.abs(stars[fake] - means) < 1).all()


def test_random_rounding_keeps_the_mean_and_the_scale():
    levels = np.array([0.5, 1, 4], dtype=np.float32)
    stars = np.array([0.0, 0.5, 0.6, 1.0, 2.0, 4.0, 9.0])
    drawn = rounded_at_random(np.tile(stars, (4000, 1)), levels, stream(0))
    assert drawn.mean(axis=0) == pytest.approx([0.5, 0.5, 0.6, 1, 2, 4, 4], abs=0.06)
    assert [np.unique(column).tolist() for column in drawn.T[[2, 3, 4]]] == [[0.5, 1], [1], [1, 4]]


def two_kinds(n_fakes, filler_size):
    """Fourteen users who rate items 1 to 10, and six who rate 11 to 20, the first of these most."""
    rng, dense = stream(0, "kinds"), np.zeros((20, 21))
    for user in range(20):
        first = 1 if user < 14 else 11
        chosen = first + np.append(np.arange(5), 5 + rng.permutation(5)[:3])
        dense[user, chosen] = 2 if user < 14 else 4
    return of_few_users(dense, n_fakes=n_fakes, filler_size=filler_size)


def test_clusters_are_users_with_the_same_items_the_largest_first():
    members = clustered(two_kinds(4, 5), 2, stream(0))
    assert [rows.tolist() for rows in members] == [list(range(14)), list(range(14, 20))]


@pytest.mark.parametrize("swapped", [0.0, 0.2, 1.0])
def test_a_fake_has_the_most_rated_items_of_a_cluster_but_for_those_swapped(swapped):
    options = {"n_clusters": 2, "swapped": swapped, "lowered": 0.25}
    profiles = craft("popular_in_cluster", two_kinds(4, 5), stream(0), **options).toarray()
    for fake, row in enumerate(profiles):
        first, stars = (1, 1) if fake % 2 == 0 else (11, 3)
        items = np.flatnonzero(row)[1:]
        assert set(items) <= set(range(first, first + 10))
        assert (items < first + 5).sum() == 5 - round(5 * swapped)
        assert set(row[items]) == {stars}


def test_a_cluster_that_rated_too_little_is_filled_up_with_popular_items_and_swaps_what_it_can():
    options = {"n_clusters": 2, "swapped": 1.0, "lowered": 0.0}
    profiles = craft("popular_in_cluster", two_kinds(2, 12), stream(0), **options).toarray()
    assert set(range(1, 11)) < set(np.flatnonzero(profiles[0]))
    assert set(range(11, 21)) < set(np.flatnonzero(profiles[1]))


# Light hubs


def test_light_users_are_the_share_with_the_fewest_ratings_and_whoever_has_as_few():
    visible = sp.csr_matrix(np.tri(5, 9, 1, dtype=np.float32)[[4, 0, 2, 0, 3]])  # 6, 2, 4, 2, 5
    assert lightest(visible, 0.2).tolist() == [1, 3]
    assert lightest(visible, 0.5).tolist() == [1, 2, 3]
    assert lightest(visible, 1.0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("raised", [0.25, 0.0, -0.5])
def test_light_hubs_are_clones_of_light_users_who_enter_most_light_lists(threat, raised):
    told = {"k": 6, "hubness_reduction": "local_scaling", "quantile": 0.5, "copies": 3}
    items, stars = fillers(craft("light_hubs", threat, stream(0), raised=raised, **told))
    surrogate = Surrogate.train(
        threat, stream(0), embedding_size=16, unobserved_weight=0.0, reg=0.04, sweeps=20
    )
    light = lightest(threat.visible, 0.5)
    lists = NeighborSearch(surrogate.users[light, 1:-1], 6, hubness_reduction="local_scaling")
    visible = threat.visible.toarray()
    rated = np.count_nonzero(np.delete(visible[light], TARGETS, axis=1), axis=1)
    enough = np.flatnonzero(rated >= N_FILLERS + 2)
    assert 5 < len(enough) < len(light) < 0.6 * N_VISIBLE
    sources = np.repeat(light[cover(lists(np.arange(len(light))), enough, 5)], 3)
    own = np.take_along_axis(visible[sources], items, axis=1)
    assert (own > 0).all()
    assert np.array_equal(stars, round_to_levels(own + 4 * raised, LEVELS))
    assert len(np.unique(items, axis=0)) == N_FAKES


def test_where_no_light_user_rated_enough_the_fakes_are_of_light_users_all_the_same():
    """Users 0 and 1 are light: what they lack is filled up. User 2 has enough, and is not copied."""
    dense = [[0, 2, 0, 0, 0, 0], [0, 0, 3, 0, 0, 0], [0, 4, 4, 4, 4, 4]]
    options = {"quantile": 0.5, "copies": 1, "raised": 0.0}
    profiles = craft("light_hubs", of_few_users(dense), stream(0), **options).toarray()
    assert ((profiles[:, 1] == 2) | (profiles[:, 2] == 3)).all()


# Light group


def test_a_light_group_fake_has_what_light_users_rated_most_by_popularity_s_power(threat):
    visible = threat.visible.toarray() > 0
    lengths = visible.sum(axis=1)
    light = visible[lengths <= np.quantile(lengths, 0.4)]
    popularity = visible.sum(axis=0)
    for power in (0.0, 0.5, 3.0):
        options = {"quantile": 0.4, "power": power, "level": 0.75}
        items, stars = fillers(craft("light_group", threat, stream(0), **options))
        assert (items == items[0]).all()
        assert (stars == 4).all()
        shared = light.sum(axis=0) / (popularity + 10) ** power
        shared[TARGETS] = -1
        assert shared[items[0]].min() >= np.delete(shared, [*items[0], *TARGETS]).max()


@pytest.mark.parametrize("size", [2, 4, 9])
def test_its_group_are_the_users_nearest_to_whom_the_nearest_are_nearest(threat, size):
    visible = threat.visible.toarray() > 0
    lengths, popularity = visible.sum(axis=1), visible.sum(axis=0)
    rows = visible[lengths <= np.median(lengths)] / np.sqrt(popularity + 1)
    rows[:, TARGETS] = 0
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    away = 1 - unit @ unit.T
    order = np.argsort(away, axis=1)[:, :size]
    group = order[np.argmin(np.sort(away, axis=1)[:, :size].mean(axis=1))]
    shared = (rows[group] > 0).sum(axis=0)
    items, _ = fillers(craft("light_group", threat, stream(0), size=size))
    assert shared[items[0]].min() >= np.delete(shared, [*items[0], *TARGETS]).max()


def test_a_group_larger_than_all_light_users_is_all_of_them(threat):
    here, there = (craft("light_group", threat, stream(0), size=size) for size in (None, 900))
    assert (here != there).nnz == 0


def test_it_stands_in_more_lists_of_overlap_than_the_most_rated_items_of_clusters(ml100k):
    """What it is for, on real data: half as many again, among the neighbours of those who rated little."""
    split = leave_one_out(ml100k, stream(0, "split"))
    targets = draw_targets(split, "unpopular", stream(0, "targets"))
    threat = build_threat_model(split, targets, stream(0, "threat"), filler_size=40)
    n_real, light = split.train.shape[0], lightest(split.train, 0.5)
    there = {}
    for name in ("light_group", "popular_in_cluster"):
        train = poison(split, craft(name, threat, stream(0)))
        lists = NeighborSearch(None, 100, "profile_overlap", ratings=train)(light)
        there[name] = (lists >= n_real).mean()
    assert there["light_group"] > 1.5 * there["popular_in_cluster"] > 0


# Power users


def test_similarity_is_pearson_s_over_what_both_rated_and_less_for_few_items(threat):
    visible = threat.visible.toarray().astype(float)
    found = similarity(threat.visible[:20], threat.visible)
    assert found.shape == (20, N_VISIBLE)
    defined = 0
    for a in range(20):
        for b in range(N_VISIBLE):
            both = (visible[a] > 0) & (visible[b] > 0)
            x, y = visible[a, both], visible[b, both]
            expected = 0.0
            if both.any() and x.std() > 0 and y.std() > 0:
                defined += 1
                expected = np.corrcoef(x, y)[0, 1] * min(both.sum(), 50) / 50
            assert found[a, b] == pytest.approx(expected, abs=1e-12)
    assert defined > 500


def test_the_most_similar_are_found_in_blocks_and_nobody_is_their_own(threat, monkeypatch):
    whole = most_similar(threat.visible, 7)
    monkeypatch.setattr("rvdlib.attacks.power_user.ROWS", 32)
    assert np.array_equal(most_similar(threat.visible, 7), whole)
    table = similarity(threat.visible, threat.visible)
    for user, row in enumerate(table):
        others = sorted(set(range(N_VISIBLE)) - {user}, key=lambda other: (-row[other], other))
        assert whole[user].tolist() == others[:7]


def test_power_users_are_copied_as_they_rate_those_of_highest_in_degree_first(threat):
    items, stars = fillers(craft("power_user", threat, stream(0), k=7))
    visible = threat.visible.toarray()
    others = np.delete(np.arange(threat.n_items), TARGETS)
    enough = np.flatnonzero((visible[:, others] > 0).sum(axis=1) >= N_FILLERS)
    order = hubs(most_similar(threat.visible, 7), enough, N_FAKES)
    for source, of_fake, rated in zip(order, items, stars, strict=True):
        assert np.array_equal(visible[source, of_fake], rated)


def test_what_optimisation_could_amplify_is_the_same_for_permuted_users(threat):
    """Whom power users are does not hang on the order of sums, but for ties."""
    order = stream(0, "order").permutation(N_VISIBLE)
    here, there = (similarity(rows, rows) for rows in (threat.visible, threat.visible[order]))
    assert np.array_equal(here[np.ix_(order, order)], there)


# Options


@pytest.mark.parametrize(
    ("name", "option", "other"),
    [
        ("center", "lowered", 0.5),
        ("center", "noise", 0.3),
        ("shrunk_clone", "shrinkage", 0.9),
        ("shrunk_clone", "lowered", 0.5),
        ("centroid", "group_size", 5),
        ("centroid", "n_groups", 3),
        ("centroid", "distance", "cosine"),
        ("centroid", "hubness_reduction", "local_scaling"),
        ("centroid", "lowered", 0.25),
        ("centroid", "sweeps", 2),
        ("centroid", "embedding_size", 5),
        ("centroid", "unobserved_weight", 0.1),
        ("centroid", "reg", 0.1),
        ("popular_in_cluster", "n_clusters", 3),
        ("popular_in_cluster", "swapped", 0.5),
        ("popular_in_cluster", "lowered", 0.0),
        ("light_hubs", "k", 5),
        ("light_hubs", "distance", "cosine"),
        ("light_hubs", "hubness_reduction", "local_scaling"),
        ("light_hubs", "quantile", 0.6),
        ("light_hubs", "copies", 2),
        ("light_hubs", "raised", -0.25),
        ("light_hubs", "sweeps", 2),
        ("light_hubs", "embedding_size", 5),
        ("light_hubs", "unobserved_weight", 0.1),
        ("light_hubs", "reg", 0.1),
        ("light_group", "quantile", 0.2),
        ("light_group", "size", 5),
        ("light_group", "power", 1.0),
        ("light_group", "level", 0.5),
        ("power_user", "k", 3),
    ],
)
def test_every_option_matters(threat, name, option, other):
    here, there = (craft(name, threat, stream(0), **given) for given in ({}, {option: other}))
    assert (here != there).nnz > 0
