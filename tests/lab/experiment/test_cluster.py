"""Rows from workers of a cluster: the same, each once, whoever is lost on the way."""

import logging
import math
import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest

from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment import cluster
from rvdlib.lab.experiment.cluster import REMEDY, connected, run_group, run_on_cluster, state
from rvdlib.lab.experiment.parallel import Task, in_groups, run_groups
from rvdlib.lab.experiment.store import CellStore

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
cloudpickle = pytest.importorskip("cloudpickle")
MADE_WITH = {"data": {}, "code": {}, "versions": {}}


def tasks(log):
    return [Task((n, str(log)), {"n": n}, MADE_WITH, n // 2) for n in range(8)]


def compute(items):
    """Row n is begun in the log; whoever finds a file ``kill`` at row 3 ends without a word."""
    import numpy as np

    for n, log in items:
        with open(log, "a") as file:
            file.write(f"{n}\n")
        kill = log + ".kill"
        if n == 3 and os.path.exists(kill):
            os.remove(kill)
            os.kill(os.getpid(), signal.SIGKILL)
        yield {"n": n, "root": np.sqrt(n + 0.1), "nothing": math.nan, "log": log}


@pytest.fixture(autouse=True)
def by_value():
    """Workers cannot import the tests; what is lost on purpose is nobody's news."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def threads():
    """A cluster of this process alone."""
    made = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**made) as own, distributed.Client(own) as client:
        yield client


def encoded(store, log):
    return [(store.record(task.spec) or {}).get("rows") for task in tasks(log)]


def test_a_worker_that_is_lost_costs_time_and_changes_no_row(tmp_path):
    log, kill = tmp_path / "log", tmp_path / "log.kill"
    here, there = CellStore(tmp_path / "here"), CellStore(tmp_path / "there")
    [*run_groups(in_groups(tasks(log), here), compute, here, jobs=1)]
    log.unlink()
    kill.touch()
    with connected("local", 2) as client:
        parts = [*run_on_cluster(client, in_groups(tasks(log), there), compute, there)]
    assert not kill.exists()
    assert sorted(row["n"] for part in parts for row in part.values()) == [*range(8)]
    assert encoded(there, log) == encoded(here, log)
    assert None not in encoded(there, log)
    # The group that was lost is computed once more, no other one.
    begun = [int(line) for line in log.read_text().split()]
    assert sorted(begun) == sorted([*range(8), 2, 3])
    record = there.record({"n": 0})
    assert record["cost"].keys() == {"seconds", "peak_mib"}
    assert record["fingerprint"]["versions"].keys() >= {"numpy", "numpy kernels"}


def test_groups_that_do_not_fit_are_not_begun(tmp_path, threads):
    store, log = CellStore(tmp_path / "cells"), tmp_path / "log"
    groups = in_groups(tasks(log), store)
    even = run_on_cluster(
        threads,
        groups,
        compute,
        store,
        fits=lambda group: next(iter(group.values())).group % 2 == 0,
    )
    assert sorted(row["n"] for part in even for row in part.values()) == [0, 1, 4, 5]
    assert [*run_on_cluster(threads, groups, compute, store, deadline=time.time() - 1)] == []
    found = run_on_cluster(threads, groups[:1], compute, store)
    assert [len(part) for part in found] == [2]


def test_what_a_row_raises_is_raised_here(tmp_path, threads):
    def failing(items):
        raise StudyError("no such victim")

    groups = in_groups(tasks(tmp_path / "log"), store := CellStore(tmp_path / "cells"))
    with pytest.raises(StudyError, match="no such victim"):
        [*run_on_cluster(threads, groups, failing, store)]


def test_workers_that_are_lost_again_and_again_are_an_error_that_names_the_group(
    tmp_path, threads, monkeypatch
):
    def killed(self, timeout=None):
        raise distributed.scheduler.KilledWorker("rvd-1", SimpleNamespace(address="here"), 3)

    monkeypatch.setattr(distributed.Future, "result", killed)
    groups = in_groups(tasks(tmp_path / "log"), store := CellStore(tmp_path / "cells"))
    with pytest.raises(StudyError, match=r"workers were lost.* while they computed \(\d, .*memory"):
        [*run_on_cluster(threads, groups, compute, store)]


@pytest.mark.parametrize("section", ["code", "parameters", "versions"])
def test_a_worker_with_other_code_parameters_or_versions_refuses(tmp_path, section):
    ours = state()
    name = min(ours[section])
    items = [task.item for task in tasks(tmp_path / "log")]
    theirs = ours | {section: ours[section] | {name: "another"}}
    with pytest.raises(
        StudyError, match=rf"a worker differs from here: .*{name}.* the same commit"
    ):
        run_group(items, compute, theirs)
    assert not (tmp_path / "log").exists()
    assert len(run_group(items[:1], compute, ours)[0]) == 1
    assert not any("kernels" in name for name in ours["versions"])


def test_workers_that_join_later_are_given_groups_too(tmp_path, threads, monkeypatch):
    present, begun, submit = [1], [], threads.submit
    monkeypatch.setattr(threads, "nthreads", lambda: {"tcp://a": present[0]})
    monkeypatch.setattr(threads, "submit", lambda *of, **to: begun.append(1) or submit(*of, **to))
    groups = in_groups(tasks(tmp_path / "log"), store := CellStore(tmp_path / "cells"))
    parts = run_on_cluster(threads, groups, compute, store)
    next(parts)
    assert len(begun) == 2
    present[0] = 2
    next(parts)
    assert len(begun) == 4
    assert len([*parts]) == 2


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("no such column")])
def test_an_error_of_the_run_is_not_taken_for_one_of_the_connection(threads, error):
    with pytest.raises(type(error)) as raised, connected(threads.scheduler.address, 1):
        raise error
    assert raised.value is error


def test_without_the_extra_or_a_scheduler_the_remedy_is_said(monkeypatch):
    monkeypatch.setattr(cluster, "TIMEOUT", "0.2s")
    with (
        pytest.raises(
            StudyError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9 .*dask scheduler"
        ),
        connected("tcp://127.0.0.1:9", 1),
    ):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(StudyError) as refused, connected("local", 1):
        pass
    assert str(refused.value) == REMEDY
