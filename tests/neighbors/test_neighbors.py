"""The search against brute force by definition, against its own float64 reference, and on hubs."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import skew

from rvdlib.data import leave_one_out
from rvdlib.models import NSVD
from rvdlib.neighbors import (
    DISTANCES,
    HUBNESS_REDUCTIONS,
    NeighborSearch,
    hubness_skewness,
    k_occurrence,
    spaces,
)
from rvdlib.neighbors import search as search_module
from rvdlib.seeding import stream

LATENT = [distance for distance in DISTANCES if distance != "profile_overlap"]
SCALABLE = [distance for distance in DISTANCES if distance != "inner_product"]


def search(vectors, rated, k, distance="euclidean", **choices):
    vectors = np.asarray(vectors, dtype=np.float32)
    ratings = sp.csr_matrix(np.asarray(rated, dtype=np.float32))
    return NeighborSearch(vectors, k, distance, ratings=ratings, **choices)


def brute_distance(x, y, distance):
    """From the definitions, one pair at a time, exactly summed."""
    if distance == "profile_overlap":
        return 1 - len(x & y) / len(x | y) if x | y else 1.0
    if distance in ("euclidean", "chord"):
        return math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
    return -math.fsum(a * b for a, b in zip(x, y, strict=True))


def brute_table(vectors, rated, distance):
    if distance == "profile_overlap":
        people = [set(np.flatnonzero(row).tolist()) for row in rated]
    else:
        people = np.asarray(vectors, dtype=np.float32).astype(float).tolist()
    if distance in ("cosine", "chord"):
        lengths = [math.hypot(*x) or 1 for x in people]
        people = [[c / length for c in x] for x, length in zip(people, lengths, strict=True)]
    silent = [not any(row) for row in rated]
    return [
        [math.inf if silent[v] else brute_distance(x, y, distance) for v, y in enumerate(people)]
        for x in people
    ]


def by_distance(distances, users, k):
    everyone = range(len(distances))
    return [
        sorted(set(everyone) - {u}, key=lambda v: (distances[u][v], v))[:k] for u in np.ravel(users)
    ]


def brute_force(vectors, rated, users, k, distance):
    return by_distance(brute_table(vectors, rated, distance), users, k)


def in_float64(vectors, users, k, distance):
    """The reference at real sizes: distances summed directly, one column after the other."""
    return np.argsort(_direct(vectors, users, distance), axis=1, kind="stable")[:, :k]


def scaled_in_float64(vectors, users, k, distance):
    """The same in the order of d² / s_v: for one user, that of d / √(s_u s_v)."""
    if distance == "cosine":
        vectors = spaces.directions(np.asarray(vectors, dtype=np.float64))
    squares = _direct(vectors, np.arange(len(vectors)), "euclidean")
    scale = np.sqrt(np.sort(squares, axis=1)[:, :k]).mean(axis=1)
    # Beside whom scales say nothing: after all others, the nearest first.
    values = squares[users] * (1 / np.maximum(scale, 2.0**-500))
    return np.argsort(values, axis=1, kind="stable")[:, :k]


def _direct(vectors, users, distance):
    x = np.asarray(vectors, dtype=np.float64)
    if distance == "cosine":
        x = spaces.directions(x)
    values = np.zeros((len(users), len(x)))
    for column in x.T:
        pairs = column[users, None] - column, -column[users, None] * column
        values += pairs[0] ** 2 if distance == "euclidean" else pairs[1]
    values[np.arange(len(users)), users] = np.inf
    return values


@st.composite
def crowds(draw):
    """Few users, many of them exact copies of others, some with a vector or profile of zeros."""
    n, d = draw(st.integers(2, 14)), draw(st.sampled_from([1, 3, 17]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    vectors = np.vstack([np.zeros(d), rng.standard_normal((n, d))])
    rated = np.vstack([np.zeros(6), rng.random((n, 6)) < 0.4])
    source = draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    return vectors[source].astype(np.float32), rated[source]


@settings(max_examples=40, deadline=None)
@given(crowd=crowds(), data=st.data())
@pytest.mark.parametrize("distance", DISTANCES)
def test_neighbours_are_those_of_brute_force_ties_and_all(distance, crowd, data):
    n = len(crowd[0])
    users = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n)))
    k = data.draw(st.integers(1, n - 1))
    found = search(*crowd, k, distance)(users)
    assert found.dtype == np.int64
    assert found.tolist() == brute_force(*crowd, users, k, distance)


def mixtures(rng, n, d):
    """Clusters of unequal size and width, off the origin."""
    centres = rng.standard_normal((7, d)) * rng.uniform(0.1, 3, (7, 1)) + 0.5
    own = rng.integers(0, 7, n) * (rng.random(n) < 0.8).astype(int)
    return centres[own] + rng.standard_normal((n, d)) * rng.uniform(0.01, 1, (n, 1))


def extremes(rng):
    """Vectors on which approximate distances say little or nothing, by name."""
    plain = rng.standard_normal((700, 16))
    lattice = rng.integers(0, 2, (700, 16)).astype(float)
    spread = plain * 10.0 ** rng.uniform(-12, 12, (700, 1))
    offset = plain.astype(np.float32) / 64 + np.float32(4096)
    outlier = np.vstack([plain, np.full((1, 16), 1e30)])
    return {
        "identical": np.repeat(plain[:3], 300, axis=0),
        "lattice": lattice,
        "offset": offset,
        "float64 offset": plain + 1e9,
        "norms apart": spread,
        "outlier": outlier,
        "denormal": (plain * 1e-40).astype(np.float32),
        "denormal beside one": np.vstack([plain * 1e-40, np.ones((1, 16))]).astype(np.float32),
        "huge": plain * 1e300,
        "tiny": plain * 1e-300,
        "underflow": np.vstack([spread[:300] * 1e-34, np.ones((1, 16))]),
        "far and near": np.vstack([plain[:500] / 100, plain[500:] * 1e4]),
        "zeros": np.vstack([plain[:300], np.zeros((300, 16))]),
        "all zeros": np.zeros((300, 16)),
        "collinear": plain[:, :1] * np.ones(16),
        "one column": plain[:, :1],
        "wide": rng.standard_normal((300, 700)),
    }


@pytest.mark.parametrize("distance", LATENT)
@pytest.mark.parametrize("name", extremes(np.random.default_rng(0)))
def test_where_rounding_hides_the_order_it_is_still_that_of_float64(name, distance):
    vectors = extremes(np.random.default_rng(0))[name]
    users = np.random.default_rng(1).permutation(len(vectors))[:15]
    # Powers of two change no bit, and keep the reference from over- and underflow.
    exponent = np.frexp(np.abs(vectors).max())[1]
    scaled = np.ldexp(vectors.astype(np.float64), -exponent)
    for k in (1, 10, len(vectors) - 1):
        found = NeighborSearch(vectors, k, distance)(users)
        assert np.array_equal(found, in_float64(scaled, users, k, distance))
        if distance != "inner_product":
            found = NeighborSearch(vectors, k, distance, hubness_reduction="local_scaling")(users)
            assert np.array_equal(found, scaled_in_float64(scaled, users, k, distance))


@pytest.mark.parametrize(
    ("distance", "scaled"), [("euclidean", False), ("euclidean", True), ("inner_product", False)]
)
@pytest.mark.parametrize("name", extremes(np.random.default_rng(0)))
def test_the_bounds_hold_whatever_the_matrix_product_rounds(name, distance, scaled):
    """Where they fail by a little, neighbours go astray on other machines only."""
    vectors = extremes(np.random.default_rng(0))[name].astype(np.float64)
    space = spaces.Vectors(vectors, distance)
    if scaled:
        squares = space.nearest(np.arange(len(vectors)), 5)[1]
        space = space.scaled(np.sqrt(squares).mean(axis=1))
    users = np.random.default_rng(1).permutation(len(vectors))[:100]
    values = _direct(space._vectors, users, distance) * space._gain
    if distance == "inner_product":  # bounded for users of length one
        lengths = np.sqrt((space._vectors[users] ** 2).sum(axis=1))
        values /= np.where(lengths > 0, lengths, 1)[:, None]
    lower = (space._left[users] @ space._right).astype(np.float64)
    upper = lower + space._reach * (space._own_slack[users, None] + space._slack)
    others = np.arange(len(vectors)) != users[:, None]
    assert (lower <= values)[others].all()
    assert (values <= upper)[others].all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("distance", LATENT)
@pytest.mark.parametrize("n", [1, 15, 16, 17, 63, 64, 65, 128, 700])
def test_every_size_of_crowd_is_searched_to_its_last_column(n, distance, dtype):
    vectors = mixtures(np.random.default_rng(n), n + 1, 24).astype(dtype)
    everyone = np.arange(n + 1)
    for k in {1, min(n, 3), min(n, 40)}:
        found = NeighborSearch(vectors, k, distance)(everyone)
        assert np.array_equal(found, in_float64(vectors, everyone, k, distance))


@settings(max_examples=40, deadline=None)
@given(crowd=crowds(), data=st.data())
@pytest.mark.parametrize("distance", SCALABLE)
def test_local_scaling_is_the_distance_over_both_scales(distance, crowd, data):
    """d / √(s_u s_v) of those found are the least there are, whatever ties rounding breaks."""
    n = len(crowd[0])
    k = data.draw(st.integers(1, n - 1))
    table = brute_table(*crowd, "chord" if distance == "cosine" else distance)
    others = [sorted(row[:u] + row[u + 1 :])[:k] for u, row in enumerate(table)]
    others = [[value for value in row if value < math.inf] for row in others]
    scale = [math.fsum(row) / max(1, len(row)) for row in others]

    def key(u, v):
        return table[u][v] / math.sqrt(scale[u] or 1) / math.sqrt(max(scale[v], 2.0**-500))

    found = search(*crowd, k, distance, hubness_reduction="local_scaling")(np.arange(n))
    for u, row in enumerate(found):
        assert len({u, *row.tolist()}) == k + 1
        best = sorted(key(u, v) for v in range(n) if v != u)[:k]
        assert [key(u, v) for v in row] == pytest.approx(best, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(crowd=crowds(), data=st.data())
@pytest.mark.parametrize("distance", DISTANCES)
def test_mutual_neighbours_are_ordered_by_the_worse_rank(distance, crowd, data):
    n = len(crowd[0])
    k = data.draw(st.integers(1, n - 1))
    reach = data.draw(st.integers(1, 4))
    lists = brute_force(*crowd, np.arange(n), min(reach * k, n - 1), distance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "MUTUAL_REACH", reach)
        found = search(*crowd, k, distance, hubness_reduction="mutual")(np.arange(n))
    for u, row in enumerate(found.tolist()):
        ranks = {v: rank for rank, v in enumerate(lists[u])}
        mutual = [v for v in lists[u] if u in lists[v]]
        mutual.sort(key=lambda v: (max(ranks[v], lists[v].index(u)), ranks[v]))
        assert row == [*mutual, *(v for v in lists[u] if v not in mutual)][:k]


@pytest.mark.parametrize("hubness_reduction", ["local_scaling", "mutual"])
@pytest.mark.parametrize("distance", SCALABLE)
def test_with_hubs_reduced_a_user_s_neighbours_do_not_depend_on_who_else_is_asked_for(
    distance, hubness_reduction, monkeypatch
):
    rng = np.random.default_rng(0)
    crowd = rng.standard_normal((40, 16)), rng.random((40, 30)) < 0.3
    source, users = rng.integers(0, 40, 150), rng.permutation(150)
    choices = {"k": 4, "distance": distance, "hubness_reduction": hubness_reduction}
    find = search(*(part[source] for part in crowd), **choices)
    whole = find(users)
    assert np.array_equal(whole, [find(np.array([user]))[0] for user in users])
    monkeypatch.setattr(spaces, "_BLOCK_NUMBERS", 150 * 7)
    again = search(*(part[source] for part in crowd), **choices)
    assert np.array_equal(again(users), whole)


@pytest.mark.parametrize("hubness_reduction", ["local_scaling", "mutual"])
def test_what_a_reduction_needs_to_know_of_everybody_is_found_once(hubness_reduction, monkeypatch):
    asked, nearest = [], spaces.Vectors.nearest

    def spy(space, users, k):
        asked.append(len(users))
        return nearest(space, users, k)

    monkeypatch.setattr(spaces.Vectors, "nearest", spy)
    vectors = np.random.default_rng(0).standard_normal((90, 4))
    find = NeighborSearch(vectors, 3, hubness_reduction=hubness_reduction)
    assert not asked
    for _ in range(3):
        find(np.array([1]))
    assert asked.count(90) == 1
    assert sum(asked) <= 90 + 3


def test_many_dimensions_have_hubs_and_both_reductions_cure_them():
    vectors = np.random.default_rng(0).standard_normal((800, 64))
    skewness = {
        reduction: hubness_skewness(
            NeighborSearch(vectors, 10, hubness_reduction=reduction)(np.arange(800)), 800
        )
        for reduction in HUBNESS_REDUCTIONS
    }
    assert skewness["none"] > 1.5
    assert max(skewness["local_scaling"], skewness["mutual"]) < skewness["none"] / 3


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 30), seed=st.integers(0, 2**16))
def test_hubness_is_the_skewness_of_the_k_occurrences(n, seed):
    rng = np.random.default_rng(seed)
    lists = rng.integers(0, n, (n, 3)) * (rng.random((n, 3)) < 0.7)
    counts = [(lists == user).sum() for user in range(n)]
    assert k_occurrence(lists, n).tolist() == counts
    expected = skew(counts) if len(set(counts)) > 1 else 0
    assert hubness_skewness(lists, n) == pytest.approx(expected, abs=1e-12)


def test_a_circle_has_no_hubs():
    lists = (np.arange(7)[:, None] + [1, 2]) % 7
    assert hubness_skewness(lists, 7) == 0


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("k", [1, 10, 149])
def test_neither_the_place_nor_the_company_of_a_user_matters(distance, k, monkeypatch):
    """At real widths, where a matrix product rounds equal rows apart."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 40, 150)
    vectors, rated = rng.standard_normal((40, 64))[source], (rng.random((40, 30)) < 0.3)[source]
    users = rng.permutation(150)
    find = search(vectors, rated, k, distance)
    whole = find(users)
    assert whole.tolist() == brute_force(vectors, rated, users, k, distance)
    assert np.array_equal(whole, [find(np.array([user]))[0] for user in users])
    for size in (1, 150 * 7, 150 * 149):
        monkeypatch.setattr(spaces, "_BLOCK_NUMBERS", size)
        assert np.array_equal(find(users), whole)


