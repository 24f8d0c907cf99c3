"""Neighbours by a graph: nearly the exact ones, and never somebody who is gone."""

import numpy as np
import pytest

from rvdlib.neighbors import NeighborSearch
from rvdlib.seeding import stream
from rvdlib.serving import RealTimeDefender, UnusableForm
from rvdlib.serving.approximate import METRICS, ApproximateSearch, Graph
from tests.serving.conftest import FORM, victim

ALL = {"method": "closed_form", "choices": {"k": 5}}
K, N = 20, 2000


@pytest.fixture(scope="module")
def vectors():
    return stream(0, "vectors").standard_normal((N, 8)).astype(np.float32)


def lists(graph, vectors, **changed):
    given = {
        "factors": vectors,
        "known": np.arange(len(vectors)),
        "base_factors": vectors,
        "heard": np.ones(len(vectors), dtype=bool),
    } | changed
    return ApproximateSearch(graph, K, **given)


@pytest.mark.parametrize("distance", METRICS)
def test_nearly_all_are_found_in_the_exact_order_and_again_the_same(vectors, distance):
    users = np.arange(0, N, 20)
    exact = NeighborSearch(vectors, K, distance)(users)
    found = lists(Graph(vectors, distance), vectors)(users)
    np.testing.assert_array_equal(found, lists(Graph(vectors, distance), vectors)(users))
    recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found, exact, strict=True)])
    assert recall > 0.95
    whole = [set(a) == set(b) for a, b in zip(found, exact, strict=True)]
    assert sum(whole) > 20
    np.testing.assert_array_equal(found[whole], exact[whole])


def test_who_is_gone_moved_or_has_no_rating_is_not_where_the_graph_has_them(vectors):
    graph = Graph(vectors, "euclidean")
    before = lists(graph, vectors)(np.array([0]))[0]
    gone, moved, silent = before[:3]
    known = np.delete(np.arange(N), gone)
    known = np.append(known, -1)  # somebody new, right beside user 0
    factors = np.vstack([vectors, vectors[0] + 1e-4])[np.append(np.delete(np.arange(N), gone), N)]
    row = {user: at for at, user in enumerate(known.tolist())}
    factors[row[moved]] += 100
    heard = np.ones(N, dtype=bool)
    heard[row[silent]] = False
    search = lists(graph, factors, known=known, base_factors=vectors, heard=heard)
    found = search(np.array([0]))[0]
    assert found[0] == N - 1
    assert not {row[moved], row[silent]} & set(found)
    exact = np.argsort(((factors - factors[0]).astype(float) ** 2).sum(1), kind="stable")
    exact = [v for v in exact if v not in (0, row[silent])][:K]
    assert len(set(found) & set(exact)) >= K - 1
    far = search(np.array([row[moved]]))[0]
    assert len(set(far)) == K
    assert row[moved] not in far


def test_a_few_users_are_all_found_however_many_have_gone(vectors):
    graph = Graph(vectors, "euclidean")
    left = np.arange(0, N, 90)
    search = lists(
        graph, vectors[left], known=left, base_factors=vectors, heard=np.ones(len(left), dtype=bool)
    )
    exact = NeighborSearch(vectors[left], K)(np.arange(len(left)))
    np.testing.assert_array_equal(search(np.arange(len(left))), exact)


def test_a_defender_serves_by_it_and_changes():
    exact, approximate = (
        RealTimeDefender(victim(), form=ALL, approximate=a) for a in (False, True)
    )
    for _ in range(2):
        users = [u for u in range(40) if u != 5]
        assert exact.recommend(users) == approximate.recommend(users)  # of so few, it finds all
        for defender in (exact, approximate):
            defender.update(
                [(3, 1, 5.0), (50, 2, 4.0)], remove=[5] if defender.version == 0 else []
            )


def test_what_needs_everybodys_distances_is_refused_with_the_choice_to_make():
    with pytest.raises(UnusableForm, match="need hubness_reduction 'none', got 'local_scaling'"):
        RealTimeDefender(victim(), form=FORM, approximate=True)
