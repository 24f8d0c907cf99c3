"""Threads get what one thread gets, in a process of its own: one that crashes fails the test."""

import subprocess
import sys
import threading
import time

from rvdlib.paths import PROJECT
from rvdlib.serving import RealTimeDefender
from tests.serving.conftest import FORM, FORMS, victim

REPEATS, USERS, THREADS = 30, 200, 8
PROGRAM = f"""
import threading, warnings
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.models import MF
from rvdlib.seeding import stream
from rvdlib.serving import RealTimeDefender

ratings = synthetic_ratings(220, 60, 3000, rng=stream(0, "ratings"))
split = leave_one_out(ratings, stream(0, "split"))
warnings.simplefilter("ignore")
victim = MF(embedding_size=8, epochs=2, unobserved_weight=0.2)
victim.fit(split.train, split.validation, ratings.levels, stream(0, "model"))
form = {FORM!r}

def changes(repeat):
    rng = stream(repeat, "changes")
    users = rng.integers(0, 230, 4).tolist()
    return [(u, int(rng.integers(60)), float(rng.integers(1, 6))) for u in users]

def made():
    return RealTimeDefender(victim, ratings, form=form, cache_bytes=2**18)

alone, expected = made(), []
for repeat in range({REPEATS} + 1):
    expected.append([a.items for a in alone.recommend(list(range({USERS})))])
    alone.update(changes(repeat))

shared = made()
def serve(job):
    repeat, user = job
    return user, shared.recommend(user)

with ThreadPoolExecutor({THREADS}) as pool:
    for repeat in range({REPEATS}):
        jobs = [(repeat, user) for user in stream(repeat, "order").permutation({USERS}).tolist()]
        first = pool.map(serve, jobs[:100])
        update = pool.submit(shared.update, changes(repeat))
        answers = [*first, *pool.map(serve, jobs[100:])]
        update.result()
        for user, answer in answers:
            assert answer.version in (repeat, repeat + 1), (repeat, answer.version)
            assert answer.items == expected[answer.version][user], (repeat, user)
        assert shared.cache.n_bytes <= 2**18
print("the same")
"""


def test_eight_threads_get_exactly_what_one_gets_while_the_model_is_updated():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=PROJECT, capture_output=True, text=True, timeout=300
    )
    assert (ended.returncode, ended.stdout) == (0, "the same\n"), ended.stderr


def test_32_threads_that_ask_for_one_cold_user_cause_one_computation():
    defender = RealTimeDefender(victim(), form=FORMS["closed form"])
    serving, calls = defender._snapshot.serving, []
    score = serving.score

    def slow(users):
        calls.append(users)
        time.sleep(0.1)
        return score(users)

    serving.score = slow
    barrier, answers = threading.Barrier(32), []

    def ask():
        barrier.wait()
        answers.append(defender.recommend(3))

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(answers) == 32
    assert all(a == answers[0] for a in answers)
    assert defender.cache.hits_and_misses[0] >= 31


def test_a_request_that_has_begun_ends_with_the_version_that_it_began_with():
    defender = RealTimeDefender(victim(), form=FORM)
    before, serving = defender.recommend(3), defender._snapshot.serving
    defender.cache.clear()
    score = serving.score

    def late(users):
        del serving.score
        defender.update([(3, item, 1.0) for item in range(29)])
        return score(users)

    serving.score = late
    assert defender.recommend(3) == before
    after = defender.recommend(3)
    assert after.version == 1
    assert set(after.items) <= {29}