@pytest.mark.parametrize("distance", DISTANCES)
def test_threads_change_nothing(distance):
    rng = np.random.default_rng(0)
    find = search(mixtures(rng, 900, 16), rng.random((900, 40)) < 0.2, 5, distance)
    alone = find(np.arange(900))
    torch.set_num_threads(3)
    try:
        assert np.array_equal(find(np.arange(900)), alone)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_user_is_never_her_own_neighbour_though_all_are_alike(distance):
    found = search(np.ones((6, 3)), np.ones((6, 4)), 5, distance)(np.arange(6))
    assert found.tolist() == [[v for v in range(6) if v != u] for u in range(6)]


def test_distances_disagree_where_they_should():
    """Nearest to (1, 0): by place, by direction and by product; and the one who rated the same."""
    vectors = [[1, 0], [1.1, 0.3], [3, 0.1], [5, 4], [-4, 0]]
    rated = np.eye(5)[[0, 1, 2, 3, 0]]
    nearest = {d: search(vectors, rated, 1, d)(np.array([0])).item() for d in DISTANCES}
    assert nearest == {"euclidean": 1, "cosine": 2, "inner_product": 3, "profile_overlap": 4}


def test_ratings_do_not_matter_to_the_overlap_of_profiles():
    """Nor how they are stored: cells in any order, one of them twice, one of them zero."""
    items, counts = [1, 0, 1, 0, 1, 3, 2, 1, 0, 1], [0, 3, 5, 6, 10]
    values = [5, 5, 1, 1, 0, 5, 5, 5, 5, 5]
    ratings = sp.csr_matrix((values, items, counts), shape=(4, 4))
    before = ratings.copy()
    found = NeighborSearch(None, 3, "profile_overlap", ratings=ratings)(np.array([0]))
    assert found.tolist() == [[1, 3, 2]]
    assert np.array_equal(ratings.indices, before.indices)
    assert np.array_equal(ratings.data, before.data)


