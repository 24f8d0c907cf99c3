"""What was acknowledged is kept: by the log, and by whoever folds it into the model's file."""

import contextlib
import os
import threading

import pytest

from rvdlib.serving import RealTimeDefender, UnusableModel, save
from rvdlib.serving.follower import LOG, MODEL, Follower, taken_up
from rvdlib.serving.log import RatingsLog, UnusableLog, held
from rvdlib.serving.storing import load, read_about
from tests.serving.conftest import FORM, victim


def test_a_log_that_was_cut_off_at_any_byte_is_taken_up_and_one_that_was_changed_is_refused(
    tmp_path,
):
    path, first, second = tmp_path / "log", {"ratings": [["é\n", 1, 2.5]]}, {"remove": [3]}
    log = RatingsLog(path, "a")
    ends = [log.begin, log.append(first), log.append(second)]
    whole = path.read_bytes()
    for content in [whole[:n] for n in range(len(whole))] + [whole + b"x" * 9000]:
        path.write_bytes(content)
        again = RatingsLog(path, "a")
        records = [first, second][: sum(len(content) >= end for end in ends[1:])]
        assert again.read(again.begin)[0] == records
        again.append(second)
        assert again.read(again.begin)[0] == [*records, second]
        again.close()
    with pytest.raises(UnusableLog, match="for another model"):
        RatingsLog(path, "b")
    path.write_bytes(path.read_bytes().replace(b"2.5", b"3.5"))
    again = RatingsLog(path, "a")
    with pytest.raises(UnusableLog, match=f"the line that ends at byte {ends[1]}"):
        again.read(again.begin)


@pytest.mark.parametrize("content", [b"mine", b"mine\nand more"])
def test_a_file_that_is_no_log_stays_as_it_is(tmp_path, content):
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(UnusableLog, match="is no log of ratings"):
        RatingsLog(tmp_path / "log", "a")
    assert (tmp_path / "log").read_bytes() == content


@pytest.mark.parametrize("content", [None, b""])
def test_a_log_that_is_gone_takes_nothing(tmp_path, content):
    path = tmp_path / "log"
    log = RatingsLog(path, "a")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    for use in (lambda: log.append({"remove": [3]}), lambda: log.read(log.begin)):
        with pytest.raises(OSError, match=r"another file than before|No such file"):
            use()


def test_nobody_reads_what_the_disk_does_not_have(tmp_path, monkeypatch):
    log, other = (RatingsLog(tmp_path / "log", "a") for _ in range(2))
    seen, before = [], (tmp_path / "log").read_bytes()
    reader = threading.Thread(target=lambda: seen.append(other.read(other.begin)[0]))

    def fails(_):
        reader.start()
        reader.join(0.3)
        raise OSError(28, "No space left")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left"):
        log.append({"remove": [3]})
    reader.join()
    assert seen == [[]]
    assert (tmp_path / "log").read_bytes() == before


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
    log = RatingsLog(tmp_path / LOG, read_about(tmp_path / MODEL)["sha256"])
    log.append({"ratings": [[77, 3, 4.0], [3, 5, 1.0]], "remove": []})
    log.append({"ratings": [[77, 4, 2.0]], "remove": [9]})
    log.close()
    return tmp_path


def take_up(folder):
    with taken_up(folder) as defender:
        return defender


def answers(defender):
    users = [user for user in range(40) if user != 9] + [77]
    return [
        (each.items, each.scores, each.evidence)
        for each in defender.recommend(users, 9, evidence=True)
    ]


@pytest.fixture
def expected(ratings):
    defender = RealTimeDefender(victim(), ratings, form=FORM)
    defender.update([(77, 3, 4.0), (3, 5, 1.0), (77, 4, 2.0)], remove=[9])
    return answers(defender)


def test_whoever_is_killed_while_the_log_is_folded_loses_nothing_and_takes_nothing_twice(
    folder, expected, monkeypatch
):
    before, alarm = {name: (folder / name).read_bytes() for name in (MODEL, LOG)}, None
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
        assert answers(found) == expected
        assert found.version == 0  # all of it is in the file
        assert (folder / LOG).read_bytes().count(b"\n") == 1
        alarm = alarm or found.state.base.reference
        assert (found.state.base.reference.shares == alarm.shares).all()
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
    with taken_up(folder) as defender:
        assert defender.version == 0
        with held(folder, alone=True) as alone:
            assert not alone
    assert (folder / LOG).read_bytes() != before


def test_who_starts_while_another_folds_the_log_serves_what_was_folded(folder, expected):
    found = []
    with held(folder, alone=True):
        second = threading.Thread(target=lambda: found.append(take_up(folder)))
        second.start()
        second.join(0.3)
        log = RatingsLog(folder / LOG, read_about(folder / MODEL)["sha256"])
        follower = Follower(load(folder / MODEL), log)
        follower.catch_up()
        save(follower.defender, folder / MODEL)
        (folder / LOG).unlink()
    second.join()
    assert answers(found[0]) == expected


def test_a_damaged_model_is_named_where_a_log_waits(folder):
    content = (folder / MODEL).read_bytes()
    foreign = content.replace(b'\\"sha256\\"', b'\\"sha257\\"', 1)
    assert foreign != content
    for damaged in (content[:-9], content[:9], b"", foreign):
        (folder / MODEL).write_bytes(damaged)
        with pytest.raises(UnusableModel, match=r"defender\.safetensors: "):
            take_up(folder)
