"""Cells under a quorum are held to its certificates, and a broken rule is noticed."""

import numpy as np
import pytest

from rvdlib.defenses import Quorum
from rvdlib.evaluation import evaluate
from rvdlib.lab.experiment import certified
from rvdlib.lab.experiment.cells import Scenario, carry_out
from tests.lab.conftest import small_victims


@pytest.fixture(scope="module")
def attacked():
    with pytest.MonkeyPatch.context() as patch:
        small_victims(patch, embedding_size=16, epochs=3)
        return carry_out(
            Scenario(dataset="ml-100k", victim="MF", regime="rating", attack="low_clone", seed=0)
        )


@pytest.mark.parametrize("include_user", [False, True])
def test_a_quorum_keeps_its_certificates_under_an_attack(attacked, include_user):
    n_real = attacked.split.train.shape[0]
    quorum = Quorum(attacked.victim, k=10, quorum=2, include_user=include_user)
    found = evaluate(quorum, attacked.split, attacked.targets, users=np.arange(200))
    assert certified.violations(quorum, found, n_real) == 0


def test_a_quorum_that_asks_for_less_than_it_says_is_noticed(attacked):
    n_real = attacked.split.train.shape[0]

    class Broken(Quorum):
        def eligible(self, users):
            return self.votes(users) >= self.config.quorum - 1

    broken = Broken(attacked.victim, k=10, quorum=2)
    found = evaluate(broken, attacked.split, attacked.targets, users=np.arange(200))
    assert certified.violations(broken, found, n_real) > 0


def test_a_list_that_ignores_what_is_eligible_is_noticed(attacked):
    n_real = attacked.split.train.shape[0]
    quorum = Quorum(attacked.victim, k=10, quorum=2)
    found = evaluate(attacked.victim, attacked.split, attacked.targets, users=np.arange(200))
    assert certified.violations(quorum, found, n_real) > 0


def test_what_promises_nothing_has_no_number(attacked):
    n_real = attacked.split.train.shape[0]
    for recommender in (attacked.victim, Quorum(attacked.victim, k=10, quorum=2, fill="votes")):
        found = evaluate(recommender, attacked.split, attacked.targets, users=np.arange(20))
        assert np.isnan(certified.violations(recommender, found, n_real))
