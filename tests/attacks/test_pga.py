"""PGA climbs its objective, inside its budget, and it is the given targets that profit."""

import functools
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from rvdlib.attacks import craft
from rvdlib.attacks.history import History
from rvdlib.attacks.pga import Objective, project
from rvdlib.attacks.surrogate import Surrogate
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel

TARGETS = np.array([3, 40])
REGIMES = pytest.mark.parametrize("omega", [0.0, 0.1])


@functools.cache
def surrogate_of(threat, omega=0.0):
    options = {"embedding_size": 4, "unobserved_weight": omega, "reg": 0.05}
    return Surrogate.train(threat, stream(0, "surrogate"), sweeps=200, **options)


@functools.cache
def at_rest(threat, omega):
    """Random fakes, and the surrogate that they are trained into."""
    fakes = craft("random", threat, stream(0, "fakes")).astype(np.float64)
    return fakes, surrogate_of(threat, omega).refit(fakes, 3000)


@given(st.data())
def test_the_projection_is_the_nearest_row_with_exactly_so_many_entries(data):
    n = data.draw(st.integers(1, 6))
    size = data.draw(st.integers(0, n))
    low, high = data.draw(st.sampled_from([(-0.6, 0.4), (0.2, 1.0), (0.5, 0.5)]))
    values = st.floats(-2, 2).map(lambda value: round(value, 3))
    row = np.array(data.draw(st.lists(values, min_size=n, max_size=n)))
    kept, entries = project(row[None], size, (low, high))
    assert kept.shape == entries.shape == (1, size)
    assert len(set(kept[0])) == size
    projected = np.zeros(n)
    projected[kept[0]] = entries[0]
    distances = []
    for chosen in combinations(range(n), size):
        other = np.zeros(n)
        other[list(chosen)] = np.clip(row[list(chosen)], low, high)
        distances.append(((row - other) ** 2).sum())
    assert ((row - projected) ** 2).sum() == pytest.approx(min(distances))
    assert ((entries >= low) & (entries <= high)).all()


@REGIMES
def test_the_objective_is_the_mean_prediction_and_how_far_the_others_were_moved(threat, omega):
    clean = surrogate_of(threat, omega)
    fakes = craft("random", threat, stream(0, "fakes"))
    attacked = clean.refit(fakes, 20)
    push = Objective(threat, clean, 0.0).value(attacked)
    assert push == pytest.approx(attacked.scores()[:, TARGETS].mean())
    unrated = threat.visible.toarray() == 0
    moved = ((attacked.scores() - clean.scores())[unrated] ** 2).mean()
    assert Objective(threat, clean, 3.0).value(attacked) == pytest.approx(push + 3 * moved)


@REGIMES
@pytest.mark.parametrize("sweeps", [1, 3])
def test_the_gradient_of_the_whole_objective_is_that_of_retraining(threat, omega, sweeps):
    objective = Objective(threat, surrogate_of(threat, omega), 3.0)
    fakes, attacked = at_rest(threat, omega)
    gradient = attacked.rating_gradient(*objective.gradient(attacked), sweeps) / 5
    for position in range(0, fakes.nnz, 40):
        found = []
        for step in (1e-3, -1e-3):
            changed = fakes.copy()
            changed.data[position] += step
            found.append(objective.value(attacked.refit(changed, sweeps)))
        cell = np.searchsorted(fakes.indptr, position, side="right") - 1, fakes.indices[position]
        difference = (found[0] - found[1]) / 2e-3
        assert gradient[cell] == pytest.approx(difference, rel=1e-3, abs=1e-7)


@REGIMES
@pytest.mark.parametrize("availability_weight", [0.0, 5.0])
def test_the_objective_is_climbed_and_the_fakes_move(threat, omega, availability_weight):
    history = History()
    options = {"availability_weight": availability_weight, "unobserved_weight": omega}
    start, end = (
        craft("pga", threat, stream(0, "attack"), steps=steps, history=history, **options)
        for steps in (0, 30)
    )
    assert len(history.objectives) == 30
    assert max(np.diff(history.objectives)) <= 0
    assert history.objectives[-1] < history.objectives[0] - 0.1

    # Rounded and judged by another training, the fakes are still better than where they began.
    clean = surrogate_of(threat, omega)
    objective = Objective(threat, clean, availability_weight)
    before, after = (objective.value(clean.refit(fakes, 200)) for fakes in (start, end))
    assert after > before + 0.1
    for old, new in zip(start, end, strict=True):
        assert (old != new).nnz > threat.filler_size / 4
    exchanged = (start.toarray() > 0) != (end.toarray() > 0)
    assert exchanged.any()


def test_more_availability_moves_what_is_predicted_of_all_items_further(threat):
    clean = surrogate_of(threat)
    unrated = threat.visible.toarray() == 0

    def shift(weight):
        fakes = craft("pga", threat, stream(0, "attack"), availability_weight=weight)
        return ((clean.refit(fakes, 100).scores() - clean.scores())[unrated] ** 2).mean()

    assert shift(100.0) > 1.05 * shift(0.0)


def test_a_stretched_scale_stretches_the_profiles(threat):
    wide = ThreatModel(
        threat.visible * np.float32(16), threat.targets, 5, 10, threat.levels * np.float32(16)
    )
    same = ThreatModel(threat.visible, threat.targets, 5, 10, threat.levels)
    ours, theirs = (craft("pga", each, stream(0, "attack"), steps=5) for each in (same, wide))
    assert (16 * ours != theirs).nnz == 0


def test_profiles_are_csr_with_all_that_is_rated_and_nothing_else(threat):
    none = ThreatModel(threat.visible, threat.targets, 0, 5, threat.levels)
    assert craft("pga", none, stream(0, "attack")).shape == (0, threat.n_items)
    bare = ThreatModel(threat.visible, threat.targets, 2, 0, threat.levels)
    history = History()
    profiles = craft("pga", bare, stream(0, "attack"), history=history)
    assert (profiles != sp.csr_matrix(profiles.toarray())).nnz == 0
    assert profiles.nnz == 4
    assert history.objectives == []
