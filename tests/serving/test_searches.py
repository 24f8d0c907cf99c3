"""A search that follows updates finds what one made anew finds, and knows whose neighbours are others."""

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.defenses.vicinal_defense import VicinityConfig
from rvdlib.neighbors import DISTANCES, NeighborSearch
from rvdlib.neighbors.balanced import BalancedSearch
from rvdlib.seeding import stream
from rvdlib.serving import matching, searches
from rvdlib.serving.change import Change

N, ITEMS, D, K, STEPS = 150, 40, 4, 6, 6


def rows_of(n, rng):
    """Users in pairs of equals, so that distances tie; one in nine has no rating."""
    vectors = rng.integers(-4, 5, (n, D)) + np.repeat(rng.random((-(-n // 2), 1)), 2, axis=0)[:n]
    vectors[: n // 4] = rng.standard_normal((n // 4, D))
    rated = (rng.random((n, ITEMS)) < 0.2) * rng.integers(1, 6, (n, ITEMS))
    rated[::9] = 0
    return vectors, sp.csr_matrix(rated.astype(np.float32))


def changed(n_before, rng, n_came=3):
    """One of three things: some have changed, one has left, others have come."""
    kind = rng.integers(3)
    source = np.arange(n_before)
    if kind == 0:
        at = np.sort(rng.choice(n_before, n_came, replace=False))
        source[at] = n_before + np.arange(n_came)
    elif kind == 1:
        source, n_came = np.delete(source, rng.integers(n_before)), 0
    else:
        at = np.sort(rng.integers(0, n_before + 1, n_came))
        source = np.insert(source, at, n_before + np.arange(n_came))
    return Change(n_before, source), n_came


CASES = [
    (distance, reduction, limit)
    for distance in DISTANCES
    for reduction in ("none", "local_scaling")
    for limit in (None, K, 2 * K)
    if (distance, reduction) != ("inner_product", "local_scaling")
]


@pytest.mark.parametrize(("distance", "reduction", "limit"), CASES)
def test_after_any_change_lists_are_those_of_a_new_search(monkeypatch, distance, reduction, limit):
    monkeypatch.setattr(matching, "LISTED", 14)
    monkeypatch.setattr(searches, "MOST", 1)
    monkeypatch.setattr(matching, "MOST", 1)
    choices = {"k": K, "distance": distance, "hubness_reduction": reduction}
    config, rng = VicinityConfig(**choices, max_in_degree=limit), stream(0, "steps", distance)
    own = choices | ({"max_in_degree": limit} if limit else {})
    vectors, train = rows_of(N, rng)
    search = matching.following(config, vectors, train)
    lists, kept = search(np.arange(N)), 0
    for _ in range(STEPS):
        change, n_came = changed(len(vectors), rng)
        came, rated = rows_of(max(n_came, 1), rng)
        vectors = change.rows(vectors, came[:n_came])
        train = change.csr(train, rated[:n_came])
        # What has been asked for is kept or given up; of nobody else anything is known.
        search, lost = search.after(change, vectors, train)
        kind = BalancedSearch if limit else NeighborSearch
        given = None if distance == "profile_overlap" else vectors
        expected = kind(given, ratings=train, **own)(np.arange(len(vectors)))
        now = np.append(np.where(change.now < 0, -2, change.now), -1)
        before = change.rows(now[lists], -2)
        np.testing.assert_array_equal(before[~lost], expected[~lost])
        kept += (~lost).sum()
        lists = search(np.arange(len(vectors)))
        np.testing.assert_array_equal(lists, expected)
    assert kept > STEPS * N / 4  # most stay


def test_rows_follow_a_change_as_they_would_one_by_one():
    rng = stream(0, "rows")
    for _ in range(30):
        change, n_came = changed(20, rng)
        (old, rated), (new, ratings) = rows_of(20, rng), rows_of(3, rng)
        new, ratings = new[:n_came], ratings[:n_came]
        expected = np.vstack([old, new])[change.source]
        np.testing.assert_array_equal(change.rows(old, new), expected)
        found = change.csr(rated, ratings)
        found.check_format(full_check=True)
        assert (found != sp.vstack([rated, ratings], "csr")[change.source]).nnz == 0
