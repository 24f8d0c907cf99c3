"""The certificates of a quorum: no placement of fakes leaves one, and some placement reaches it."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import maximum_flow

from rvdlib.neighbors import NeighborSearch
from rvdlib.theory.certificate import (
    can_be_served,
    exposure,
    exposure_of_needs,
    fakes_in_vicinity,
    fakes_needed,
    stays_in,
    stays_out,
    survives,
    thr_bound,
)
from rvdlib.theory.counts import counts_of_nearest, rated_by_neighbors

few = settings(deadline=None, max_examples=60)


def most_eligible(n_others, n_raters, k, quorum, cap):
    """By trying every table: users of whom q neighbours rated, nobody in more than ``cap`` lists.

    Rows: first the users who did not rate, then the raters, real or fake.
    """
    rows = range(n_others + n_raters)
    lists = [
        [
            c
            for size in range(k + 1)
            for c in itertools.combinations([v for v in rows if v != u], size)
        ]
        for u in range(n_others)
    ]

    def most(u, free):
        if u == n_others:
            return 0
        found = 0
        for chosen in lists[u]:
            if all(free[v] for v in chosen):
                left = tuple(f - (v in chosen) for v, f in enumerate(free))
                eligible = sum(v >= n_others for v in chosen) >= quorum
                found = max(found, eligible + most(u + 1, left))
        return found

    return most(0, (cap,) * (n_others + n_raters))


@pytest.mark.parametrize("cap", [1, 2, 3])
@pytest.mark.parametrize("n_others", [1, 2, 3])
def test_no_table_leaves_the_exposure_bound_and_one_reaches_it(n_others, cap):
    for n_honest, n_fakes, k in itertools.product(range(3), range(3), (1, 2)):
        for quorum in range(1, k + 1):
            bound = exposure(
                n_honest, n_fakes, quorum=quorum, max_in_degree=cap, n_users=n_others + n_honest
            )
            assert most_eligible(n_others, n_honest + n_fakes, k, quorum, cap) == bound


def flow_serves(needs, n_fakes, cap):
    """Whether a flow through users and fakes gives everybody what is needed: another algorithm."""
    n = len(needs)
    capacity = np.zeros((n + n_fakes + 2, n + n_fakes + 2), dtype=np.int32)
    capacity[0, 1 : n + 1] = needs
    capacity[1 : n + 1, n + 1 : -1] = 1
    capacity[n + 1 : -1, -1] = cap
    return maximum_flow(sp.csr_matrix(capacity), 0, len(capacity) - 1).flow_value == sum(needs)


@few
@given(
    st.integers(0, 9), st.integers(0, 9), st.integers(1, 6), st.integers(1, 9), st.integers(0, 30)
)
def test_the_exposure_bound_is_what_a_flow_finds(n_honest, n_fakes, quorum, cap, n_others):
    n_users = max(n_honest + n_others, 1)
    bound = int(exposure(n_honest, n_fakes, quorum=quorum, max_in_degree=cap, n_users=n_users))
    raters = n_honest + n_fakes
    assert flow_serves([quorum] * bound, raters, cap)
    assert bound == n_users - n_honest or not flow_serves([quorum] * (bound + 1), raters, cap)


@few
@given(st.lists(st.integers(0, 5), max_size=7), st.integers(0, 4), st.integers(1, 4))
def test_the_bound_of_known_needs_is_the_largest_set_that_a_flow_serves(needs, n_fakes, cap):
    served = [
        size
        for size in range(len(needs) + 1)
        for group in itertools.combinations(needs, size)
        if flow_serves(group, n_fakes, cap)
    ]
    assert exposure_of_needs(np.array(needs, dtype=int), n_fakes, cap) == max(served)


@few
@given(
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(1, 8),
    st.integers(1, 40),
    st.integers(21, 60),
)
def test_bounds_grow_with_raters_fakes_and_cap_and_fall_in_the_quorum(r, m, q, cap, n):
    def bound(r, m, q, cap):
        return thr_bound(r, m, quorum=q, max_in_degree=cap, n_users=n)

    here = bound(r, m, q, cap)
    assert 0 <= here <= 1
    assert min(
        bound(r + 1, m, q, cap), bound(r, m + 1, q, cap), bound(r, m, q, cap + 1)
    ) >= here or (r + 1 == n)
    assert bound(r, m, q + 1, cap) <= here
    assert (here > 0) <= can_be_served(r, m, q)


def test_bounds_take_many_items_at_once_and_have_no_share_where_everybody_rated():
    bounds = thr_bound(np.array([0, 2, 10]), 3, quorum=2, max_in_degree=2, n_users=10)
    assert bounds[:2].tolist() == [3 / 10, 5 / 8]
    assert np.isnan(bounds[2])
    assert can_be_served(np.array([0, 1]), 1, 2).tolist() == [False, True]
    assert fakes_in_vicinity(np.array([[0, 3], [5, 2]]), 3).tolist() == [[3, 0], [0, 1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"raters": -1}, "counts must be whole numbers of at least 0"),
        ({"raters": 0.5}, "counts must be whole numbers"),
        ({"raters": 11}, "raters must be at most n_users = 10"),
        ({"n_fakes": -1}, "n_fakes must be whole numbers of at least 0"),
        ({"quorum": 0}, "quorum must be whole numbers of at least 1"),
        ({"max_in_degree": 0}, "max_in_degree must be whole numbers of at least 1"),
        ({"n_users": True}, "n_users must be whole numbers"),
    ],
)
def test_what_is_no_count_is_refused(change, message):
    given = {"raters": 2, "n_fakes": 3, "quorum": 2, "max_in_degree": 4, "n_users": 10}
    with pytest.raises(ValueError, match=message):
        exposure(**given | change)


# Fixed geometry: real users on a line, fakes at any place, and the project's own search.

PLACES = np.array([0.0, 1.0, 2.5, 4.5, 7.0, 8.0])
RATED = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1], [1, 0, 0], [1, 1, 0]], dtype=bool)


def vicinities(places, k):
    factors = np.asarray(places, dtype=float)[:, None]
    return NeighborSearch(factors, k)(np.arange(len(PLACES)))


def eligible(neighbors, rated, quorum):
    return (
        rated_by_neighbors(neighbors, sp.csr_matrix(rated), np.arange(rated.shape[1])).sum(axis=1)
        >= quorum
    )


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("n_fakes", [0, 1, 2, 3])
def test_in_a_fixed_geometry_no_fakes_change_what_is_certified_and_some_change_all_else(k, n_fakes):
    clean = vicinities(PLACES, k)
    grid = [0.0, 0.4, 1.0, 2.5, 3.1, 4.5, 7.0, 7.6, 8.0, 9.0]
    counts = counts_of_nearest(rated_by_neighbors(clean, sp.csr_matrix(RATED), np.arange(3)))
    for quorum in range(1, k + 1):
        ever = np.zeros((len(PLACES), 3), dtype=bool)
        always = ~ever
        for fakes in itertools.combinations_with_replacement(grid, n_fakes):
            table = vicinities([*PLACES, *fakes], k)
            for votes_of_fakes in (False, True):
                rated = np.vstack([RATED, np.full((n_fakes, 3), votes_of_fakes)])
                found = eligible(table, rated, quorum)
                ever |= found
                always &= found
        assert (~ever == stays_out(counts, n_fakes, quorum)).all()
        assert (always == stays_in(counts, n_fakes, quorum)).all()
        for item in range(3):
            assert (ever[:, item] == (fakes_needed(counts[:, :, item], quorum) <= n_fakes)).all()


def capped(places, k, cap):
    """Pairs of users, nearest first, while both have room: the greedy table of an in-degree cap."""
    places = np.asarray(places, dtype=float)
    n = len(places)
    pairs = sorted((abs(places[u] - places[v]), u, v) for u in range(n) for v in range(n) if u != v)
    lists, room = [[] for _ in range(n)], [cap] * n
    for _, u, v in pairs:
        if len(lists[u]) < k and room[v]:
            lists[u].append(v)
            room[v] -= 1
    return np.array([one + [-1] * (k - len(one)) for one in lists])


@pytest.mark.parametrize(
    ("places", "fake", "raters", "quorum", "certified", "user"),
    [
        ([1, 5, 0, 8, 15], 9.5, [2, 5], 2, stays_out, 4),
        ([19, 2, 14, 9, 1], 15.5, [0, 2, 5], 1, stays_in, 3),
    ],
)
def test_a_cap_that_is_dealt_out_anew_breaks_the_fixed_geometry(
    places, fake, raters, quorum, certified, user
):
    """Why certificate 4 says for which vicinities it holds: one fake moves the places of others."""
    rated = np.zeros((6, 1), dtype=bool)
    rated[raters] = True
    clean, attacked = capped(places, 2, 2), capped([*places, fake], 2, 2)[:5]
    counts = counts_of_nearest(rated_by_neighbors(clean, sp.csr_matrix(rated[:5]), np.arange(1)))
    assert certified(counts, 1, quorum)[user]
    assert eligible(attacked, rated, quorum)[user] == (certified is stays_out)


@few
@given(st.data())
def test_a_list_survives_so_many_bad_neighbours_and_no_more(data):
    k, quorum = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    ratings = rng.random((9, 4)) < 0.6
    order = rng.permutation(np.arange(1, 9))[:k]
    table = np.array([np.where(np.arange(k) < rng.integers(1, k + 1), order, -1)])
    lists = np.array([np.where(rng.random(3) < 0.3, -1, rng.permutation(4)[:3])])
    items, members = lists[lists >= 0], table[table >= 0]

    def stays(kept):
        return len(items) > 0 and all(ratings[kept, item].sum() >= quorum for item in items)

    by_place = [stays(table[0, : k - f][table[0, : k - f] >= 0]) for f in range(k + 1)]
    of_any = [
        all(stays(np.setdiff1d(members, out)) for out in itertools.combinations(members, f))
        for f in range(len(members) + 1)
    ]
    for displaced, holds in (("farthest", by_place), ("any", of_any)):
        (found,) = survives(table, sp.csr_matrix(ratings), lists, quorum, displaced=displaced)
        assert holds == [f <= found for f in range(len(holds))]


def test_survival_of_lists_wants_one_of_two_rules():
    with pytest.raises(ValueError, match="displaced must be one of farthest, any"):
        survives(np.array([[1]]), sp.csr_matrix(np.eye(2)), np.array([[1]]), 1, displaced="first")


# Whoever counts votes.


def test_votes_are_the_stored_cells_of_the_neighbours():
    rng = np.random.default_rng(0)
    ratings = sp.random(20, 15, 0.3, format="csr", random_state=1)
    ratings.data[::5] = 0  # stored, so rated
    dense = np.zeros(ratings.shape, dtype=bool)
    dense[ratings.tocoo().row, ratings.tocoo().col] = True
    table = np.array([rng.permutation(20)[:4] for _ in range(20)])
    table[::3, 2:] = -1
    items = rng.integers(-1, 15, (20, 6))
    found = rated_by_neighbors(table, ratings, items)
    for u, j, place in np.ndindex(found.shape):
        v, i = table[u, j], items[u, place]
        assert found[u, j, place] == (v >= 0 and i >= 0 and dense[v, i])
    shuffled = ratings.copy()
    shuffled.indices[:2], shuffled.data[:2] = ratings.indices[1::-1][:2], ratings.data[1::-1][:2]
    assert (rated_by_neighbors(table, shuffled, items) == found).all()
    assert not rated_by_neighbors(table, sp.csr_matrix((20, 15)), items).any()


@pytest.mark.parametrize(
    ("neighbors", "message"),
    [
        ([[-1, 0]], "nobody, comes last"),
        ([[0, 2]], "row numbers below 2"),
        ([[0.0, 1.0]], "row numbers below 2"),
        ([0, 1], "row numbers below 2"),
    ],
)
def test_a_table_of_neighbours_holds_rows_nearest_first(neighbors, message):
    with pytest.raises(ValueError, match=message):
        rated_by_neighbors(np.array(neighbors), sp.csr_matrix(np.eye(2)), np.array([0]))