def test_what_becomes_of_the_arrays_later_does_not_matter():
    vectors = np.random.default_rng(0).standard_normal((50, 4))
    find = NeighborSearch(vectors, 3)
    before = find(np.arange(50))
    vectors[:] = 0
    assert np.array_equal(find(np.arange(50)), before)


def test_a_trained_victim_is_searched_among_fakes_too(ml100k):
    """Twenty copies of a user below the real rows are the user's nearest neighbours, in their order."""
    split = leave_one_out(ml100k, stream(0, "split"))
    train = sp.vstack([split.train, *([split.train[400]] * 20)], format="csr")
    victim = NSVD(unobserved_weight=0.1, epochs=1).fit(
        train, split.validation, ml100k.levels, stream(0, "model")
    )
    found = NeighborSearch(victim.user_factors(), 20)(np.array([400, 950]))
    copies = np.arange(943, 963)
    assert found[0].tolist() == copies.tolist()
    assert found[1].tolist() == [400, *np.delete(copies, 7)]


def crowd(k=3, distance="euclidean", **choices):
    vectors = np.random.default_rng(0).standard_normal((5, 2))
    return NeighborSearch(vectors, k, distance, **choices)


def test_nobody_asked_nobody_found():
    found = crowd()(np.array([], dtype=int))
    assert found.shape == (0, 3)
    assert found.dtype == np.int64


