"""The balanced graph against greedy over all pairs by hand, and against the best b-matching."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

from rvdlib.neighbors import DISTANCES, HUBNESS_REDUCTIONS, MUTUAL_REACH, NeighborSearch, balanced
from rvdlib.neighbors.balanced import BalancedSearch
from rvdlib.threads import on_threads

LATENT = ("euclidean", "cosine", "inner_product")
KINDS = [
    (distance, reduction)
    for distance in DISTANCES
    for reduction in HUBNESS_REDUCTIONS
    if (distance, reduction) != ("inner_product", "local_scaling")
]


def crowd(rng, n_users, n_items=12, n_copies=0):
    """Vectors and ratings; some users are copies of others, and some have no rating."""
    vectors = rng.standard_normal((n_users, 3))
    rated = rng.integers(1, 6, (n_users, n_items)) * (rng.random((n_users, n_items)) < 0.4)
    for _ in range(n_copies):
        source, copy = rng.integers(n_users, size=2)
        vectors[copy], rated[copy] = vectors[source], rated[source]
    return vectors, sp.csr_matrix(rated, dtype=np.float32)


def measured(vectors, ratings, distance):
    """(n, n), smaller is nearer, from the definitions."""
    rated = ratings.toarray() > 0
    if distance == "profile_overlap":
        common = rated.astype(int) @ rated.T.astype(int)
        unions = rated.sum(1)[:, None] + rated.sum(1) - common
        found = 1 - common / np.maximum(unions, 1)
    elif distance == "euclidean":
        found = cdist(vectors, vectors)
    else:
        unit = vectors
        if distance == "cosine":
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            unit = vectors / np.where(lengths > 0, lengths, 1)
        found = -np.einsum("ud,vd->uv", unit, unit)
    found[:, ~rated.any(1)] = np.inf
    np.fill_diagonal(found, np.inf)
    return found


def pair_keys(vectors, ratings, k, distance, reduction):
    """What orders pairs, as an (n, n) table of tuples, with distances rounded against noise."""
    table = measured(vectors, ratings, distance)
    n_users = len(table)
    worse = np.zeros_like(table)
    if reduction == "local_scaling":
        chords = np.sqrt(2 + 2 * np.clip(table, -1, None)) if distance == "cosine" else table
        nearest = np.sort(chords, axis=1)[:, :k]
        scale = np.array([row[np.isfinite(row)].mean() for row in nearest])
        table = chords / np.sqrt(scale[:, None] * scale)
    if reduction == "mutual":
        np.fill_diagonal(table, np.nan)  # after all others
        rank = np.argsort(np.argsort(table, axis=1, kind="stable"), axis=1)
        np.fill_diagonal(table, np.inf)
        reach = min(MUTUAL_REACH * k, n_users - 1)
        worse = np.minimum(np.maximum(rank, rank.T), reach)
    return worse, table


def by_hand(worse, table, k, max_in_degree):
    n_users = len(table)
    pairs = [(u, v) for u in range(n_users) for v in range(n_users) if u != v]
    members, in_degree = [[] for _ in range(n_users)], [0] * n_users
    for u, v in sorted(pairs, key=lambda pair: (worse[pair], table[pair])):
        if len(members[u]) < k and in_degree[v] < max_in_degree:
            members[u].append(v)
            in_degree[v] += 1
    return members


def lists_of(found):
    return [[v for v in row if v >= 0] for row in found.tolist()]


def built(vectors, ratings, k, max_in_degree, distance, reduction, **patches):
    """Everybody's lists, with other constants of the module."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in patches.items():
            patched.setattr(balanced, name, value)
        search = BalancedSearch(
            vectors,
            k,
            distance,
            max_in_degree=max_in_degree,
            hubness_reduction=reduction,
            ratings=ratings,
        )
        return search(np.arange(ratings.shape[0]))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_users=st.integers(2, 40),
    k=st.integers(1, 12),
    extra=st.integers(0, 5),
    n_listed=st.sampled_from([0, 3, 16]),
    at_once=st.sampled_from([1, 3, 512]),
)
@pytest.mark.parametrize(("distance", "reduction"), [kind for kind in KINDS if kind[0] in LATENT])
def test_the_graph_is_that_of_greedy_over_all_pairs(
    distance, reduction, seed, n_users, k, extra, n_listed, at_once
):
    """However short the lists of candidates are, and however few are made anew together."""
    k = min(k, n_users - 1)
    vectors, ratings = crowd(np.random.default_rng(seed), n_users, n_items=60)
    found = built(
        vectors, ratings, k, k + extra, distance, reduction,
        _LISTED=n_listed, _USERS_AT_ONCE=at_once,
    )  # fmt: skip
    expected = by_hand(*pair_keys(vectors, ratings, k, distance, reduction), k, k + extra)
    assert lists_of(found) == expected


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_users=st.integers(2, 30),
    k=st.integers(1, 8),
    extra=st.integers(0, 3),
    n_copies=st.integers(0, 30),
)
@pytest.mark.parametrize(("distance", "reduction"), KINDS)
def test_ties_and_all_no_pair_is_left_out_that_could_be_in(
    distance, reduction, seed, n_users, k, extra, n_copies
):
    """Left out is who comes after k members, or to whom B come before: so is greedy's, and no other.

    And the graph is the same if all pairs are held at once.
    """
    k, rng = min(k, n_users - 1), np.random.default_rng(seed)
    vectors, ratings = crowd(rng, n_users, n_items=5, n_copies=n_copies)
    vectors = np.round(vectors)
    choices = vectors, ratings, k, k + extra, distance, reduction
    found = built(*choices, _LISTED=0, _USERS_AT_ONCE=2)
    assert np.array_equal(found, built(*choices, _LISTED=n_users))

    inside = np.zeros((n_users, n_users), dtype=bool)
    for u, members in enumerate(lists_of(found)):
        assert u not in members
        assert len(set(members)) == len(members)
        inside[u, members] = True
    assert inside.sum(axis=0).max() <= k + extra
    assert (found < 0).sum() <= k * k
    if reduction != "none":
        return
    table = measured(vectors, ratings, distance) - 1e-9
    for u, v in zip(*np.nonzero(~inside & ~np.eye(n_users, dtype=bool)), strict=True):
        own, theirs = table[u, inside[u]], table[inside[:, v], v]
        full = len(own) == k and (own <= table[u, v] + 2e-9).all()
        taken = len(theirs) == k + extra and (theirs <= table[u, v] + 2e-9).all()
        assert full or taken


