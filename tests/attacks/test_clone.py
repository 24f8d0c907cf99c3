import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.attacks import craft
from rvdlib.data import leave_one_out, round_to_levels
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel, build_threat_model, draw_targets

LEVELS = np.arange(1, 6, dtype=np.float32)


def clone(dense, *, targets=(0,), n_fakes=6, filler_size=3):
    visible = sp.csr_matrix(np.array(dense, dtype=np.float32))
    threat = ThreatModel(visible, np.array(targets), n_fakes, filler_size, LEVELS)
    return craft("clone", threat, np.random.default_rng(0)).toarray()


def sources(profile, dense, targets=(0,)):
    """The users whose ratings contain all the fillers of a profile."""
    fillers = np.setdiff1d(np.flatnonzero(profile), targets)
    return np.flatnonzero((dense[:, fillers] == profile[fillers]).all(axis=1))


def test_every_fake_is_part_of_one_real_profile_and_each_of_another(ml100k):
    split = leave_one_out(ml100k, stream(0, "split"))
    targets = draw_targets(split, "unpopular", stream(0, "targets"))
    threat = build_threat_model(split, targets, stream(0, "threat"))
    dense = threat.visible.toarray()
    profiles = craft("clone", threat, stream(0, "attack")).toarray()
    found = [sources(profile, dense, targets) for profile in profiles]
    assert [len(users) for users in found] == [1] * threat.n_fakes
    assert len(np.unique(np.concatenate(found))) == threat.n_fakes


def test_users_with_too_few_ratings_are_not_sources():
    dense = np.zeros((5, 9))
    dense[:4, 1:3] = 2
    dense[4, 1:8] = 4
    profiles = clone(dense)
    assert all(sources(profile, dense).tolist() == [4] for profile in profiles)
    assert len(np.unique(profiles, axis=0)) > 1


def test_a_rated_target_is_no_filler_and_its_old_rating_is_gone():
    dense = np.array([[1, 2, 3, 4, 0]])
    assert clone(dense, n_fakes=1).tolist() == [[5, 2, 3, 4, 0]]


def test_without_a_long_enough_profile_popular_items_fill_up_at_their_mean():
    dense = np.array([[0, 2, 0, 4, 0, 0], [0, 0, 1, 4, 0, 0], [0, 0, 1, 0, 0, 0]])
    profiles = clone(dense, n_fakes=3, filler_size=3)
    assert sorted(profiles.tolist()) == sorted(
        [[5, 2, 1, 4, 0, 0], [5, 2, 1, 4, 0, 0], [5, 2, 1, 4, 0, 0]]
    )
    full = clone(dense, n_fakes=3, filler_size=5)
    # Items that nobody rated stand at the global mean, 2.4.
    assert (full == [5, 2, 1, 4, 2, 2]).all()


@pytest.mark.parametrize("lowered", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_low_clone_is_the_clone_of_the_same_stream_and_rates_lower(ml100k, lowered):
    split = leave_one_out(ml100k, stream(0, "split"))
    targets = draw_targets(split, "unpopular", stream(0, "targets"))
    threat = build_threat_model(split, targets, stream(0, "threat"))
    plain = craft("clone", threat, stream(0, "attack")).toarray()
    low = craft("low_clone", threat, stream(0, "attack"), lowered=lowered).toarray()
    fillers = plain > 0
    fillers[:, targets] = False
    expected = plain.copy()
    expected[fillers] = round_to_levels(np.maximum(plain[fillers] - 4 * lowered, 1), LEVELS)
    assert np.array_equal(low, expected)
    assert (low[fillers].mean() < plain[fillers].mean()) == (lowered > 0)
