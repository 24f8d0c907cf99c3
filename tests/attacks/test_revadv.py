"""RevAdv lowers its objective, inside its budget, and it is the given targets that profit."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from rvdlib.attacks import craft
from rvdlib.attacks.history import History
from rvdlib.attacks.profiles import check_profiles
from rvdlib.attacks.revadv import Objective, exchange
from rvdlib.attacks.surrogate import Surrogate
from rvdlib.metrics import ranks, target_hit_ratio
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel

TARGETS = np.array([3, 40])
REGIMES = pytest.mark.parametrize("omega", [0.0, 0.1])
SMALL = {"embedding_size": 4, "reg": 0.05, "list_length": 10}


@functools.cache
def clean(threat, omega):
    options = {"embedding_size": 4, "unobserved_weight": omega, "reg": 0.05}
    return Surrogate.train(threat, stream(0, "surrogate"), sweeps=200, **options)


def surrogate_of(threat, omega, fakes, sweeps=200):
    return clean(threat, omega).refit(fakes.astype(np.float64), sweeps)


@functools.cache
def at_rest(threat, omega):
    """Clones, and the surrogate that they are trained into."""
    fakes = craft("clone", threat, stream(0, "fakes")).astype(np.float64)
    return fakes, surrogate_of(threat, omega, fakes, 1500)


@REGIMES
@pytest.mark.parametrize("length", [1, 10, 58])
def test_the_objective_of_a_narrow_width_is_the_share_of_lists_without_a_target(
    threat, omega, length
):
    surrogate = surrogate_of(threat, omega, craft("clone", threat, stream(0, "fakes")))
    value = Objective(threat, length, 1e-12)(surrogate)[0]
    rated, scores = threat.visible.toarray() > 0, surrogate.scores()
    misses = []
    for user, target in zip(*np.nonzero(~rated[:, TARGETS]), strict=True):
        others = np.setdiff1d(np.flatnonzero(~rated[user]), TARGETS)
        if len(others) >= length:
            better = scores[user, others] > scores[user, TARGETS[target]]
            misses.append(better.sum() >= length)
    assert value == pytest.approx(np.mean(misses) if misses else 0)


def test_the_objective_is_one_less_the_hit_ratio_of_a_single_target(threat):
    single = replace(threat, targets=TARGETS[:1])
    surrogate = surrogate_of(single, 0.1, craft("clone", single, stream(0, "fakes")))
    places = ranks(surrogate.scores(), threat.visible, np.tile(TARGETS[:1], (60, 1)))
    hits = target_hit_ratio(places, threat.visible[:, TARGETS[:1]].toarray() > 0, 10)
    assert Objective(single, 10, 1e-12)(surrogate)[0] == pytest.approx(1 - hits)


@REGIMES
@pytest.mark.parametrize("sweeps", [1, 3])
def test_the_gradient_of_the_objective_is_that_of_retraining(threat, omega, sweeps):
    objective = Objective(threat, 10, 0.05)
    fakes, attacked = at_rest(threat, omega)
    slope, _ = attacked.presence_gradient(*objective(attacked)[1:], sweeps)
    for position in range(0, fakes.nnz, 40):
        found = []
        for step in (1e-5, -1e-5):
            changed = fakes.copy()
            changed.data[position] += step
            found.append(objective(attacked.refit(changed, sweeps))[0])
        cell = np.searchsorted(fakes.indptr, position, side="right") - 1, fakes.indices[position]
        difference = (found[0] - found[1]) / 2e-5
        assert slope[cell] / 5 == pytest.approx(difference, rel=1e-3, abs=1e-7)


def worth(threat, fakes, slope, offset, baseline):
    dense = fakes.toarray()
    effect = slope * (dense / threat.max_rating - baseline) - offset
    effect[:, threat.targets] = 0
    return np.where(dense > 0, effect, 0).sum(axis=1)


@given(st.data())
def test_an_exchange_is_the_best_of_its_size_inside_the_budget(data):
    n_items, n_fakes = data.draw(st.integers(3, 8)), data.draw(st.integers(1, 3))
    size = data.draw(st.integers(1, n_items - 2))
    levels = np.array(data.draw(st.sampled_from([[1, 2, 5], [0.5, 1], [2]])), dtype=np.float32)
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    visible = sp.csr_matrix(rng.choice(levels, (5, n_items)))
    threat = ThreatModel(visible, np.array([0, n_items - 1]), n_fakes, size, levels)
    fakes = craft("clone", threat, rng)
    slope, offset = rng.standard_normal((2, n_fakes, n_items))
    baseline = data.draw(st.sampled_from([0.0, 0.6]))
    n_exchanged = data.draw(st.integers(1, size))
    moved = exchange(threat, fakes, slope, offset, baseline, n_exchanged)
    check_profiles(threat, moved)
    assert moved.shape[0] == n_fakes
    kept = (moved.toarray() == fakes.toarray()) & (fakes.toarray() > 0)
    assert (kept.sum(axis=1) - 2 >= size - n_exchanged).all()
    before, after = (worth(threat, each, slope, offset, baseline) for each in (fakes, moved))
    assert (after <= before + 1e-9).all()
    ends = [slope * (level / levels[-1] - baseline) - offset for level in levels[[0, -1]]]
    best = np.sort(np.minimum(*ends)[:, 1:-1], axis=1)[:, :size].sum(axis=1)
    if n_exchanged == size:
        assert after == pytest.approx(best)
    else:
        assert (after >= best - 1e-9).all()


@REGIMES
def test_the_objective_is_lowered_and_the_fakes_move(threat, omega):
    history = History()
    end = craft(
        "revadv",
        threat,
        stream(0, "attack"),
        unobserved_weight=omega,
        history=history,
        width=0.05,
        **SMALL,
    )
    assert max(np.diff(history.objectives)) <= 0
    assert history.objectives[-1] < history.objectives[0] - 0.02

    # Judged by another training, the fakes are still better than where they began.
    start = craft("segment", threat, stream(0, "attack"))
    objective = Objective(threat, 10, 0.05)
    before, after = (objective(surrogate_of(threat, omega, fakes))[0] for fakes in (start, end))
    assert after < before - 0.02
    for old, new in zip(start, end, strict=True):
        assert (old != new).nnz > 0


def test_more_steps_are_further_steps_of_the_same_way(threat):
    few, many = History(), History()
    for steps, history in ((3, few), (6, many)):
        craft("revadv", threat, stream(0, "attack"), steps=steps, history=history, **SMALL)
    assert many.objectives[:3] == few.objectives
    assert len(many.objectives) <= 6


def test_copies_of_visible_users_are_as_good_as_users_seen(threat):
    twice = replace(threat, visible=sp.vstack([threat.visible] * 2, format="csr"))
    seen = craft("revadv", twice, stream(0, "attack"), steps=3, copies=1, **SMALL)
    copied = craft("revadv", threat, stream(0, "attack"), steps=3, copies=2, **SMALL)
    assert (seen != copied).nnz == 0
    assert (
        copied != craft("revadv", threat, stream(0, "attack"), steps=3, copies=1, **SMALL)
    ).nnz > 0


def test_a_stretched_scale_stretches_the_profiles(threat):
    wide = replace(
        threat, visible=threat.visible * np.float32(16), levels=threat.levels * np.float32(16)
    )
    ours, theirs = (
        craft("revadv", each, stream(0, "attack"), steps=5, **SMALL) for each in (threat, wide)
    )
    assert (16 * ours != theirs).nnz == 0


def test_without_fakes_or_fillers_there_is_nothing_to_optimise(threat):
    history = History()
    none = craft(
        "revadv", replace(threat, n_fakes=0), stream(0, "attack"), history=history, **SMALL
    )
    assert none.shape == (0, threat.n_items)
    bare = craft(
        "revadv", replace(threat, filler_size=0), stream(0, "attack"), history=history, **SMALL
    )
    assert bare.nnz == threat.n_fakes * len(TARGETS)
    assert history.objectives == []
