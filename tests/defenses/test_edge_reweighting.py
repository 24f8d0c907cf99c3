"""Edge reweighting: conformance, the spectral score against a dense solver, and a known graph."""

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp
from conformance import ANY_VICTIM, USERS, DefenseConformance, trained
from pydantic import ValidationError

from rvdlib.defenses import Count, EdgeReweighting
from rvdlib.defenses.edge_reweighting import UNITS
from rvdlib.neighbors import NeighborSearch

KNN = {"k": 9, "distance": "profile_overlap", "hubness_reduction": "none", "max_in_degree": None}


class TestEdgeReweighting(DefenseConformance):
    kinds = ANY_VICTIM
    tolerance = 1e-5  # the victim's own
    dtype = np.float64
    reads_row_numbers = (
        True  # of profiles that overlap as much, as user-kNN does: often, of few items
    )

    def defend(self, victim):
        return EdgeReweighting(victim, k=9, n_eigenvectors=5, graph_k=5)


class Victim:
    """Of so many users: their latent vectors and ratings are given."""

    max_rating = 5.0

    def __init__(self, factors, train):
        self.factors, self.train = np.asarray(factors, dtype=float), sp.csr_matrix(train)

    def user_factors(self):
        return self.factors

    def score(self, users):
        return np.zeros((len(users), self.train.shape[1]))


def laplacian(lists, n_users):
    graph = np.zeros((n_users, n_users))
    np.put_along_axis(graph, lists, 1, axis=1)
    graph = np.maximum(graph, graph.T)
    return graph, np.diag(graph.sum(axis=1)) - graph


@pytest.mark.parametrize("n_eigenvectors", [1, 6])
def test_fragility_is_that_of_the_largest_generalised_eigenvalues(n_eigenvectors):
    victim = trained("MF", "rating")
    n_users, everybody = victim.train.shape[0], np.arange(victim.train.shape[0])
    defended = EdgeReweighting(victim, **KNN, n_eigenvectors=n_eigenvectors, graph_k=4)
    into, above = laplacian(
        NeighborSearch(None, 4, "profile_overlap", ratings=victim.train)(everybody), n_users
    )
    _, below = laplacian(NeighborSearch(victim.user_factors(), 4)(everybody), n_users)
    values, vectors = scipy.linalg.eigh(above, below + 0.01 * np.eye(n_users))
    near = np.sqrt(values[-n_eigenvectors:]) * vectors[:, -n_eigenvectors:]
    away = ((near[:, None] - near) ** 2).sum(axis=2)
    expected = away / away[into > 0].mean()
    others = np.tile(everybody, (n_users, 1))
    assert defended.fragility(everybody, others) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_without_strength_it_is_user_knn_and_with_it_no_vote_grows():
    victim = trained("CDAE", "ranking")
    whole = Count(victim, **KNN)
    same = EdgeReweighting(victim, **KNN, strength=0, graph_k=5)
    assert np.array_equal(same.votes(USERS), UNITS * whole.votes(USERS))
    assert np.array_equal(same.score(USERS).argsort(), whole.score(USERS).argsort())
    last = same.votes(USERS)
    for strength in (0.5, 2, 50):
        votes = EdgeReweighting(victim, **KNN, strength=strength, graph_k=5).votes(USERS)
        assert (votes <= last).all()
        assert votes.sum() < last.sum()
        last = votes


def test_who_rates_alike_and_is_served_otherwise_has_the_least_of_a_vote():
    """Two groups; user 5 rates as the first do, and has the latent vector of the second."""
    rng = np.random.default_rng(0)
    train = np.zeros((12, 24))
    for user in range(12):
        first = 0 if user < 6 else 12
        train[user, first + rng.choice(12, 9, replace=False)] = 4
    factors = np.where(np.arange(12) < 5, 0, 9)[:, None] + rng.normal(size=(12, 3)) / 9
    defended = EdgeReweighting(Victim(factors, train), **(KNN | {"k": 5}), graph_k=5)
    rows = defended.vicinity(np.arange(5))
    assert (rows == 5).any(axis=1).all()
    fragile = defended.fragility(np.arange(5), rows)
    assert fragile[rows == 5].min() > 5 * fragile[rows != 5].max()


def test_votes_are_those_of_each_neighbour_by_hand():
    victim = trained("MF", "rating")
    defended = EdgeReweighting(victim, **KNN, strength=3, graph_k=5)
    rows = defended.vicinity(USERS)
    weights = np.rint(UNITS / (1 + 3 * defended.fragility(USERS, rows)))
    rated = victim.train.toarray() > 0
    expected = [w @ rated[near] for w, near in zip(weights, rows, strict=True)]
    assert np.array_equal(defended.votes(USERS), np.array(expected))


def test_limited_neighbours_whose_lists_are_short_vote_alone():
    victim = trained("MF", "rating")
    limited = {"k": 9, "max_in_degree": 9, "distance": "euclidean"}
    defended = EdgeReweighting(victim, **limited, strength=0, graph_k=5)
    assert np.array_equal(defended.votes(USERS), UNITS * Count(victim, **limited).votes(USERS))


@pytest.mark.parametrize(
    "wrong", [{"strength": -1}, {"n_eigenvectors": 0}, {"graph_k": 0}, {"eigenvectors": 3}]
)
def test_choices_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        EdgeReweighting(trained("MF", "rating"), **wrong)
