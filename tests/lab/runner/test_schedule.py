"""What is missing, what it would cost, and the most valuable part of it first, in time."""

import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest
from click.testing import CliRunner

from rvdlib import paths
from rvdlib.cli import main
from rvdlib.lab.errors import OtherStateError, StudyError
from rvdlib.lab.experiment.lines import Kept
from rvdlib.lab.experiment.parallel import Batch, Shared, Task, in_groups, run_groups
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.runner import run as study
from rvdlib.lab.runner import schedule
from rvdlib.lab.runner.costs import Costs, known_costs
from rvdlib.lab.runner.gather import gather
from rvdlib.lab.runner.schedule import missing_by, survey, work

FINGERPRINT = {"data": {}, "code": {"rvdlib/metrics.py": "c1"}, "versions": {}}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(paths, "CELL_STORE", tmp_path / "cells")
    monkeypatch.setenv("RVD_JOBS", "1")


def spec(dataset="ml-100k", seed=0, attack="random", **more):
    known = {"dataset": dataset, "victim": "MF", "regime": "rating", "attack": attack, "seed": seed}
    return {"scenario": known | more, "chain": [], "n_users": None}


def make(items):
    """``items``: (data set, seed)."""
    tasks = [Task(item, spec(*item), FINGERPRINT, item) for item in items]
    return Batch(tasks, compute, "rows")


def compute(items):
    for dataset, seed in items:
        yield {"dataset": dataset, "seed": seed, "process": os.getpid()}


def other(items):
    return make(items)._replace(compute=compute)


def asked(**notebooks):
    return {name: [(make, items)] for name, items in notebooks.items()}


SEEDS = [("ml-100k", seed) for seed in range(10)]


def order_of_work(wanted, **given):
    """The items in the order in which they are computed."""
    store, seen = CellStore(), []

    def noting(items):
        seen.extend(items)
        yield from compute(items)

    noted = {
        name: [(lambda items, m=m: m(items)._replace(compute=noting), items) for m, items in parts]
        for name, parts in wanted.items()
    }
    work(survey(noted, store), store, Costs([]), **given)
    return seen


def test_three_seeds_of_everything_come_before_five_of_anything():
    wanted = asked(n03=SEEDS, n09=[("yelp", 3), ("yelp", 7)])
    assert order_of_work(wanted) == [*SEEDS[:3], ("yelp", 3), ("yelp", 7), *SEEDS[3:]]


def test_a_row_of_two_notebooks_is_computed_once_and_with_the_earlier_of_its_ranks():
    wanted = asked(n03=SEEDS[:6], n06=SEEDS[5:6])
    rows = survey(wanted, CellStore())
    assert [(row.tier, row.notebooks) for row in rows] == [
        *[(0, ["n03"])] * 3,
        *[(1, ["n03"])] * 2,
        (0, ["n03", "n06"]),
    ]
    assert order_of_work(wanted) == [*SEEDS[:3], SEEDS[5], *SEEDS[3:5]]
    assert order_of_work(wanted) == []


def test_only_the_data_sets_that_are_named_are_worked_on():
    wanted = asked(n02=[("yelp", 0), ("ml-100k", 0), ("filmtrust", 0)])
    assert order_of_work(wanted, datasets=["yelp", "filmtrust"]) == [("yelp", 0), ("filmtrust", 0)]
    with pytest.raises(StudyError, match="these notebooks have no rows of ml100k"):
        order_of_work(wanted, datasets=["yelp", "ml100k"])


def costs_of(seconds, **more):
    return Costs([(spec(**more), {"seconds": seconds, "peak_mib": 100.0})])


def test_no_group_is_begun_that_does_not_fit_into_the_time():
    store, rows = CellStore(), survey(asked(n=[("ml-100k", 0), ("filmtrust", 0)]), CellStore())
    dear = Costs([(spec(), {"seconds": 7200.0}), (spec(dataset="filmtrust"), {"seconds": 1.0})])
    assert work(rows, store, dear, hours=1) == 1
    assert store.record(spec(dataset="filmtrust"))["cost"].keys() == {"seconds", "peak_mib"}
    assert store.record(spec()) is None
    assert work(rows, store, Costs([]), hours=1e-9) == 0


def test_within_a_group_no_row_is_begun_after_the_time():
    store = CellStore()
    tasks = [Task(n, spec(seed=n), FINGERPRINT, 0) for n in range(5)]

    def slow(items):
        for n in items:
            time.sleep(0.2)
            yield {"n": n}

    (done,) = run_groups(in_groups(tasks, store), slow, store, jobs=1, deadline=time.time() + 0.3)
    assert len(done) == len([*paths.CELL_STORE.iterdir()]) == 2


