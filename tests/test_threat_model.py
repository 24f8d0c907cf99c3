import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st

from rvdlib.attacks import craft, poison
from rvdlib.data import Ratings, leave_one_out
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel, build_threat_model, draw_targets

LEVELS = np.arange(1, 6, dtype=np.float32)


def tiny_split(n_users=20, n_items=12):
    rng = np.random.default_rng(0)
    users, items = np.divmod(np.arange(n_users * n_items), n_items)
    keep = rng.random(len(users)) < 0.7
    keep[items < 5] = True
    stars = rng.choice(LEVELS, keep.sum())
    ratings = Ratings.from_triples(users[keep], items[keep], stars, name="tiny", levels=LEVELS)
    return leave_one_out(ratings, stream(0, "split"))


def model(**changes):
    arguments = {
        "visible": sp.csr_matrix(np.ones((3, 6), dtype=np.float32)),
        "targets": np.array([1, 2]),
        "n_fakes": 2,
        "filler_size": 3,
        "levels": LEVELS,
    }
    return ThreatModel(**(arguments | changes))


UNSORTED = sp.csr_matrix((np.ones(2, dtype=np.float32), [3, 1], [0, 2]), shape=(1, 6))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": np.array([], dtype=int)}, "targets must be one item index or more"),
        (
            {"targets": np.array([1.0, 2.0])},
            "targets must be item indices, integers from 0 to 5, got 1.0",
        ),
        ({"targets": np.array([2, 2])}, "targets repeat: 2 stands there twice"),
        ({"targets": np.array([0, 6])}, "targets must be item indices from 0 to 5, got 6"),
        ({"targets": np.array([-1])}, "targets must be item indices from 0 to 5, got -1"),
        ({"filler_size": 5}, "filler_size must be between 0 and 4"),
        ({"filler_size": -1}, "filler_size must be between 0 and 4"),
        ({"filler_size": 1.5}, "filler_size must be a whole number, got 1.5"),
        ({"filler_size": True}, "filler_size must be a whole number, got True"),
        ({"filler_size": "2"}, "filler_size must be a whole number, got '2'"),
        ({"n_fakes": 2.0}, "n_fakes must be a whole number, got 2.0"),
        ({"visible": UNSORTED.tocsc()}, "visible must be a CSR matrix"),
        ({"n_fakes": -1}, "n_fakes must not be negative"),
        ({"levels": LEVELS[::-1]}, "levels must be above 0 and ascending"),
        ({"levels": LEVELS - 1}, "levels must be above 0 and ascending"),
        ({"levels": LEVELS[:0]}, "levels must be above 0 and ascending"),
        ({"visible": sp.csr_matrix((0, 6), dtype=np.float32)}, "at least one user"),
        ({"visible": UNSORTED}, "visible must have sorted indices"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        model(**changes)


def test_a_threat_model_is_frozen_down_to_its_arrays():
    split = tiny_split()
    threat = build_threat_model(split, np.array([3, 1]), stream(0, "threat"), attack_size=0.1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        threat.n_fakes = 100
    for array in (threat.visible.data, threat.visible.indices, threat.targets, threat.levels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@given(percent=st.integers(0, 100), n_users=st.integers(1, 300))
@example(percent=29, n_users=100)  # 0.29 · 100 is 28.999999999999996
def test_the_number_of_fakes_is_the_exact_floor(percent, n_users):
    split = dataclasses.replace(
        tiny_split(), train=sp.csr_matrix(np.ones((n_users, 12), dtype=np.float32))
    )
    exact = percent * n_users // 100
    if percent and not exact:
        with pytest.raises(ValueError, match="less than one fake profile"):
            build_threat_model(
                split, np.array([1]), stream(0), attack_size=percent / 100, filler_size=3
            )
    else:
        threat = build_threat_model(
            split, np.array([1]), stream(0), attack_size=percent / 100, filler_size=3
        )
        assert threat.n_fakes == exact


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack_size": -0.1}, "attack_size"),
        ({"attack_size": 1.1}, "attack_size"),
        ({"visible_share": 0}, "visible_share"),
        ({"visible_share": 1.1}, "visible_share"),
        ({"filler_size": 12}, "filler_size"),
    ],
)
def test_shares_and_sizes_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        build_threat_model(
            tiny_split(), np.array([1]), stream(0, "threat"), **({"attack_size": 0.1} | options)
        )


def test_the_attacker_sees_training_rows_only_and_as_many_as_said(ml100k):
    split = leave_one_out(ml100k, stream(0, "split"))
    targets = draw_targets(split, "random", stream(0, "targets"))
    threat = build_threat_model(split, targets, stream(0, "threat"))
    assert threat.visible.shape == (377, 1682)
    assert (threat.n_fakes, threat.filler_size) == (28, 106)
    rows = {row.tobytes() for row in split.train.toarray()}
    assert all(row.tobytes() in rows for row in threat.visible.toarray())


@pytest.mark.parametrize(("share", "seen"), [(0.01, 1), (0.36, 7), (0.38, 8), (0.4, 8), (1, 20)])
def test_of_twenty_users_as_many_are_seen_as_come_nearest_to_the_share(share, seen):
    threat = build_threat_model(
        tiny_split(), np.array([1]), stream(0), attack_size=0.1, visible_share=share
    )
    assert threat.visible.shape[0] == seen


def test_items_that_nobody_rated_do_not_count_towards_the_middle():
    counts = np.array([0] * 7 + [1, 2, 3, 4, 5])
    train = sp.csr_matrix((np.arange(5)[:, None] < counts).astype(np.float32))
    split = dataclasses.replace(tiny_split(), train=train)
    assert draw_targets(split, "middling", stream(0), n_targets=1).tolist() == [9]


def test_middling_targets_are_the_middle_fifth_of_the_rated_items(ml100k):
    split = leave_one_out(ml100k, stream(0, "split"))
    counts = np.bincount(split.train.indices, minlength=split.train.shape[1])
    drawn = np.concatenate(
        [draw_targets(split, "middling", stream(seed, "t")) for seed in range(40)]
    )
    ranks = np.array([np.mean(counts[counts > 0] < counts[item]) for item in drawn])
    assert (ranks <= 0.6).all()
    below = np.array([np.mean(counts[counts > 0] <= counts[item]) for item in drawn])
    assert (below >= 0.4).all()
    assert len(np.unique(drawn)) > 100


def test_target_sets_are_of_the_popularity_that_they_name(ml100k):
    split = leave_one_out(ml100k, stream(0, "split"))
    counts = np.bincount(split.train.indices, minlength=1682)
    drawn = np.array([draw_targets(split, "unpopular", stream(s, "t")) for s in range(40)])
    assert counts[drawn].min() == 1
    assert counts[drawn].max() == 5
    drawn = np.array([draw_targets(split, "random", stream(s, "t")) for s in range(40)])
    assert counts[drawn].min() >= 1
    assert counts[drawn].max() > 100
    assert all(len(set(row)) == 5 for row in drawn.tolist())
    with pytest.raises(ValueError, match="target_set must be one of"):
        draw_targets(split, "popular", stream(0, "t"))
    with pytest.raises(ValueError, match="2000 targets were asked for"):
        draw_targets(split, "random", stream(0, "t"), n_targets=2000)


def test_poison_keeps_real_rows_first_and_as_they_were():
    split = tiny_split()
    threat = build_threat_model(split, np.array([7]), stream(0, "threat"), attack_size=0.2)
    fakes = craft("random", threat, stream(0, "attack"))
    before = split.train.toarray()
    poisoned = poison(split, fakes)
    assert poisoned.shape == (24, 12)
    assert poisoned.dtype == np.float32
    assert np.array_equal(poisoned[:20].toarray(), before)
    assert np.array_equal(poisoned[20:].toarray(), fakes.toarray())
    assert np.array_equal(split.train.toarray(), before)
    with pytest.raises(ValueError, match="fakes have 11 items, the data 12"):
        poison(split, fakes[:, :11])


def test_poison_with_no_fakes_is_the_training_data():
    split = tiny_split()
    poisoned = poison(split, sp.csr_matrix((0, 12), dtype=np.float32))
    assert np.array_equal(poisoned.toarray(), split.train.toarray())
