"""The gradient-free search: it climbs, keeps the budget, and says how far it came."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from rvdlib.attacks import craft
from rvdlib.attacks.profiles import check_profiles
from rvdlib.lab.tuning.swap_search import swap_fillers
from rvdlib.seeding import stream
from rvdlib.threat_model import ThreatModel


def a_threat(n_items=12, filler_size=4, n_fakes=3, levels=(1, 2, 3, 4, 5), seed=0):
    levels = np.array(levels, dtype=np.float32)
    rng = np.random.default_rng(seed)
    visible = rng.choice(np.append(np.float32(0), levels), (6, n_items))
    return ThreatModel(sp.csr_matrix(visible), np.array([0]), n_fakes, filler_size, levels)


def worth(threat, seed=0):
    """A sum of stars, each times a weight of its cell: the best is known."""
    weights = np.random.default_rng(seed).normal(size=(threat.n_fakes, threat.n_items))
    return weights, lambda profiles: float((profiles.toarray() * weights).sum())


@given(
    st.integers(0, 6),
    st.integers(1, 4),
    st.sampled_from([(1, 2, 3, 4, 5), (0.5, 4), (1,)]),
    st.integers(0, 2**32),
)
def test_it_never_gets_worse_keeps_the_budget_and_measures_what_it_returns(
    filler_size, n_fakes, levels, seed
):
    threat = a_threat(7, filler_size, n_fakes, levels, seed)
    start = craft("random", threat, stream(seed))
    _, objective = worth(threat, seed)
    at_once = 1 + seed % n_fakes
    found, history = swap_fillers(start, threat, stream(seed), objective, 15, at_once)
    check_profiles(threat, found)
    assert found.shape == start.shape
    assert found.dtype == np.float32
    assert len(history) == 16
    assert (np.diff(history) >= 0).all()
    assert (history[0], history[-1]) == (objective(start), objective(found))


@pytest.mark.parametrize(("fakes_at_once", "share"), [(1, 1.0), (3, 0.8)])
def test_the_best_of_a_known_objective_is_found_and_nearly_so_if_all_must_gain(
    fakes_at_once, share
):
    threat = a_threat(filler_size=2)
    weights, objective = worth(threat)
    start = craft("random", threat, stream(0))
    _, history = swap_fillers(start, threat, stream(0), objective, 2000, fakes_at_once)
    # Of each fake the two items of which the top or the bottom rating is worth most.
    cells = np.maximum(weights * 1, weights * 5)[:, 1:]
    best = 5 * weights[:, 0].sum() + np.sort(cells, axis=1)[:, -2:].sum()
    assert history[-1] <= best + 1e-5
    assert history[-1] - history[0] > share * (best - history[0]) - 1e-5


@pytest.mark.parametrize(("filler_size", "levels"), [(11, (1, 5)), (3, (1,))])
def test_items_alone_or_stars_alone_are_exchanged_where_the_other_cannot_be(filler_size, levels):
    threat = a_threat(12, filler_size, levels=levels)
    _, objective = worth(threat)
    start = craft("random", threat, stream(0))
    _, history = swap_fillers(start, threat, stream(0), objective, 100)
    assert history[-1] > history[0]


def test_the_same_stream_gives_the_same_and_another_other_profiles():
    threat = a_threat(40, 10)
    _, objective = worth(threat)
    start = craft("random", threat, stream(0))
    first, again, other = (
        swap_fillers(start, threat, stream(seed), objective, 30, 2)[0] for seed in (0, 0, 1)
    )
    for part in ("data", "indices", "indptr"):
        assert getattr(first, part).tobytes() == getattr(again, part).tobytes()
    assert (first != other).nnz > 0


def test_the_profiles_given_are_not_changed_and_without_a_step_they_come_back():
    threat = a_threat()
    _, objective = worth(threat)
    start = craft("random", threat, stream(0))
    before = start.toarray()
    swap_fillers(start, threat, stream(0), objective, 30)
    assert np.array_equal(start.toarray(), before)
    found, history = swap_fillers(start, threat, stream(0), objective, 0)
    assert np.array_equal(found.toarray(), before)
    assert history == [objective(start)]


def test_some_of_the_fakes_may_be_refined_alone():
    threat = a_threat(n_fakes=5)
    start = craft("random", threat, stream(0))[:2]
    found, _ = swap_fillers(start, threat, stream(0), lambda rows: rows.sum(), 50)
    assert found.shape == start.shape
    assert found.sum() > start.sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fakes_at_once": 0}, "fakes_at_once must be between 1 and 3, got 0"),
        ({"fakes_at_once": 4}, "fakes_at_once must be between 1 and 3, got 4"),
        ({"steps": -1}, "steps must not be negative, got -1"),
        ({"objective": lambda profiles: np.nan}, "the objective must be a number, got nan"),
        ({"profiles": sp.csr_matrix((3, 12), dtype=np.float32)}, "does not have all targets"),
    ],
)
def test_what_cannot_be_searched_is_refused(change, message):
    threat = a_threat()
    given = {
        "profiles": craft("random", threat, stream(0)),
        "objective": lambda profiles: 0.0,
        "steps": 3,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        swap_fillers(threat=threat, rng=stream(0), **given)