def test_what_rows_share_is_divided_among_them():
    def shared(items):
        for part in (items[:2], items[2:]):
            time.sleep(0.2)
            yield Shared(len(part))
            yield from ({"n": n} for n in part)

    store, tasks = CellStore(), [Task(n, spec(seed=n), FINGERPRINT, 0) for n in range(6)]
    [*run_groups(in_groups(tasks, store), shared, store, jobs=1)]
    seconds = [store.record(task.spec)["cost"]["seconds"] for task in tasks]
    assert seconds[:2] == pytest.approx([0.1] * 2, abs=0.03)
    assert seconds[2:] == pytest.approx([0.05] * 4, abs=0.03)


def test_a_machine_that_slept_during_one_row_makes_the_others_no_dearer():
    rows = [(spec(seed=n), {"seconds": seconds}) for n, seconds in enumerate([10.0, 9000.0, 12.0])]
    assert Costs(rows).estimate(spec(seed=9)).seconds == 12.0


def test_costs_are_those_of_the_nearest_kind_and_it_is_said():
    rows = [(spec(seed=n), {"seconds": 10.0 + n, "peak_mib": 100 + n}) for n in range(3)]
    rows.append((spec(attack="pga"), {"seconds": 100.0}))
    costs = Costs([*rows, (spec(seed=9), {})])
    assert costs.estimate(spec(seed=5)) == (11.0, 102, True)
    assert costs.estimate(spec(attack="pga")) == (100.0, 0.0, True)
    unseen = costs.estimate(spec(attack="s_tna"))
    assert unseen.own is False
    assert unseen.seconds == pytest.approx((11 + 12) / 2)
    larger = costs.estimate(spec(dataset="ml-1m"))  # ten times the ratings
    assert larger.seconds == pytest.approx(11.0 * 1_000_209 / 100_000)
    assert larger.own is False
    assert costs.estimate({"quality": {"dataset": "ml-100k", "system": "MF", "seed": 0}}) is None


def test_the_table_says_what_is_missing_and_what_each_further_slice_costs():
    wanted = asked(n03=SEEDS, n09=[("yelp", 0), ("ml-100k", 9)])
    work(survey(asked(n03=SEEDS[:1]), CellStore()), CellStore(), Costs([]))
    table = missing_by(survey(wanted, CellStore()), costs_of(3600.0))
    assert table["notebook"].tolist() == ["n03", "n09"]
    assert table["rows"].tolist() == [10, 1]
    assert table["missing"].tolist() == [9, 1]
    # The seed 9 is the second of what 09 asks for, and so is wanted first.
    assert table.loc[0, ["hours_3_seeds", "hours_5_seeds", "hours"]].tolist() == [3.0, 5.0, 9.0]
    assert table["own"].tolist() == [1.0, 0.0]
    assert table["peak_mib"].tolist() == [100.0, 100.0]
    nothing = missing_by(survey(wanted, CellStore()), Costs([]))
    assert nothing["unknown"].tolist() == nothing["missing"].tolist() == [9, 1]
    assert nothing["hours"].tolist() == [0, 0]


def test_costs_are_read_from_the_cache_and_the_repository(tmp_path):
    assert known_costs().estimate(spec()) is None
    work(survey(asked(n=SEEDS[:1]), CellStore()), CellStore(), Costs([]))
    (paths.CELL_STORE / "broken.json").write_text("{")
    assert known_costs().estimate(spec()).own
    gather("paper", make(SEEDS[:1]).tasks)
    for path in paths.CELL_STORE.iterdir():
        path.unlink()
    assert known_costs().estimate(spec()).own


def test_notebooks_are_executed_whose_rows_are_all_there_and_the_others_are_named(capsys):
    wanted = asked(n03=[("ml-100k", 0)], n09=[("yelp", 0), ("ml-100k", 0)])
    plan, notebooks = {"n01": {}, "n03": {}, "n09": {}}, lambda name, given: wanted.get(name, [])
    ready = study._ready("paper", plan, notebooks, {"datasets": ["ml-100k"]})
    assert ready == ["n01", "n03"]
    told = capsys.readouterr().out
    assert "1 rows were computed, 0 were there" in told
    assert "n09: not executed, 1 of its 2 rows are missing" in told
    assert (paths.RESULTS / "paper" / "cells" / "ml-100k" / "cells-rating-MF-0.csv").is_file()
    assert study._ready("paper", plan, notebooks, {"hours": 1e-9}) == []
    assert "Complete, and not executed: n01, n03" in capsys.readouterr().out
    assert study._ready("paper", plan, notebooks, {"scheduler": ""}) == ["n01", "n03", "n09"]