def test_unknown_choices_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="distance must be one of euclidean, cosine"):
        crowd(distance="manhattan")
    with pytest.raises(ValueError, match="hubness_reduction must be one of none, local_scaling"):
        crowd(hubness_reduction="global")


def test_overlap_without_ratings_is_refused():
    with pytest.raises(ValueError, match="profile_overlap needs ratings"):
        crowd(distance="profile_overlap")


def test_inner_products_have_no_local_scale():
    with pytest.raises(ValueError, match=r"local_scaling needs a distance.*take mutual"):
        crowd(distance="inner_product", hubness_reduction="local_scaling")


@pytest.mark.parametrize("k", [-1, 0, 5, 6])
def test_more_neighbours_than_there_are_others_are_refused(k):
    with pytest.raises(ValueError, match=r"k must be between 1 and 4 \(the other users\)"):
        crowd(k=k)


@pytest.mark.parametrize("user", [-1, 5])
def test_a_user_out_of_range_is_refused(user):
    """A negative row would be found, and would be their own neighbour."""
    with pytest.raises(ValueError, match=f"users must be row numbers from 0 to 4, got {user}"):
        crowd()(np.array([0, user]))


@pytest.mark.parametrize("users", [3, np.array([[1, 2]]), np.array([1.0]), np.ones(5, dtype=bool)])
def test_what_is_no_list_of_rows_is_refused(users):
    with pytest.raises(ValueError, match="users must be row numbers"):
        crowd()(users)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("distance", LATENT)
