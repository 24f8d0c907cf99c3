import sys
import time

import numpy as np
import pytest

from rvdlib.attacks.history import History


def run(history, objectives, leave_after=None):
    for step in history.steps(len(objectives), "attack"):
        history.record(objectives[step])
        if step == leave_after:
            break


def test_objectives_are_kept_in_order_as_plain_numbers():
    history = History()
    run(history, np.array([3, 2.5, 2.75], dtype=np.float32))
    assert history.objectives == [3, 2.5, 2.75]
    assert {type(objective) for objective in history.objectives} == {float}


def test_steps_may_be_left_early_and_a_further_stage_adds_to_the_first():
    history = History()
    run(history, [3, 2, 1], leave_after=1)
    run(history, [5])
    assert history.objectives == [3, 2, 5]


def test_seconds_are_the_computing_time_of_all_stages():
    def work(seconds):
        start = time.process_time()
        while time.process_time() - start < seconds:
            pass

    history = History()
    assert history.seconds == 0
    for _ in range(2):
        for _ in history.steps(2, "attack"):
            work(0.02)
            time.sleep(0.05)
        work(0.2)
    assert 0.08 <= history.seconds < 0.2


@pytest.mark.parametrize("objective", [np.nan, np.inf, -np.inf])
def test_an_attack_that_diverges_is_stopped_and_told_so(objective):
    history = History()
    with pytest.raises(ValueError, match="after 1 finite steps: it diverged, use smaller steps"):
        run(history, [1.0, objective])
    assert history.objectives == [1.0]


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_that_waits_five_seconds_shows_a_bar(monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    history = History()
    for step in history.steps(20, "my attack"):
        now[0] += 1
        history.record(100 - step)
        if step == 2:
            assert capsys.readouterr().err == ""
    shown = capsys.readouterr().err
    assert ("my attack" in shown and "objective=" in shown) if terminal else shown == ""
