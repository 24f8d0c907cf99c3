"""What every defence must keep: a class for each kind, which a defence's tests inherit.

:class:`DefenseConformance` is for what serves a trained victim, :class:`TrainingConformance` for what
acts before or in training.
"""

import copy
import functools
import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from pydantic import ValidationError

from rvdlib.data import HeldOut, leave_one_out, synthetic_ratings
from rvdlib.defenses import Defense
from rvdlib.eligibility import only_eligible
from rvdlib.models import VICTIMS, Victim
from rvdlib.models.fitting import EarlyStopping
from rvdlib.seeding import stream

KINDS = list(itertools.product(VICTIMS, ("rating", "ranking")))
# For what hardly depends on the victim: each in one regime, every other one in the same.
EACH_VICTIM = list(zip(VICTIMS, itertools.cycle(("rating", "ranking")), strict=False))
# For what takes of a victim its scores, its ratings and its latent vectors.
ANY_VICTIM = [("MF", "rating"), ("CDAE", "ranking")]
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


def reordered(victim: Victim, order: np.ndarray) -> Victim:
    """The same trained victim, its users in another order; sizes tell users from items."""
    other = copy.copy(victim)
    other.train = victim.train[order]
    other.prepare()
    rows = torch.from_numpy(order)
    other.parameters = {
        name: value[rows] if value.shape[0] == N_USERS else value
        for name, value in victim.parameters.items()
    }
    return other


def in_double(victim: Victim) -> Victim:
    """The same victim in float64, for comparisons that rounding must not blur."""
    victim = copy.copy(victim)
    victim.parameters = {name: value.double() for name, value in victim.parameters.items()}
    return victim


# Choices of RVD, in whatever form: as the paper has it, and with whatever else there is.
PAPERS = {"k": 8, "steps": 4}
WIDER = {
    "k": 7,
    "steps": 5,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "include_user": True,
    "unobserved_weight": 0.1,
    "proximal_weight": 0.5,
    "distance": "cosine",
}