@pytest.mark.parametrize(("distance", "reduction"), KINDS)
def test_without_a_limit_that_binds_neighbours_are_the_nearest(distance, reduction):
    vectors, ratings = crowd(np.random.default_rng(0), 80, n_items=400)
    found = built(vectors, ratings, 6, 79, distance, reduction)
    search = NeighborSearch(vectors, 6, distance, hubness_reduction=reduction, ratings=ratings)
    nearest = search(np.arange(80))
    if distance == "profile_overlap":  # where some tie
        table = pair_keys(vectors, ratings, 6, distance, reduction)[1]
        rows = np.arange(80)[:, None]
        assert table[rows, found] == pytest.approx(table[rows, nearest])
    else:
        assert np.array_equal(found, nearest)


@pytest.mark.parametrize(
    ("distance", "reduction"), [kind for kind in KINDS if kind != ("profile_overlap", "mutual")]
)
def test_in_whatever_order_users_stand_their_neighbours_are_the_same(distance, reduction):
    """Distances tie everywhere here: rows, of which fakes are the last, must not say who is in."""
    rng, n_users = np.random.default_rng(1), 60
    vectors, ratings = crowd(rng, n_users, n_items=7)
    own = np.arange(1, n_users + 1, dtype=np.float32)[:, None]  # so that nobody is a copy
    vectors, ratings = np.round(vectors), sp.csr_matrix(sp.hstack([ratings, own]))
    if reduction == "mutual":  # whose ranks are those of every search: ties go to the lower row
        vectors, ratings = crowd(rng, n_users, n_items=400)
    order = rng.permutation(n_users)
    found = built(vectors, ratings, 5, 6, distance, reduction)
    shuffled = built(vectors[order], ratings[order], 5, 6, distance, reduction)
    back = np.append(order, -1)[shuffled]  # −1 stays
    assert np.array_equal(back, found[order])