def test_vectors_of_a_diverged_victim_are_refused(value, distance):
    vectors = np.ones((4, 2))
    vectors[3, 1] = value
    with pytest.raises(ValueError, match="diverged"):
        NeighborSearch(vectors, 2, distance)


@pytest.mark.parametrize("vectors", [np.ones(4), np.ones((4, 2, 2))])
def test_vectors_of_another_shape_are_refused(vectors):
    with pytest.raises(ValueError, match=r"user_factors must be \(users, d\)"):
        NeighborSearch(vectors, 2)


@pytest.mark.parametrize("hubness_reduction", HUBNESS_REDUCTIONS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_whoever_has_no_rating_comes_after_all_who_have_one(distance, hubness_reduction):
    """As those do whom a defence has removed: their vectors say nothing, and may be near to all."""
    if (distance, hubness_reduction) == ("inner_product", "local_scaling"):
        pytest.skip("refused")
    rng = np.random.default_rng(0)
    vectors, removed = rng.standard_normal((60, 3)), rng.permutation(60)[:20]
    vectors[removed] *= 0.01
    rated = rng.random((60, 12)) < 0.4
    rated[:, 0], rated[removed] = True, False
    everybody = np.arange(60)
    options = {"hubness_reduction": hubness_reduction, "ratings": sp.csr_matrix(rated * 1.0)}
    found = NeighborSearch(vectors, 10, distance, **options)(everybody)
    assert not np.isin(found, removed).any()
    # The same as among those alone who have rated.
    left = np.delete(everybody, removed)
    alone = NeighborSearch(
        vectors[left], 10, distance, **options | {"ratings": options["ratings"][left]}
    )
    assert np.array_equal(found[left], left[alone(np.arange(40))])
    # They follow, where there is nobody else.
    every = NeighborSearch(vectors, 59, distance, **options | {"hubness_reduction": "none"})
    lists = every(left[:5])
    assert np.isin(lists[:, 39:], removed).all()
