"""Propagation from known fakes: rounds by hand, the walk that they stand for, and fakes among real users."""

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.attacks import craft, poison
from rvdlib.data import leave_one_out
from rvdlib.defenses.fraudulent_action_propagation import propagated
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model, draw_targets


@pytest.mark.parametrize(
    ("tolerance", "expected"),
    [  # the largest change of the first three rounds is 1/4, 1/8, 5/64
        (0.3, [1, 0.25, 0, 0]),
        (0.2, [1, 0.375, 0.0625, 0]),
        (0.1, [1, 0.453125, 0.125, 0.03125]),
    ],
)
def test_rounds_along_a_chain_of_equal_ratings(tolerance, expected):
    """Users 0 to 3 rate items 0, 01, 12, 2; user 0 is known. Ratings that are all alike weigh alike."""
    rated = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0]])
    found = propagated(sp.csr_matrix(4.0 * rated), np.array([0]), tolerance)
    assert found == pytest.approx([*expected, 0])  # who rated nothing is met by nobody


def test_a_walk_prefers_ratings_that_deviate():
    """Two raters of one item, and the first round of an unknown one, weights written out."""
    stars = np.array([[5.0, 1.0], [2.0, 4.0]])
    found = propagated(sp.csr_matrix(stars), np.array([0]), tolerance=1)
    users, items = stars.mean(axis=1, keepdims=True), stars.mean(axis=0)
    weights = 1 + abs(stars - users) / users + abs(stars - items) / items + abs(stars - 3) / 3
    to_known = weights[0] / weights.sum(axis=0)
    assert found[1] == pytest.approx((weights[1] / weights[1].sum()) @ to_known)


@pytest.mark.parametrize("attack", ["random", "low_clone"])
def test_from_three_fakes_most_others_are_found(ml100k, attack):
    split = leave_one_out(ml100k, stream(0, "split"))
    targets = draw_targets(split, "unpopular", stream(0, "targets"))
    threat = build_threat_model(split, targets, stream(0, "threat"))
    train = poison(split, craft(attack, threat, stream(0, attack)))
    n_real, n_users = split.train.shape[0], train.shape[0]
    found = propagated(train, n_real + np.arange(3))
    likeliest = np.argsort(-found, kind="stable")[: n_users - n_real]
    others = likeliest[~np.isin(likeliest, n_real + np.arange(3))]
    assert (others >= n_real).mean() > 0.7
