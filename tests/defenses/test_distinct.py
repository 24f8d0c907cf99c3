"""Distinct neighbours against sets and loops in Python, and what the defences make of them."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from conformance import ANY_VICTIM, FAKE, N_USERS, USERS, DefenseConformance, trained
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvdlib.defenses import RVD, ClosedFormRVD, FastRVD, vicinal_defense
from rvdlib.neighbors import DISTANCES, MUTUAL_REACH, NeighborSearch, distinct
from rvdlib.neighbors.distinct import DistinctSearch

FORMS = (RVD, FastRVD, ClosedFormRVD)


class TestClosedFormOfDistinctNeighbours(DefenseConformance):
    kinds = ANY_VICTIM
    tolerance = 1e-5

    def defend(self, victim):
        return ClosedFormRVD(victim, k=6, max_overlap=0.2)


def csr(profiles, n_items):
    dense = np.zeros((len(profiles), n_items), dtype=np.float32)
    for user, profile in enumerate(profiles):
        dense[user, list(profile)] = 1
    return sp.csr_matrix(dense)


def overlap(these, those):
    return Fraction(len(these & those), max(1, len(these | those)))


def by_hand(order, profiles, k, max_overlap):
    """k of ``order``, everybody but u nearest first."""
    chosen, others = [], []
    for v in order:
        alike = any(float(overlap(profiles[v], profiles[w])) > max_overlap for w in chosen)
        (others if alike else chosen).append(v)
    return (chosen + others)[:k]


def crowd(rng, n_users, n_items, n_copies):
    """Integer vectors, so that many tie, and profiles, some copied and then changed by an item."""
    vectors = rng.integers(-3, 4, (n_users, 2)).astype(float)
    profiles = [
        set(np.flatnonzero(rng.random(n_items) < rng.random()).tolist()) for _ in range(n_users)
    ]
    for _ in range(n_copies):
        source, copy = rng.integers(n_users, size=2)
        profiles[copy] = profiles[source] ^ set(rng.integers(n_items, size=rng.integers(2)))
    return vectors, profiles


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_users=st.integers(2, 40),
    n_items=st.integers(1, 12),
    k=st.integers(1, 39),
    n_copies=st.integers(0, 40),
    max_overlap=st.sampled_from([1e-9, 0.1, 1 / 3, 0.5, 2 / 3, 0.75, 0.9, 1.0]),
    distance=st.sampled_from(DISTANCES),
)
def test_neighbours_are_those_that_sets_and_loops_find(
    seed, n_users, n_items, k, n_copies, max_overlap, distance
):
    rng, k = np.random.default_rng(seed), min(k, n_users - 1)
    vectors, profiles = crowd(rng, n_users, n_items, n_copies)
    ratings, users = csr(profiles, n_items), np.arange(n_users)
    order = NeighborSearch(vectors, n_users - 1, distance, ratings=ratings)(users)
    search = DistinctSearch(vectors, k, distance, max_overlap=max_overlap, ratings=ratings)
    found = search(users)
    assert found.shape == (n_users, k)
    assert found.dtype == np.int64
    assert found.tolist() == [by_hand(o.tolist(), profiles, k, max_overlap) for o in order]


def brute_order(vectors, k, hubness_reduction):
    """Everybody but u, nearest first, with the reductions of that k."""
    n_users = len(vectors)
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    np.fill_diagonal(distances, np.inf)
    if hubness_reduction == "local_scaling":
        scale = np.sort(distances, axis=1)[:, :k].mean(axis=1)
        distances = distances / np.sqrt(scale)
    order = np.argsort(distances, axis=1)[:, :-1]
    if hubness_reduction != "mutual":
        return order
    rank = np.argsort(np.argsort(distances, axis=1), axis=1)
    reach = min(MUTUAL_REACH * k, n_users - 1)
    worse = np.maximum(rank, rank.T)
    first = np.minimum(worse, reach)
    return [sorted(o, key=lambda v, u=u: (first[u, v], rank[u, v])) for u, o in enumerate(order)]


@pytest.mark.parametrize("max_overlap", [1.0, 0.5])
@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("hubness_reduction", ["none", "local_scaling", "mutual"])
def test_however_long_the_search_hubs_are_those_of_k(hubness_reduction, k, max_overlap):
    """Profiles are so few that a list of MUTUAL_REACH times k may not be enough."""
    rng, n_users = np.random.default_rng(0), 90
    vectors = rng.standard_normal((n_users, 4))
    profiles = [{item} for item in np.minimum(rng.zipf(3, n_users), 9).tolist()]
    choices = {"hubness_reduction": hubness_reduction, "ratings": csr(profiles, 10)}
    found = DistinctSearch(vectors, k, max_overlap=max_overlap, **choices)(np.arange(n_users))
    order = brute_order(vectors, k, hubness_reduction)
    assert found.tolist() == [by_hand(o, profiles, k, max_overlap) for o in order]
    if max_overlap == 1:
        assert np.array_equal(found, NeighborSearch(vectors, k, **choices)(np.arange(n_users)))


@settings(max_examples=150, deadline=None)
@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.booleans())
def test_the_farther_of_two_goes_only_if_they_overlap_by_more(these, those, nested):
    """At their very index both stay; at the next number below only the nearer does."""
    profiles = [{41}, these, these | those if nested else those, {42}]
    index = float(overlap(profiles[1], profiles[2]))
    found = {
        limit: DistinctSearch(
            np.arange(4.0)[:, None], 2, max_overlap=limit, ratings=csr(profiles, 43)
        )(np.array([0]))[0].tolist()
        for limit in (index, np.nextafter(index, 0))
        if limit > 0
    }
    assert found.get(index, [1, 2]) == [1, 2]
    assert found.get(np.nextafter(index, 0), [1, 3]) == [1, 3]


@pytest.mark.parametrize("max_overlap", [0.3, 0.9, 0.999])
def test_of_identical_profiles_one_stands_in_a_list(max_overlap):
    """However many they are: who lives among them has to look far beyond k."""
    rng, n_users, clones = np.random.default_rng(0), 400, np.arange(100, 400)
    profiles = [{user, 200 + user} for user in range(n_users)]
    vectors = rng.standard_normal((n_users, 3))
    for clone in clones:
        profiles[clone], vectors[clone] = {0, 1, 2, 3}, 0.01 * vectors[clone]
    search = DistinctSearch(vectors, 8, max_overlap=max_overlap, ratings=csr(profiles, 600))
    found = search(np.arange(n_users))
    heard = np.isin(found, clones).sum(axis=1)
    assert heard.max() == 1
    assert (heard[clones] == 1).all()
    assert np.isin(NeighborSearch(vectors, 8)(clones), clones).all()


def test_where_too_few_are_distinct_the_others_follow_nearest_first():
    profiles = [{0}, {1}, {1}, {1}, {2}, {2}, {2}]
    vectors = np.array([0, 3, 1, 2, 6, 4, 5.0])[:, None]
    search = DistinctSearch(vectors, 5, max_overlap=0.5, ratings=csr(profiles, 3))
    assert search(np.array([0])).tolist() == [[2, 5, 3, 1, 6]]
    assert search(np.array([4])).tolist() == [[6, 1, 0, 5, 3]]


def test_who_rated_nothing_overlaps_nobody():
    profiles = [{0}, set(), set(), set()]
    search = DistinctSearch(np.arange(4.0)[:, None], 3, max_overlap=0.01, ratings=csr(profiles, 1))
    assert search(np.array([0])).tolist() == [[1, 2, 3]]


def test_what_is_stored_is_rated_in_whatever_order_it_is_stored():
    """Explicit zeros and unsorted or repeated entries; the matrix handed in stays as it is."""
    items = np.array([5, 3, 2, 3, 5, 3, 3, 0])
    values = np.array([1, 0, 1, 1, 1, 1, 0, 1.0])
    ratings = sp.csr_matrix((values, items, np.array([0, 0, 3, 7, 8])), shape=(4, 6))
    before = ratings.indices.copy()
    vectors = np.arange(4.0)[:, None]
    # {5, 3, 2} and {3, 5}: 2 / 3
    for limit, expected in ((0.65, [1, 3]), (0.67, [1, 2])):
        search = DistinctSearch(vectors, 2, max_overlap=limit, ratings=ratings)
        assert search(np.array([0])).tolist() == [expected]
    assert np.array_equal(ratings.indices, before)


@pytest.mark.parametrize("hubness_reduction", ["none", "local_scaling", "mutual"])
def test_a_list_depends_on_nobody_else_who_is_served_and_on_no_thread(
    hubness_reduction, monkeypatch
):
    rng = np.random.default_rng(0)
    vectors, profiles = crowd(rng, 90, 10, 60)
    choices = {"max_overlap": 0.4, "ratings": csr(profiles, 10)}
    search = DistinctSearch(vectors, 6, hubness_reduction=hubness_reduction, **choices)
    users = rng.permutation(np.repeat(np.arange(90), 2))
    together = search(users)
    assert np.array_equal(together, [search(np.array([user]))[0] for user in users])
    monkeypatch.setattr(distinct, "_USERS_AT_ONCE", 7)
    monkeypatch.setattr(distinct, "_BLOCK_USERS", 2)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert np.array_equal(search(users), together)
    finally:
        torch.set_num_threads(threads)
    assert search(users[:0]).shape == (0, 6)


def test_ratings_of_other_users_are_refused():
    with pytest.raises(ValueError, match="a row for each of the 5 users, got 4"):
        DistinctSearch(np.eye(5), 2, max_overlap=0.5, ratings=csr([{0}] * 4, 3))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_learns_from_distinct_neighbours(form):
    victim, everyone = trained("MF", "ranking"), np.arange(N_USERS)
    profiles = [set(row.indices.tolist()) for row in victim.train]
    order = NeighborSearch(victim.user_factors(), N_USERS - 1, ratings=victim.train)(everyone)
    found = form(victim, k=9, max_overlap=0.25, include_user=True).vicinity(everyone)
    assert found[:, :-1].tolist() == [by_hand(o.tolist(), profiles, 9, 0.25) for o in order]
    assert np.array_equal(found[:, -1], everyone)
    assert (found[:, :-1] != order[:, :9]).any()


@pytest.mark.parametrize("form", FORMS)
def test_without_a_limit_or_near_duplicates_scores_are_the_same(form, monkeypatch):
    """By the bit; and without a limit nobody's profile is looked at."""
    victim = trained("MF", "rating")
    profiles = [set(row.indices.tolist()) for row in victim.train]
    real = USERS[USERS < FAKE - 2]
    without = form(victim, k=3)
    expected = without.score(real)
    pairs = [pair for near in without.vicinity(real) for pair in combinations(near, 2)]
    limit = float(max(overlap(profiles[v], profiles[w]) for v, w in pairs))
    assert 0 < limit < 1
    assert np.array_equal(form(victim, k=3, max_overlap=limit).score(real), expected)
    below = np.nextafter(limit, 0)
    assert not np.array_equal(form(victim, k=3, max_overlap=below).score(real), expected)
    monkeypatch.setattr(vicinal_defense, "DistinctSearch", None)
    assert np.array_equal(form(victim, k=3, max_overlap=1.0).score(real), expected)


@pytest.mark.parametrize("max_overlap", [0, -0.1, 1.01, float("nan"), None])
@pytest.mark.parametrize("form", FORMS)
def test_a_limit_out_of_range_is_refused(form, max_overlap):
    with pytest.raises(ValidationError, match="max_overlap"):
        form(trained("MF", "rating"), max_overlap=max_overlap)
