"""The alarm: silent where nothing has changed, raised where fakes have come."""

import numpy as np
import scipy.sparse as sp

from rvdlib.neighbors import NeighborSearch
from rvdlib.seeding import stream
from rvdlib.serving.alarm import SIGNS, Alarm, concentration

N_USERS, N_ITEMS = 400, 60


def honest(seed, n_users=N_USERS):
    """Vectors and ratings: two tastes, each with its items."""
    rng = stream(seed, "honest")
    taste = rng.integers(2, size=n_users)
    likely = np.where(np.arange(N_ITEMS)[None] % 2 == taste[:, None], 0.3, 0.1)
    rated = rng.random((n_users, N_ITEMS)) < likely
    rated[:, 0] |= ~rated.any(1)
    factors = rng.normal(0, 1, (n_users, 6)) + 2 * taste[:, None]
    return factors, sp.csr_matrix(rated.astype(np.float32))


def with_fakes(factors, train, n_fakes):
    rng, rated = stream(0, "fakes"), np.zeros((n_fakes, N_ITEMS), dtype=np.float32)
    rated[:, -3:] = rated[:, :10] = 5
    beside = factors.mean(0) + rng.normal(0, 0.01, (n_fakes, factors.shape[1]))
    return np.vstack([factors, beside]), sp.vstack([train, sp.csr_matrix(rated)], "csr")


def test_it_is_raised_by_fakes_and_not_by_more_of_the_same():
    alarm = Alarm.calibrated(*honest(0), stream(0, "reference"))
    raised = [
        alarm.look(*honest(seed, size), stream(seed, "look")).raised
        for seed in range(1, 9)
        for size in (300, 600)
    ]
    assert np.mean(raised) <= 0.2
    for n_fakes in (40, 80):
        found = alarm.look(*with_fakes(*honest(1), n_fakes), stream(1, "look"))
        assert found.raised, found
        assert list(found.numbers) == list(SIGNS)


def test_concentration_is_that_of_a_loop_over_users():
    factors, train = with_fakes(*honest(0, 80), 12)
    lists = NeighborSearch(factors, 5, ratings=train)(np.arange(92))
    rated, expected = train.toarray() > 0, np.zeros(N_ITEMS)
    for item in range(N_ITEMS):
        raters = np.flatnonzero(rated[:, item])
        if 5 <= len(raters) < 92:
            share, m = len(raters) / 92, len(raters) * 5
            found = np.mean([rated[v, item] for u in raters for v in lists[u]])
            expected[item] = np.sqrt(m) * (found - share) / np.sqrt(share * (1 - share))
    np.testing.assert_allclose(concentration(lists, train), expected, atol=1e-9)
    assert expected[-3:].min() > 5


def test_of_too_few_users_nothing_is_said():
    alarm = Alarm.calibrated(*honest(0, 30), stream(0, "reference"))
    assert not alarm.look(*honest(1), stream(0, "look")).raised
    alarm = Alarm.calibrated(*honest(0), stream(0, "reference"))
    assert not alarm.look(*honest(1, 90), stream(0, "look")).raised
