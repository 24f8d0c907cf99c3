"""What every defence must keep. A defence's tests inherit :class:`DefenseConformance`."""

import copy
import functools
import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from pydantic import ValidationError

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.models import VICTIMS, Victim
from rvdlib.seeding import stream

KINDS = list(itertools.product(VICTIMS, ("rating", "ranking")))
N_USERS, N_ITEMS = 64, 45
LONELY_USER, FAKE = 7, 62
USERS = np.array([5, FAKE, 0, LONELY_USER, 5])  # out of order, and one twice
USERS.setflags(write=False)


@functools.cache
def trained(name: str, regime: str) -> Victim:
    """A small victim: 60 real users, one without a rating, and four fakes, two of them alike."""
    victim = VICTIMS[name](
        unobserved_weight=0.2 * (regime == "ranking"), embedding_size=4, epochs=10, reg=0.01
    )
    return fit(victim, seed=0)


def fit(victim: Victim, seed: int) -> Victim:
    ratings = synthetic_ratings(60, N_ITEMS, 700, rng=stream(0, "ratings"))
    split = leave_one_out(ratings, stream(0, "split"))
    fakes = np.zeros((4, N_ITEMS), dtype=np.float32)
    fakes[:, [2, 5]] = 5
    fakes[2:, [10, 11]] = 3
    dense = np.vstack([split.train.toarray(), fakes])
    dense[LONELY_USER] = 0
    rng = stream(seed, "model")
    return victim.fit(sp.csr_matrix(dense), split.validation, ratings.levels, rng)


@contextmanager
def unchanged(victim: Victim):
    """Fails if the block changes the victim by a bit, or writes to a parameter and takes it back."""

    def state():
        bits = {name: value.numpy().tobytes() for name, value in victim.parameters.items()}
        writes = {name: (id(v), v._version) for name, v in victim.parameters.items()}
        flags = {name: v.requires_grad for name, v in victim.parameters.items()}
        train = [getattr(victim.train, part).tobytes() for part in ("data", "indices", "indptr")]
        return bits, writes, flags, train

    before = state()
    yield
    assert state() == before


class DefenseConformance:
    """Inherit, and say how to ``defend`` a victim: anything with ``score(users)``."""

    # Stars by which a score may depend on who else is served at once: 0 is bit by bit.
    tolerance = 0.0

    def defend(self, victim: Victim):
        raise NotImplementedError

    @pytest.fixture(params=KINDS, ids="-".join)
    def victim(self, request):
        return trained(*request.param)

    @pytest.fixture
    def defense(self, victim):
        return self.defend(victim)

    def test_scores_look_like_the_victims(self, defense, victim):
        scores, undefended = defense.score(USERS), victim.score(USERS)
        assert type(scores) is type(undefended)
        assert scores.dtype == undefended.dtype
        assert scores.shape == undefended.shape
        assert np.isfinite(scores).all()
        assert defense.score(USERS[:0]).shape == (0, N_ITEMS)

    def test_it_does_something(self, defense, victim):
        everyone = np.arange(0, N_USERS, 5)
        moved = np.abs(defense.score(everyone) - victim.score(everyone)).max(axis=1)
        assert (moved > 1e-3).all()

    def test_the_same_again(self, defense, victim):
        first = defense.score(USERS)
        assert np.array_equal(defense.score(USERS), first)
        assert np.array_equal(self.defend(victim).score(USERS), first)
        assert np.abs(first[0] - first[4]).max() <= self.tolerance  # one user, served twice

    def test_it_does_not_matter_who_else_is_served_or_when(self, defense):
        together = defense.score(USERS)
        alone = [defense.score(np.array([user]))[0] for user in USERS[::-1]]
        assert np.abs(together - np.array(alone[::-1])).max() <= self.tolerance
        assert np.abs(defense.score(USERS[::-1])[::-1] - together).max() <= self.tolerance

    def test_the_shared_victim_never_changes(self, defense, victim):
        with unchanged(victim):
            defense.score(USERS)

    def test_a_victim_that_is_fitted_again_leaves_the_defence_as_it_was(self, defense, victim):
        mine = copy.copy(victim)
        defended, expected = self.defend(mine), defense.score(USERS)
        defended.score(USERS[:1])
        fit(mine, seed=1)
        assert np.abs(mine.score(USERS) - victim.score(USERS)).max() > 0.01
        assert np.abs(defended.score(USERS) - expected).max() <= self.tolerance

    def test_eight_threads_serve_what_one_does(self, defense, victim):
        groups = np.array_split(np.arange(24), 8)
        start = threading.Barrier(8)

        def serve(group):
            start.wait()
            return defense.score(group)

        with unchanged(victim), ThreadPoolExecutor(8) as pool:
            serial = [defense.score(group) for group in groups]
            threaded = list(pool.map(serve, groups))
        for one, other in zip(serial, threaded, strict=True):
            assert np.array_equal(one, other)

    def test_it_draws_from_no_global_generator(self, defense):
        def states():
            numpy_state = np.random.get_state()  # noqa: NPY002 - to see that nobody uses it
            return random.getstate(), str(numpy_state), torch.get_rng_state().tolist()

        before = states()
        defense.score(USERS)
        assert states() == before

    def test_an_unknown_choice_is_refused_by_name(self, victim):
        with pytest.raises(ValidationError, match="learning_rte"):
            type(self.defend(victim))(victim, learning_rte=1)