def test_who_stands_last_stands_in_as_many_lists_as_who_stands_first():
    """All pairs are equally far: profiles share no item."""
    n_users = 400
    ratings = sp.csr_matrix(np.eye(n_users, dtype=np.float32))
    found = built(None, ratings, 10, 30, "profile_overlap", "none")
    in_degree = np.bincount(found.ravel(), minlength=n_users)
    assert in_degree.sum() == 10 * n_users
    for part in np.split(in_degree, 4):
        assert part.mean() == pytest.approx(10, rel=0.1)
    lower = np.bincount(
        NeighborSearch(None, 10, "profile_overlap", ratings=ratings)(np.arange(n_users)).ravel(),
        minlength=n_users,
    )
    assert lower[n_users // 2 :].sum() == 0  # where ties go to the lower row


def best_b_matching(table, k, max_in_degree, weights):
    """The largest total weight, by linear programming: its corners are whole numbers."""
    n_users = len(table)
    pairs = [(u, v) for u in range(n_users) for v in range(n_users) if u != v]
    limits = np.zeros((2 * n_users, len(pairs)))
    for column, (u, v) in enumerate(pairs):
        limits[u, column] = limits[n_users + v, column] = 1
    bounds = np.repeat([k, max_in_degree], n_users)
    gains = np.array([weights[pair] for pair in pairs])
    best = linprog(-gains, A_ub=limits, b_ub=bounds, bounds=(0, 1), method="highs")
    assert np.abs(best.x - np.round(best.x)).max() < 1e-6
    return -best.fun


@pytest.mark.parametrize("reduction", ["none", "local_scaling"])
def test_greedy_is_near_the_best_b_matching(reduction):
    """At least half of its weight, by theorem; on such problems the distances are at most 15 % above.

    Weights of the theorem count how much nearer a pair is than the farthest one: pairs that are as far
    weigh nothing, so that a matching of the farthest fails.
    """
    ratios = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        n_users, k = int(rng.integers(8, 18)), int(rng.integers(1, 4))
        vectors, ratings = crowd(rng, n_users, n_items=60)
        found = lists_of(built(vectors, ratings, k, k + seed % 2, "euclidean", reduction))
        _, table = pair_keys(vectors, ratings, k, "euclidean", reduction)
        np.fill_diagonal(table, 0)
        pairs = [(u, v) for u, members in enumerate(found) for v in members]
        total = sum(table[pair] for pair in pairs)
        nearer = table.max() - table
        nearest = best_b_matching(table, k, k + seed % 2, nearer)
        assert sum(nearer[pair] for pair in pairs) >= nearest / 2
        # So heavy that the best has as many pairs as can be: its distances are then the least.
        heavy = 100 * table.max()
        best = best_b_matching(table, k, k + seed % 2, heavy - table)
        assert heavy * len(pairs) - total >= best / 2
        if len(pairs) == n_users * k:
            ratios.append(total / (heavy * len(pairs) - best))
    assert len(ratios) >= 6
    assert min(ratios) > 1 - 1e-9
    assert np.mean(ratios) < 1.15


def test_where_places_are_left_only_with_oneself_the_list_is_shorter():
    """Three in a row: 1 and 2 take each other, 0 takes nobody whose place is taken."""
    vectors = np.array([[0.0], [10.0], [11.0]])
    ratings = sp.csr_matrix(np.eye(3, dtype=np.float32))
    assert built(vectors, ratings, 1, 1, "euclidean", "none").tolist() == [[-1], [2], [1]]
    assert built(vectors, ratings, 1, 2, "euclidean", "none").tolist() == [[1], [2], [1]]


def test_who_rated_nothing_comes_last():
    vectors = np.array([0, 1, 2.1, 3.3, 4.6, 6])[:, None]
    rated = np.eye(6, dtype=np.float32)
    rated[1] = 0
    found = built(vectors, sp.csr_matrix(rated), 2, 5, "euclidean", "none")
    assert found.tolist() == [[2, 3], [0, 2], [3, 0], [2, 4], [3, 5], [4, 3]]


@pytest.mark.parametrize(("distance", "reduction"), KINDS)
def test_no_thread_and_nobody_else_who_is_served_changes_a_list(distance, reduction):
    vectors, ratings = crowd(np.random.default_rng(2), 90, n_copies=30)
    choices = vectors, ratings, 6, 7, distance, reduction
    everyone = built(*choices)
    with on_threads(3):
        assert np.array_equal(built(*choices, _BLOCK_NUMBERS=200), everyone)
    search = BalancedSearch(
        vectors, 6, distance, max_in_degree=7, hubness_reduction=reduction, ratings=ratings
    )
    users = np.array([5, 0, 5, 89])
    assert np.array_equal(search(users), everyone[users])
    assert search(users[:0]).shape == (0, 6)


def test_without_ratings_the_vectors_say_who_is_who():
    vectors = np.round(np.random.default_rng(3).standard_normal((50, 2)) * 3)
    vectors = np.unique(vectors, axis=0)
    order = np.random.default_rng(4).permutation(len(vectors))
    found = BalancedSearch(vectors, 4, max_in_degree=4)(np.arange(len(vectors)))
    shuffled = BalancedSearch(vectors[order], 4, max_in_degree=4)(np.arange(len(vectors)))
    assert np.array_equal(np.append(order, -1)[shuffled], found[order])


def test_places_for_fewer_than_everybody_are_refused():
    with pytest.raises(ValueError, match=r"max_in_degree must be at least k = 3.*got 2"):
        BalancedSearch(np.eye(5), 3, max_in_degree=2)
