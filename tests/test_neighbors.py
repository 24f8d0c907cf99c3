import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.data import leave_one_out
from rvdlib.models import NSVD
from rvdlib.neighbors import DISTANCES, nearest_users
from rvdlib.seeding import stream


def made_up(vectors, rated):
    """What the search asks of a victim: latent vectors and profiles."""
    vectors, rated = np.asarray(vectors, dtype=np.float32), np.asarray(rated, dtype=np.float32)
    return SimpleNamespace(
        train=sp.csr_matrix(rated),
        user_factors=lambda: vectors,
        profiles=[set(np.flatnonzero(row).tolist()) for row in rated],
    )


def brute_distance(victim, u, v, distance):
    """From the definitions, one pair at a time, exactly summed."""
    x, y = (victim.user_factors()[each].astype(float).tolist() for each in (u, v))
    if distance == "euclidean":
        return math.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    if distance == "profile_overlap":
        x, y = victim.profiles[u], victim.profiles[v]
        return 1 - len(x & y) / len(x | y) if x | y else 1.0
    product = math.fsum(a * b for a, b in zip(x, y, strict=True))
    if distance == "cosine":
        product /= max(math.hypot(*x), 1e-12) * max(math.hypot(*y), 1e-12)
    return -product


def brute_force(victim, users, k, distance):
    everyone = range(victim.train.shape[0])
    return [
        sorted(set(everyone) - {u}, key=lambda v: (brute_distance(victim, u, v, distance), v))[:k]
        for u in users
    ]


@st.composite
def crowds(draw):
    """Few users, many of them exact copies of others, some with a vector or profile of zeros."""
    n, d = draw(st.integers(2, 14)), draw(st.sampled_from([1, 3, 17]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    vectors = np.vstack([np.zeros(d), rng.standard_normal((n, d))])
    rated = np.vstack([np.zeros(6), rng.random((n, 6)) < 0.4])
    source = draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    return made_up(vectors[source], rated[source])


@settings(max_examples=60, deadline=None)
@given(victim=crowds(), data=st.data())
@pytest.mark.parametrize("distance", DISTANCES)
def test_neighbours_are_those_of_brute_force_ties_and_all(distance, victim, data):
    n = victim.train.shape[0]
    users = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n)))
    k = data.draw(st.integers(1, n - 1))
    found = nearest_users(victim, users, k, distance)
    assert found.dtype == np.int64
    assert found.tolist() == brute_force(victim, users, k, distance)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("k", [1, 10, 149])
def test_equal_users_tie_whatever_their_place_and_the_block(distance, k):
    """At real widths, where a matrix product would round equal rows apart."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 40, 150)
    vectors, rated = rng.standard_normal((40, 64)), rng.random((40, 30)) < 0.3
    victim = made_up(vectors[source], rated[source])
    users = rng.permutation(150)
    whole = nearest_users(victim, users, k, distance)
    assert whole.tolist() == brute_force(victim, users, k, distance)
    for block_size in (1, 2, 7, 149, 150):
        blocks = nearest_users(victim, users, k, distance, block_size=block_size)
        assert np.array_equal(blocks, whole)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_user_is_never_her_own_neighbour_though_all_are_alike(distance):
    victim = made_up(np.ones((6, 3)), np.ones((6, 4)))
    found = nearest_users(victim, np.arange(6), 5, distance)
    assert found.tolist() == [[v for v in range(6) if v != u] for u in range(6)]


def test_distances_disagree_where_they_should():
    """Nearest to (1, 0): by place, by direction and by product; and the one who rated the same."""
    vectors = [[1, 0], [1.1, 0.3], [3, 0.1], [5, 4], [-4, 0]]
    rated = np.eye(5)[[0, 1, 2, 3, 0]]
    victim = made_up(vectors, rated)
    nearest = {d: int(nearest_users(victim, np.array([0]), 1, d)[0, 0]) for d in DISTANCES}
    assert nearest == {"euclidean": 1, "cosine": 2, "inner_product": 3, "profile_overlap": 4}


def test_ratings_do_not_matter_to_the_overlap_of_profiles():
    rated = np.array([[5, 5, 0, 0], [1, 1, 0, 0], [5, 0, 0, 0], [5, 5, 5, 5]])
    found = nearest_users(made_up(np.zeros((4, 1)), rated), np.array([0]), 3, "profile_overlap")
    assert found.tolist() == [[1, 2, 3]]


def test_far_from_the_origin_the_near_are_still_told_apart():
    """Expanded squares would cancel: the offset is 2^20, the differences 1."""
    vectors = np.full((4, 8), 2.0**20)
    vectors[:, 0] += [0, 2, 3, 1]
    found = nearest_users(made_up(vectors, np.ones((4, 2))), np.array([0]), 3)
    assert found.tolist() == [[3, 1, 2]]


def test_a_trained_victim_is_searched_among_fakes_too(ml100k):
    """Twenty copies of a user below the real rows are her nearest neighbours, in their order."""
    split = leave_one_out(ml100k, stream(0, "split"))
    train = sp.vstack([split.train, *([split.train[400]] * 20)], format="csr")
    victim = NSVD(unobserved_weight=0.1, epochs=1).fit(
        train, split.validation, ml100k.levels, stream(0, "model")
    )
    found = nearest_users(victim, np.array([400, 950]), 20)
    copies = np.arange(943, 963)
    assert found[0].tolist() == copies.tolist()
    assert found[1].tolist() == [400, *np.delete(copies, 7)]


@pytest.fixture
def crowd():
    return made_up(np.random.default_rng(0).standard_normal((5, 2)), np.eye(5))


def test_nobody_asked_nobody_found(crowd):
    found = nearest_users(crowd, np.array([], dtype=int), 3)
    assert found.shape == (0, 3)
    assert found.dtype == np.int64


def test_an_unknown_distance_is_refused_with_the_known_ones(crowd):
    with pytest.raises(ValueError, match="distance must be one of euclidean, cosine"):
        nearest_users(crowd, np.array([0]), 1, "manhattan")


@pytest.mark.parametrize("k", [-1, 0, 5, 6])
def test_more_neighbours_than_there_are_others_are_refused(crowd, k):
    with pytest.raises(ValueError, match=r"k must be between 1 and 4 \(the other users\)"):
        nearest_users(crowd, np.array([0]), k)


@pytest.mark.parametrize("user", [-1, 5])
def test_a_user_out_of_range_is_refused(crowd, user):
    """A negative row would be found, and would be her own neighbour."""
    with pytest.raises(ValueError, match="users must be rows below 5"):
        nearest_users(crowd, np.array([0, user]), 2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("distance", ["euclidean", "cosine", "inner_product"])
def test_vectors_of_a_diverged_victim_are_refused(value, distance):
    vectors = np.ones((4, 2))
    vectors[3, 1] = value
    with pytest.raises(ValueError, match="diverged"):
        nearest_users(made_up(vectors, np.eye(4)), np.array([0]), 2, distance)
