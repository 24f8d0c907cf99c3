"""What was acknowledged is kept: by the log, and by whoever folds it into the model's file."""

import contextlib
import os

import numpy as np
import pytest

from rvdlib.serving import RealTimeDefender, save
from rvdlib.serving.follower import LOG, MODEL, take_up
from rvdlib.serving.log import RatingsLog, UnusableLog, held
from rvdlib.serving.storing import read_about
from tests.serving.conftest import FORM, victim


def test_a_log_that_was_cut_off_is_taken_up_and_one_that_was_changed_is_refused(tmp_path):
    log = RatingsLog(tmp_path / "log", "a")
    log.append({"ratings": [["é\n", 1, 2.5]]})
    whole = (tmp_path / "log").read_bytes()
    for torn in (whole[-20:-1], b"x" * 9000):
        (tmp_path / "log").write_bytes(whole + torn)
        again = RatingsLog(tmp_path / "log", "a")
        assert again.read(again.begin)[0] == [{"ratings": [["é\n", 1, 2.5]]}]
        again.append({"remove": [3]})
        assert len(again.read(again.begin)[0]) == 2
    with pytest.raises(UnusableLog, match="for another model"):
        RatingsLog(tmp_path / "log", "b")
    changed = (tmp_path / "log").read_bytes().replace(b"2.5", b"3.5")
    (tmp_path / "log").write_bytes(changed)
    again = RatingsLog(tmp_path / "log", "a")
    with pytest.raises(UnusableLog, match="the line that ends at byte 81"):
        again.read(again.begin)


class Killed(BaseException):
    """At the n-th time that something is asked of the disk; 0: never."""

    def __init__(self, n):
        self.n, self.calls = n, 0

    def counted(self, real):
        def call(*given):
            self.calls += 1
            if self.calls == self.n:
                raise self
            return real(*given)

        return call


@pytest.fixture
def folder(tmp_path, ratings):
    """With a model, and a log of ratings of a user who came, one who was there, and one who left."""
    save(RealTimeDefender(victim(), ratings, form=FORM), tmp_path / MODEL)
    log = RatingsLog(tmp_path / LOG, read_about(tmp_path / MODEL)[1])
    log.append({"ratings": [[77, 3, 4.0], [3, 5, 1.0]], "remove": []})
    log.append({"ratings": [[77, 4, 2.0]], "remove": [9]})
    log.close()
    return tmp_path


def answers(defender):
    users = [user for user in range(40) if user != 9] + [77]
    return [
        (each.items, each.scores, each.evidence)
        for each in defender.recommend(users, 9, evidence=True)
    ]


def test_whoever_is_killed_while_the_log_is_folded_loses_nothing_and_takes_nothing_twice(
    folder, ratings, monkeypatch
):
    expected, alarm = RealTimeDefender(victim(), ratings, form=FORM), None
    expected.update([(77, 3, 4.0), (3, 5, 1.0), (77, 4, 2.0)], remove=[9])
    before = {name: (folder / name).read_bytes() for name in (MODEL, LOG)}
    for n in range(1, 100):
        for name, content in before.items():
            (folder / name).unlink()  # another file: what was loaded is mapped
            (folder / name).write_bytes(content)
        killed = Killed(n)
        with monkeypatch.context() as patch:
            for name in ("fsync", "replace"):
                patch.setattr(os, name, killed.counted(getattr(os, name)))
            with contextlib.suppress(Killed):
                take_up(folder)
        found = take_up(folder)
        assert answers(found) == answers(expected)
        assert found.version == 0  # all of it is in the file
        assert (folder / LOG).read_bytes().count(b"\n") == 1
        alarm = alarm or found.state.base.reference
        np.testing.assert_array_equal(found.state.base.reference.usual, alarm.usual)
        if killed.calls < n:
            break
    assert n == 7  # two files written, and the folder synchronised after each
    once = (folder / MODEL).read_bytes()
    take_up(folder)
    assert (folder / MODEL).read_bytes() == once


def test_a_log_that_a_service_writes_to_is_not_begun_anew(folder):
    before = (folder / LOG).read_bytes()
    with held(folder):
        take_up(folder)
        assert (folder / LOG).read_bytes() == before
    assert take_up(folder).version == 0
    assert (folder / LOG).read_bytes() != before
    with pytest.raises(UnusableLog, match="for another model"):
        RatingsLog(folder / LOG, "another")