def test_a_worker_with_other_code_ends_the_run_at_once(monkeypatch):
    begun = []

    def refused(client, groups, *_, **__):
        begun.extend(groups)
        raise OtherStateError("a worker has other code")

    monkeypatch.setattr(schedule, "connected", lambda *_: nullcontext("a client"))
    monkeypatch.setattr(schedule, "run_on_cluster", refused)
    wanted, store = asked(n03=SEEDS[:4]), CellStore()
    with pytest.raises(OtherStateError, match="other code"):
        work(survey(wanted, store), store, Costs([]), scheduler="an address")
    assert len(begun) == 3  # not the fourth seed, which comes later


KILLED = """
import json, os, signal, sys, time
from pathlib import Path
from rvdlib import paths
cells, log = map(Path, sys.argv[1:])
paths.CELL_STORE = cells
from rvdlib.lab.experiment.parallel import Task, rows_of
from rvdlib.lab.experiment.store import CellStore

def compute(items):
    for n in items:
        with log.open("a") as file:
            file.write(f"{n}\\n")
        time.sleep(0.05)
        yield {"n": n, "square": n * n}

made = {"data": {}, "code": {}, "versions": {}}
tasks = [Task(n, {"n": n}, made, n // 4) for n in range(24)]
run = lambda: [row["square"] for row in rows_of(tasks, compute, CellStore(), 1, "rows")]
kills = 0
for after in (0.07, 0.2, 0.31, 0.4):
    child = os.fork()
    if not child:
        run()
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
rows, begun = run(), log.read_text().split()
again = run() == rows and log.read_text().split() == begun
print(json.dumps([kills, rows, [int(n) for n in begun], again]))
"""


def test_killed_at_any_moment_a_run_loses_at_most_the_rows_that_it_was_at(tmp_path):
    command = [sys.executable, "-c", KILLED, tmp_path / "cells", tmp_path / "log"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kills, rows, begun, same_again = json.loads(done.stdout)
    assert kills > 0
    assert rows == [n * n for n in range(24)]
    assert set(begun) == set(range(24))
    assert len(begun) - 24 <= kills
    assert same_again


def test_gathering_that_is_interrupted_anywhere_leaves_a_sound_store(tmp_path, monkeypatch):
    from rvdlib.lab.experiment.committed import store_of

    old = [
        Kept(spec(seed=n), {"seed": n, "x": {"a": n * 10**12}}, {}, FINGERPRINT) for n in range(3)
    ]
    new = [kept._replace(row={"seed": 0, "x": {"b": 1.5 * 10**12}}) for kept in old[:2]]
    store, write = store_of("paper"), paths.write_atomically
    for most in range(5):
        store.write(old)
        left = iter(range(most))

        def interrupted(path, content, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            write(path, content)

        with monkeypatch.context() as patch:
            patch.setattr(paths, "write_atomically", interrupted)
            try:
                store.write(new)
            except KeyboardInterrupt:
                assert most < 4
        found = {kept.spec["scenario"]["seed"]: kept.row for kept in store.all()}
        assert found.keys() == {0, 1, 2}
        assert all(found[n] in (old[n].row, new[n].row if n < 2 else {}) for n in found)


def test_the_command_plans(monkeypatch):
    monkeypatch.setattr(
        "rvdlib.lab.runner.plan.load_profile", lambda name: {"03_x": {}, "09_y": {}}
    )
    by = {"03_x": [(make, SEEDS[:4])], "09_y": [(make, [("yelp", 0)])]}
    monkeypatch.setattr("rvdlib.lab.study.planned.wanted", lambda name, given: by[name])
    work(survey(asked(n=SEEDS[:1]), CellStore()), CellStore(), Costs([]))
    done = CliRunner().invoke(main, ["plan"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split()[:4] == ["notebook", "dataset", "rows", "missing"]
    assert lines[1].split()[:5] == ["03_x", "ml-100k", "4", "3", "0.00"]
    assert "4 of 5 rows are missing: 0.0 hours of one core, about 0.0 on 1" in done.output
    only = CliRunner().invoke(main, ["plan", "--only", "9", "--dataset", "yelp"])
    assert "1 of 1 rows are missing" in only.output
    refused = CliRunner().invoke(main, ["plan", "--dataset", "yolp"])
    assert (refused.exit_code, "have no rows of yolp" in refused.output) == (1, True)
