"""The rule for threads: no number depends on how many there are; and blocks, each worked on once."""

import itertools
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from threadpoolctl import ThreadpoolController

from rvdlib.attacks import craft
from rvdlib.data import leave_one_out
from rvdlib.defenses import RVD, ClosedFormRVD, FastRVD, FunctionalRVD, VictimModule, detection
from rvdlib.models import VICTIMS
from rvdlib.models.reference import EASE
from rvdlib.seeding import stream
from rvdlib.threads import for_blocks, on_threads, single_thread
from rvdlib.threat_model import build_threat_model, draw_targets

OPTIMISING = {
    "aush": {"epochs": 2},
    "mixinf": {"n_probes": 2, "n_candidates": 5, "sweeps": 3},
    "pga": {"steps": 2},
    "u_tna": {"steps": 2},
    "s_tna": {"steps": 2},
    "revadv": {"steps": 1, "embedding_size": 8},
    "vicinity": {"embedding_size": 8},
}


def blas_threads() -> set[int]:
    libraries = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in libraries}


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("length", "block_size"), [(0, 4), (1, 4), (8, 4), (9, 4), (3, 100)])
def test_each_row_is_worked_on_once(threads, length, block_size):
    seen = np.zeros(length, dtype=int)

    def work(block):
        seen[block] += 1

    for_blocks(work, length, block_size)
    assert (seen == 1).all()


def test_an_error_in_a_block_is_not_lost(threads):
    def work(block):
        if block.start == 4:
            raise ValueError("the second block")

    with pytest.raises(ValueError, match="the second block"):
        for_blocks(work, 12, 4)


def test_within_a_block_torch_and_blas_have_one_thread_and_afterwards_what_they_had():
    seen = []
    with on_threads(3):
        for_blocks(lambda block: seen.append((torch.get_num_threads(), blas_threads())), 8, 2)
        assert (torch.get_num_threads(), blas_threads()) == (3, {3})
    assert seen == [(1, {1})] * 4


def test_callers_at_once_have_one_blas_thread_until_the_last_has_gone():
    """As when a service scores from threads of its own."""
    first_left, second_in, seen = threading.Event(), threading.Event(), []

    def second():
        with single_thread():
            second_in.set()
            assert first_left.wait(10)
            seen.append(blas_threads())

    with on_threads(3):
        other = threading.Thread(target=second)
        with single_thread():
            other.start()
            assert second_in.wait(10)
        first_left.set()
        other.join()
        assert seen == [{1}]
        assert blas_threads() == {3}


def state() -> tuple:
    return torch.get_num_threads(), blas_threads()


def test_callers_that_overlap_in_one_thread_may_leave_in_any_order():
    """As coroutines and generators do."""
    with on_threads(3):
        first, second = single_thread(), single_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert state() == (1, {1})
        second.__exit__(None, None, None)
        assert state() == (3, {3})


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_after_an_error_there_are_as_many_threads_as_before(error):
    with on_threads(3):
        with pytest.raises(error), single_thread(), single_thread():
            raise error
        assert state() == (3, {3})


FORKS = """
import os, signal, threading
from rvdlib.threads import single_thread

def enter_and_leave():
    while not done.is_set():
        with single_thread():
            pass

done = threading.Event()
others = [threading.Thread(target=enter_and_leave) for _ in range(3)]
for other in others:
    other.start()
try:
    for _ in range(20):
        if not (child := os.fork()):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
            signal.alarm(10)
            with single_thread():
                os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise SystemExit("a child hangs")
finally:
    done.set()
"""


def test_a_process_forked_while_other_threads_compute_does_not_hang():
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "2"}, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_suspicion_is_computed_on_one_thread(monkeypatch):
    seen = []

    def recorded(*arguments, **options):
        seen.append(state())
        return svds(*arguments, **options)

    svds = detection.svds
    monkeypatch.setattr(detection, "svds", recorded)
    with on_threads(3):
        detection.pca_suspicion(sp.random_array((30, 20), density=0.5, format="csr", rng=0))
    assert seen == [(1, {1})]


@pytest.fixture(scope="module")
def split(ml100k):
    return leave_one_out(ml100k, stream(0, "split"))


@pytest.fixture(scope="module")
def victims(split):
    """(name, regime) -> a victim of one epoch, trained once."""
    made = {}

    def trained(name, regime):
        if (name, regime) not in made:
            made[name, regime] = train(split, name, regime)
        return made[name, regime]

    return trained


def train(split, name, regime):
    omega = 0.1 if regime == "ranking" else 0.0
    victim = VICTIMS[name](embedding_size=32, epochs=1, unobserved_weight=omega)
    return victim.fit(split.train, split.validation, split.ratings.levels, stream(0, "model"))


def on_one_and_on_three(compute) -> tuple:
    with on_threads(1):
        once = compute()
    with on_threads(3):
        return once, compute()


@pytest.mark.parametrize(("name", "regime"), [*itertools.product(VICTIMS, ["rating", "ranking"])])
def test_training_does_not_depend_on_threads(split, name, regime):
    first, second = on_one_and_on_three(lambda: train(split, name, regime).parameters)
    for part, value in first.items():
        assert torch.equal(value, second[part]), part


@pytest.mark.parametrize(
    "defend",
    [
        lambda victim: victim,
        lambda victim: ClosedFormRVD(victim, k=30),
        lambda victim: ClosedFormRVD(victim, k=100, hubness_reduction="local_scaling", groups=5),
        lambda victim: FastRVD(victim, k=10, steps=2),
        lambda victim: FastRVD(victim, k=10, steps=2, unobserved_weight=0.1, scope="decoder"),
        lambda victim: FastRVD(victim, k=10, steps=2, scope="decoder", optimizer="sgd"),
    ],
    ids=["undefended", "closed_form", "groups", "engine", "engine_decoder", "engine_span"],
)
@pytest.mark.parametrize("kind", [("MF", "rating"), ("AutoRec", "ranking")], ids="-".join)
def test_scores_do_not_depend_on_threads(victims, kind, defend):
    def scores():
        defended = defend(victims(*kind))
        return [defended.score(np.arange(n_users)) for n_users in (1, 300)]

    for first, second in zip(*on_one_and_on_three(scores), strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("form", [RVD, "functional"], ids=["loop", "functional"])
def test_scores_of_one_user_after_the_other_do_not_depend_on_threads(split, victims, form):
    victim, users = victims("MF", "ranking"), np.array([0, 5])

    def scores():
        if form is RVD:
            return RVD(victim, k=30, steps=3).score(users)
        module = VictimModule(victim)
        return FunctionalRVD(module, split.train.shape[0], k=30, steps=3).score(users)

    assert np.array_equal(*on_one_and_on_three(scores))


@pytest.mark.parametrize("name", OPTIMISING)
def test_fakes_do_not_depend_on_threads(split, name):
    def profiles():
        targets = draw_targets(split, "random", stream(0, "targets"))
        rng = stream(0, "attack")
        threat = build_threat_model(split, targets, rng, attack_size=0.01)
        return craft(name, threat, rng, **OPTIMISING[name]).toarray()

    assert np.array_equal(*on_one_and_on_three(profiles))


def test_a_reference_recommender_does_not_depend_on_threads(split):
    train, users = split.train[:, :500], np.arange(100)
    assert np.array_equal(*on_one_and_on_three(lambda: EASE().fit(train).score(users)))
