"""The alarm: silent where nothing has changed, raised where fakes have come."""

import numpy as np
import scipy.sparse as sp

from rvdlib.seeding import stream
from rvdlib.serving.alarm import DEVIATIONS, Alarm

N_USERS, N_ITEMS = 400, 60


def honest(seed, n_users=N_USERS):
    """Ratings: two tastes, each with its items; the last three items are rare."""
    rng = stream(seed, "honest")
    taste = rng.integers(2, size=n_users)
    likely = np.where(np.arange(N_ITEMS)[None] % 2 == taste[:, None], 0.3, 0.1)
    likely[:, -3:] = 0.02
    rated = rng.random((n_users, N_ITEMS)) < likely
    rated[:, 0] |= ~rated.any(1)
    return sp.csr_matrix(rated.astype(np.float32))


def with_fakes(train, n_fakes):
    rated = np.zeros((n_fakes, N_ITEMS), dtype=np.float32)
    rated[:, -3:] = rated[:, :10] = 5
    return sp.vstack([train, sp.csr_matrix(rated)], "csr")


def test_it_is_raised_by_fakes_and_not_by_more_of_the_same():
    alarm = Alarm.calibrated(honest(0), stream(0, "reference"))
    surges = [alarm.surge(honest(seed, size)) for seed in range(1, 9) for size in (300, 600)]
    assert np.mean(np.array(surges) > DEVIATIONS) <= 0.2
    assert min(alarm.surge(with_fakes(honest(1), n)) for n in (20, 80)) > DEVIATIONS


def test_a_surge_is_the_rise_in_deviations_of_chance_above_that_of_halves():
    alarm = Alarm(4, np.array([0.5, 0.0]), 1.0, 2.0)
    rated = sp.csr_matrix(np.array([[1, 1], [1, 1], [1, 0], [1, 0], [0, 0]]))
    rises = 0.5 / np.sqrt(0.25 / 4 + 1 / 16), 0.5 / np.sqrt(1 / 16)
    assert alarm.surge(rated) == (max(rises) - 1) / 2


def test_of_too_few_users_nothing_is_said():
    alarm = Alarm.calibrated(honest(0, 30), stream(0, "reference"))
    assert alarm.surge(with_fakes(honest(1), 80)) == 0
    alarm = Alarm.calibrated(honest(0), stream(0, "reference"))
    assert alarm.surge(with_fakes(honest(1, 90), 80)) == 0
