"""Detectors that choose their cut without labels: conformance, features by hand, planted fakes."""

import numpy as np
import pytest
import scipy.sparse as sp
from conformance import TrainingConformance, poisoned
from pydantic import ValidationError

from rvdlib.attacks import craft, poison
from rvdlib.data import leave_one_out
from rvdlib.defenses import PCADetection, ProfileDetection, profile_detection
from rvdlib.defenses.profile_detection import degree_of_similarity, features, simulated
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model, draw_targets


class TestPCADetection(TrainingConformance):
    @pytest.fixture
    def defense(self):
        return PCADetection(deviations=1)


class TestProfileDetection(TrainingConformance):
    @pytest.fixture
    def defense(self):
        return ProfileDetection()


def gone(defense, train, levels):
    kept = defense.clean(train, levels, stream(0, "clean"))
    removed = np.diff(kept.indptr) < np.diff(train.indptr)
    assert (np.diff(kept.indptr)[removed] == 0).all()  # whole or not at all
    return removed


def attacked(ratings, name):
    split = leave_one_out(ratings, stream(0, "split"))
    targets = draw_targets(split, "unpopular", stream(0, "targets"))
    threat = build_threat_model(split, targets, stream(0, "threat"))
    return split.train, poison(split, craft(name, threat, stream(0, name)))


@pytest.mark.parametrize("n_clones", [1, 10, 25, 60])
def test_pca_finds_planted_clones_unless_they_make_a_component_of_their_own(ml100k, n_clones):
    rng, profile = np.random.default_rng(1), np.zeros((1, ml100k.matrix.shape[1]))
    profile[0, rng.choice(profile.size, 106, replace=False)] = rng.integers(1, 6, 106)
    clones = sp.csr_matrix(np.repeat(profile, n_clones, axis=0).astype(np.float32))
    train = sp.vstack([ml100k.matrix, clones], format="csr")
    removed = gone(PCADetection(), train, ml100k.levels)
    n_real = ml100k.matrix.shape[0]
    assert (removed[n_real:] == (n_clones < 40)).all()
    assert removed[:n_real].mean() < 0.03


def test_where_nobody_is_fake_hardly_anybody_is_removed(ml100k):
    for detector in (PCADetection(), ProfileDetection()):
        assert gone(detector, ml100k.matrix, ml100k.levels).mean() < 0.03


@pytest.mark.parametrize(
    ("unseen", "trained_on"), [("average", ("random",)), ("random", ("average", "bandwagon"))]
)
def test_a_detector_finds_an_attack_that_it_was_not_trained_on(ml100k, unseen, trained_on):
    real, train = attacked(ml100k, unseen)
    removed = gone(ProfileDetection(attacks=trained_on), train, ml100k.levels)
    assert removed[real.shape[0] :].mean() > 0.9
    assert removed[: real.shape[0]].mean() < 0.03


def test_a_detector_never_sees_labels_of_the_attack_under_test(ml100k, monkeypatch):
    _, train = attacked(ml100k, "average")
    seen, made = [], []

    class Spy(profile_detection.LogisticRegression):
        def fit(self, examples, labels):
            seen.append(np.asarray(labels))
            return super().fit(examples, labels)

    def make(name, *given):
        made.append((name, simulated(name, *given)))
        return made[-1][1]

    monkeypatch.setattr(profile_detection, "LogisticRegression", Spy)
    monkeypatch.setattr(profile_detection, "simulated", make)
    ProfileDetection(attacks=("random", "bandwagon")).clean(train, ml100k.levels, stream(0))
    assert [name for name, _ in made] == ["random", "bandwagon"]
    n_rows, (labels,) = train.shape[0], seen
    parts = np.split(labels, [n_rows + made[0][1].shape[0]])
    for part, (_, fakes) in zip(parts, made, strict=True):
        assert not part[:n_rows].any()  # all who are in the data, fakes among them
        assert part[n_rows:].all()
        assert len(part) == n_rows + fakes.shape[0]


@pytest.mark.parametrize("name", ["random", "average", "bandwagon"])
def test_what_is_made_up_keeps_the_budget_of_an_attack(name):
    train, _, levels = poisoned()
    fakes = simulated(name, train, levels, 9, stream(0))
    per_user = np.diff(train.indptr)
    mean = round(per_user[per_user > 0].mean())
    assert fakes.shape == (9, train.shape[1])
    popular = profile_detection.N_POPULAR * (name == "bandwagon")
    fillers = popular + max(mean - popular, 1)
    assert (np.diff(fakes.indptr) == profile_detection.N_TARGETS + fillers).all()
    assert fakes.has_canonical_format
    assert set(fakes.data) <= set(levels)
    at_top = (fakes.toarray() == levels[-1]).all(axis=0).sum()
    assert at_top >= profile_detection.N_TARGETS + popular


def test_features_by_hand():
    rows = np.array([[5, 3, 0, 0], [1, 3, 4, 0], [0, 0, 0, 0], [3, 0, 2, 1]], dtype=np.float32)
    found = features(sp.csr_matrix(rows))
    # Means 3, 3, 3, 1 of 3, 2, 2, 1 ratings.
    agreement = [2 / 3, 2 / 3 + 1 / 2, 0, 1 / 2]
    weighted = [2 / 9 / 2, (2 / 9 + 1 / 4) / 3, 0, 1 / 4 / 3]
    assert found[:, 0] == pytest.approx(np.array(agreement) / [2, 3, 1, 3])
    assert found[:, 1] == pytest.approx(weighted)
    assert found[:, 2] == pytest.approx(agreement)
    unlike = np.array([2, 1, 0, 1]) / 3  # of lengths 2, 3 and 3
    assert found[:, 4] == pytest.approx(unlike / (unlike**2).sum())


def test_the_degree_of_similarity_is_the_mean_of_the_largest_cosines():
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 6, (40, 12)) * (rng.random((40, 12)) < 0.5)
    dense[3] = 0
    rated = dense > 0
    centred = (
        dense - dense.sum(1, keepdims=True) / np.maximum(rated.sum(1, keepdims=True), 1)
    ) * rated
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    expected = np.sort(cosines, axis=1)[:, -7:].mean(axis=1)
    rows = sp.csr_matrix(dense.astype(np.float32))
    assert degree_of_similarity(rows, 7) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("detector", "choice"),
    [
        (PCADetection, {"deviations": 0}),
        (ProfileDetection, {"attacks": ("aush",)}),
        (ProfileDetection, {"attacks": ()}),
        (ProfileDetection, {"users": 0}),
    ],
)
def test_a_choice_out_of_range_is_refused(detector, choice):
    with pytest.raises(ValidationError, match=next(iter(choice))):
        detector(**choice)
