"""The detector against an eigen-decomposition, and on attacks that it must and must not find."""

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.attacks import craft
from rvdlib.data import leave_one_out
from rvdlib.defenses.detection import detection_auc, pca_suspicion
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model, draw_targets


def random_ratings(rng, n_users=30, n_items=20):
    dense = rng.integers(1, 6, (n_users, n_items)) * (rng.random((n_users, n_items)) < 0.5)
    dense[3] = 0
    dense[4] = np.where(dense[4] > 0, 4, 0)
    return sp.csr_matrix(dense.astype(np.float32))


def test_suspicion_is_what_the_covariance_of_the_users_says():
    ratings = random_ratings(np.random.default_rng(0))
    rows = ratings.toarray().astype(float)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(rows.std(axis=1, keepdims=True), 1e-12)
    _, vectors = np.linalg.eigh(rows @ rows.T)
    expected = -(vectors[:, -3:] ** 2).sum(axis=1)
    assert pca_suspicion(ratings) == pytest.approx(expected, abs=1e-8)


def test_suspicion_does_not_depend_on_the_order_of_users_or_their_scale():
    ratings = random_ratings(np.random.default_rng(1))
    suspicion = pca_suspicion(ratings)
    order = np.random.default_rng(2).permutation(ratings.shape[0])
    assert pca_suspicion(ratings[order]) == pytest.approx(suspicion[order], abs=1e-8)
    assert pca_suspicion(ratings * np.float32(16)) == pytest.approx(suspicion, abs=1e-8)


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    suspicion = np.array([0.1, 0.5, 0.2, 0.4, 0.6])
    assert detection_auc(suspicion, 3) == pytest.approx(5 / 6)


def test_random_fakes_are_seen_and_copies_of_users_are_not(ml100k):
    split = leave_one_out(ml100k, stream(0, "split"))
    targets = draw_targets(split, "unpopular", stream(0, "targets"))
    threat = build_threat_model(split, targets, stream(0, "threat"))
    found = {}
    for name in ("random", "clone"):
        everybody = sp.vstack([split.train, craft(name, threat, stream(0, name))], format="csr")
        found[name] = detection_auc(pca_suspicion(everybody), split.train.shape[0])
    assert found["random"] > 0.95
    assert found["clone"] < found["random"] - 0.1


@pytest.mark.parametrize("shape", [(3, 9), (9, 3)])
def test_too_small_for_three_components_is_refused(shape):
    with pytest.raises(ValueError, match="more than 3 users and items"):
        pca_suspicion(sp.csr_matrix(np.ones(shape)))
