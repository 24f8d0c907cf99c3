"""How many groups are worked on at once: RVD_JOBS and --jobs, which change no number."""

import os
import signal

import pytest
from click.testing import CliRunner

from rvdlib.cli.study import study
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment import parallel
from rvdlib.lab.experiment.parallel import JOBS, Task, rows_of
from rvdlib.lab.experiment.store import CellStore


@pytest.fixture
def asked(monkeypatch):
    """What joblib was asked for, last."""
    found, effective = [], parallel.joblib.effective_n_jobs

    def noting(jobs):
        found.append(jobs)
        return min(1, effective(1))

    monkeypatch.setattr(parallel.joblib, "effective_n_jobs", noting)
    return found


def squares(folder, jobs=-1):
    tasks = [Task(n, {"n": n}, {}, n) for n in range(3)]

    def compute(items):
        yield from ({"square": n * n} for n in items)

    return rows_of(tasks, compute, CellStore(folder), jobs, "squares")


@pytest.mark.parametrize(
    ("variable", "jobs", "used"),
    [(None, -1, -1), ("", -1, -1), ("1", -1, 1), ("7", -1, 7), ("7", 2, 2)],
)
def test_the_variable_says_how_many_unless_the_caller_does(
    tmp_path, monkeypatch, asked, variable, jobs, used
):
    monkeypatch.delenv(JOBS, raising=False)
    if variable is not None:
        monkeypatch.setenv(JOBS, variable)
    assert [row["square"] for row in squares(tmp_path, jobs)] == [0, 1, 4]
    assert asked == [used]


@pytest.mark.parametrize("variable", ["0", "-1", "1.5", "many", " "])
def test_what_is_no_number_of_jobs_is_refused_before_anything_is_computed(
    tmp_path, monkeypatch, variable
):
    monkeypatch.setenv(JOBS, variable)
    with pytest.raises(StudyError, match=rf"RVD_JOBS should be a whole number .* got '{variable}'"):
        squares(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def seen(monkeypatch):
    """RVD_JOBS as each study found it."""
    found = []
    monkeypatch.setenv(JOBS, "")
    monkeypatch.setattr(
        "rvdlib.lab.runner.run.run_study", lambda *_: found.append(os.environ[JOBS])
    )
    monkeypatch.setattr("rvdlib.lab.figures.claims_plots.save_verdicts", lambda profile: None)
    return found


@pytest.mark.parametrize(
    ("options", "variable", "expected"), [([], "", ""), ([], "3", "3"), (["--jobs", "2"], "3", "2")]
)
def test_the_studys_kernels_inherit_the_option(monkeypatch, seen, options, variable, expected):
    monkeypatch.setenv(JOBS, variable)
    result = CliRunner().invoke(study, options)
    assert result.exit_code == 0, result.output
    assert seen == [expected]


def test_a_wrong_number_of_jobs_is_refused_before_the_study_begins(seen):
    for given in ({"args": ["--jobs", "0"]}, {"env": {JOBS: "many"}}):
        result = CliRunner().invoke(study, **given)
        assert result.exit_code == 2
        assert "--jobs" in result.output
    assert seen == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_group_that_cannot_be_computed_ends_no_other(tmp_path, jobs):
    store = CellStore(tmp_path)
    tasks = [Task(n, {"n": n}, {}, n // 2) for n in range(8)]

    with pytest.raises(StudyError, match=r"^3 is bad\n4 is bad$|^4 is bad\n3 is bad$"):
        rows_of(tasks, but_for_3_and_4, store, jobs, "numbers")
    kept = [task.item for task in tasks if store.lookup(task.spec, {}).rows]
    assert kept == [0, 1, 2, 6, 7]  # 5 comes after 4, in its group


def test_a_worker_that_reads_other_code_than_the_run_began_with_computes_nothing(
    tmp_path, monkeypatch
):
    made = {"data": {}, "code": {"rvdlib/metrics.py": "c1"}, "versions": {}}
    tasks = [Task(n, {"n": n}, made, n) for n in range(2)]
    monkeypatch.setattr(parallel, "source_digest", lambda path: "as it was")
    with pytest.raises(StudyError, match=r"code changed: rvdlib/metrics.py, since this began"):
        rows_of(tasks, but_for_3_and_4, CellStore(tmp_path), 2, "numbers")
    assert list(tmp_path.iterdir()) == []
    assert len(rows_of(tasks, but_for_3_and_4, CellStore(tmp_path), 1, "numbers")) == 2


def killed(items):
    os.kill(os.getpid(), signal.SIGKILL)
    yield from items


def but_for_3_and_4(items):
    for n in items:
        if n in (3, 4):
            raise StudyError(f"{n} is bad")
        yield {"n": n}


def test_a_process_that_is_killed_is_an_error_that_says_what_to_do(tmp_path):
    tasks = [Task(n, {"n": n}, {}, n) for n in range(2)]
    with pytest.raises(StudyError, match=r"a process .* was killed, .*memory.*--jobs"):
        rows_of(tasks, killed, CellStore(tmp_path), 2, "numbers")