def served(recommender, users: np.ndarray) -> np.ndarray:
    """Its scores, −inf for what it may not serve."""
    return only_eligible(recommender, users, recommender.score(users))


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|one − other|, 0 where both are −inf."""
    same = one == other
    return np.abs(np.where(same, 0, one) - np.where(same, 0, other))


class DefenseConformance:
    """Inherit, and say how to ``defend`` a victim: anything with ``score(users)``."""

    # Stars by which a score may depend on who else is served at once: 0 is bit by bit.
    tolerance = 0.0
    # Of its scores; None: the victim's.
    dtype = None
    # Whether a row number may matter: it seeds the order of mini-batches, or breaks a tie.
    reads_row_numbers = False
    kinds = EACH_VICTIM

    def defend(self, victim: Victim):
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc):
        if "victim" in metafunc.fixturenames:
            metafunc.parametrize("victim", self.kinds, indirect=True, ids="-".join)

    @pytest.fixture
    def victim(self, request):
        return trained(*request.param)

    @pytest.fixture
    def defense(self, victim):
        return self.defend(victim)

    def test_scores_look_like_the_victims(self, defense, victim):
        scores, undefended = served(defense, USERS), victim.score(USERS)
        assert type(scores) is type(undefended)
        assert scores.dtype == (self.dtype or undefended.dtype)
        assert scores.shape == undefended.shape
        assert (np.isfinite(scores) | (scores == -np.inf)).all()  # −inf: not in the list
        assert (scores > -np.inf).any(axis=1).all()
        assert served(defense, USERS[:0]).shape == (0, N_ITEMS)

    def test_it_does_something(self, defense, victim):
        everyone = np.arange(0, N_USERS, 5)
        moved = apart(served(defense, everyone), victim.score(everyone)).max(axis=1)
        assert (moved > 1e-3).all()

    def test_the_same_again(self, defense, victim):
        first = served(defense, USERS)
        assert np.array_equal(served(defense, USERS), first)
        assert np.array_equal(served(self.defend(victim), USERS), first)
        assert apart(first[0], first[4]).max() <= self.tolerance  # one user, served twice

    def test_it_does_not_matter_who_else_is_served_or_when(self, defense):
        together = served(defense, USERS)
        alone = [served(defense, np.array([user]))[0] for user in USERS[::-1]]
        assert apart(together, np.array(alone[::-1])).max() <= self.tolerance
        assert apart(served(defense, USERS[::-1])[::-1], together).max() <= self.tolerance

    def test_where_a_user_s_row_stands_tells_it_nothing(self, defense, victim):
        """Fakes stand below the real users: whoever reads the order knows who is fake."""
        if self.reads_row_numbers:
            pytest.skip("it reads row numbers")
        order = np.random.default_rng(5).permutation(N_USERS)
        shuffled = self.defend(reordered(victim, order))
        there = np.argsort(order)[USERS]  # where the same users stand now
        assert apart(served(shuffled, there), served(defense, USERS)).max() < 1e-4

    def test_the_shared_victim_never_changes(self, defense, victim):
        with unchanged(victim):
            served(defense, USERS)

    def test_a_victim_that_is_fitted_again_leaves_the_defence_as_it_was(self, defense, victim):
        mine = copy.copy(victim)
        defended, expected = self.defend(mine), served(defense, USERS)
        served(defended, USERS[:1])
        fit(mine, seed=1)
        assert np.abs(mine.score(USERS) - victim.score(USERS)).max() > 0.01
        assert apart(served(defended, USERS), expected).max() <= self.tolerance

    def test_eight_threads_serve_what_one_does(self, defense, victim):
        groups = np.array_split(np.arange(24), 8)
        start = threading.Barrier(8)

        def serve(group):
            start.wait()
            return served(defense, group)

        with unchanged(victim), ThreadPoolExecutor(8) as pool:
            serial = [served(defense, group) for group in groups]
            threaded = list(pool.map(serve, groups))
        for one, other in zip(serial, threaded, strict=True):
            assert np.array_equal(one, other)

    def test_it_draws_from_no_global_generator(self, defense):
        def states():
            numpy_state = np.random.get_state()  # noqa: NPY002 - to see that nobody uses it
            return random.getstate(), str(numpy_state), torch.get_rng_state().tolist()

        before = states()
        served(defense, USERS)
        assert states() == before

    def test_an_unknown_choice_is_refused_by_name(self, victim):
        with pytest.raises(ValidationError, match="learning_rte"):
            type(self.defend(victim))(victim, learning_rte=1)


def poisoned() -> tuple[sp.csr_matrix, HeldOut, np.ndarray]:
    """Training rows with fakes below, validation, and the scale: those of :func:`fit`."""
    given = []
    fit(SimpleNamespace(fit=lambda *data: given.extend(data)), seed=0)
    return tuple(given[:3])


FOUND = {}  # test class and kind of victim → what the defence trains from seed 0


class TrainingConformance:
    """Inherit, and say which ``defense`` it is that acts before or in training."""

    @pytest.fixture
    def defense(self) -> Defense:
        raise NotImplementedError

    @pytest.fixture(params=EACH_VICTIM, ids="-".join)
    def victim(self, request):
        """Not trained yet."""
        return type(trained(*request.param))(**trained(*request.param).config.model_dump())

    def test_it_acts_before_or_in_training(self, defense):
        assert defense.trains

    def test_what_is_cleaned_has_the_rows_and_ratings_that_it_had_or_fewer(self, defense):
        train, _, levels = poisoned()
        before = train.copy()
        kept = defense.clean(train, levels, stream(0, "clean"))
        assert (train != before).nnz == 0
        assert kept.shape == train.shape
        assert kept.has_canonical_format
        assert set(np.unique(kept.data)) <= set(levels)

    def test_it_cleans_alike_in_whatever_order_users_stand(self, defense):
        train, _, levels = poisoned()
        order = np.random.default_rng(5).permutation(train.shape[0])
        kept = defense.clean(train, levels, stream(0, "clean"))
        assert (defense.clean(train[order], levels, stream(0, "clean")) != kept[order]).nnz == 0

    @pytest.fixture
    def found(self, request, defense, victim):
        """What it trains from seed 0, once."""
        key = type(self), request.node.callspec.params["victim"]
        if key not in FOUND:
            FOUND[key] = self.trained_by(defense, victim, 0)
        return FOUND[key]

    def test_the_same_seed_gives_the_same_victim_and_leaves_data_and_generators_alone(
        self, defense, victim, found
    ):
        def states():
            return np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

        train, *_ = data = poisoned()
        before, drawn = train.copy(), states()
        again = self.trained_by(defense, victim, 0, data)
        assert states() == drawn
        assert (train != before).nnz == 0
        users = np.arange(N_USERS)
        assert np.array_equal(found.score(users), again.score(users))

    def test_another_seed_gives_another_victim(self, defense, victim, found):
        users = np.arange(N_USERS)
        other = self.trained_by(defense, victim, 1)
        assert np.abs(found.score(users) - other.score(users)).max() > 1e-3

    def test_it_trains_a_victim_that_can_be_defended_and_is_not_the_undefended_one(
        self, request, found
    ):
        kind = request.node.callspec.params["victim"]
        undefended = trained(*kind)  # from seed 0, by no defence
        assert isinstance(found, type(undefended))
        assert found.train.shape == undefended.train.shape
        users = np.arange(N_USERS)
        assert np.isfinite(found.score(users)).all()
        assert np.abs(found.score(users) - undefended.score(users)).max() > 1e-3

    def test_whose_validation_items_there_are_tells_it_nothing(self, defense, victim, monkeypatch):
        """Fakes have none. They say when to stop, and here that each of three epochs is the best so far."""
        train, validation, levels = poisoned()
        falling = itertools.count(0, -1)
        monkeypatch.setattr(EarlyStopping, "_error", lambda *_: next(falling))
        victim = type(victim)(**victim.config.model_dump() | {"epochs": 3})
        halves = [HeldOut(*(part[half::2] for part in validation)) for half in (0, 1)]
        one, other = (self.trained_by(defense, victim, 0, (train, h, levels)) for h in halves)
        assert np.array_equal(one.score(USERS), other.score(USERS))

    @pytest.mark.parametrize("user", [0, 30, FAKE, N_USERS - 1])
    def test_in_training_whoever_is_left_is_learnt_from_wherever_he_stands(
        self, defense, victim, user
    ):
        """One rating of his is another one: others' scores are, too. Fakes stand last."""
        train, validation, levels = poisoned()
        victim = type(victim)(**victim.config.model_dump() | {"epochs": 3})
        other = train.copy()
        first = other.indptr[user]
        other.data[first] = levels[0] if other.data[first] != levels[0] else levels[-1]
        one, another = (
            defense.fit(copy.copy(victim), rows, validation, levels, stream(0, "model"))
            for rows in (train, other)
        )
        others = np.setdiff1d(np.arange(N_USERS), user)
        assert not np.array_equal(one.score(others), another.score(others))

    def test_an_unknown_choice_is_refused_by_name(self, defense):
        with pytest.raises(ValidationError, match="shre"):
            type(defense)(shre=1)

    @staticmethod
    def trained_by(defense: Defense, victim: Victim, seed: int, data=None) -> Victim:
        train, validation, levels = data or poisoned()
        rows = defense.clean(train, levels, stream(seed, "clean"))
        victim = copy.copy(victim)
        return defense.fit(victim, rows, validation, levels, stream(seed, "model"))
