import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress

import psutil
import pytest
from click.testing import CliRunner
from filelock import FileLock

from rvdlib import paths
from rvdlib.cli import main
from rvdlib.cli.study import study
from rvdlib.data import DataError
from rvdlib.lab.errors import StudyError
from rvdlib.lab.runner import ledger
from rvdlib.lab.runner.ledger import CLAIMS_FILE
from rvdlib.lab.runner.notebook_runner import problem, read_notebook
from rvdlib.lab.runner.plan import load_profile
from rvdlib.lab.runner.records import StudyRecords
from rvdlib.lab.runner.run import run_study
from rvdlib.strict_yaml import InvalidYaml

WRITE_TABLE = """
import json
from pathlib import Path
results = Path("../results") / profile
(results / "cells.csv").write_text(f"k,hit_ratio\\n{k},0.5\\n")
print("a table")
"""
WRITE_HEADLINE = """
metrics = "target_hit_ratio_clean target_hit_ratio hit_ratio ndcg rmse catalogue_share".split()
lines = [f"rating,random,none,{metric},0.25,0.2,0.3,3" for metric in metrics]
header = "regime,target_set,defense,metric,mean,low,high,n"
(Path("../results") / profile / "headline.csv").write_text("\\n".join([header, *lines]))
"""


@pytest.fixture
def two_notebooks(project, make_notebook):
    make_notebook(project / "notebooks" / "01_table.ipynb", WRITE_TABLE, title="The *table*")
    make_notebook(
        project / "notebooks" / "02_headline.ipynb",
        "from pathlib import Path\nprint(k)",
        WRITE_HEADLINE,
    )
    (project / "params" / "tiny.yml").write_text("02_headline: {}\n01_table:\n  k: 3\n")
    return project


def test_a_study_runs_in_order_reports_and_is_not_run_twice(two_notebooks, capsys):
    project, results = two_notebooks, two_notebooks / "results" / "tiny"
    run_study("tiny")
    first = capsys.readouterr().out
    assert [line for line in first.splitlines() if ": " in line] == [
        "01_table: running (new)",
        "02_headline: running (new)",
    ]
    assert first.splitlines()[-1].split() == ["rating", "random", "no", "defence"] + ["0.250"] * 6
    assert len(json.loads((results / "claims.json").read_text())) == 17
    assert str(results / "index.html") in first
    assert (results / "cells.csv").read_text() == "k,hit_ratio\n3,0.5\n"
    assert (results / "GLOSSARY.md").read_text() == "# Glossary\n"
    for name in ("01_table", "02_headline"):
        assert problem(read_notebook(results / f"{name}.ipynb")) == ""
    written = {path: path.read_bytes() for path in results.iterdir()}

    run_study("tiny")
    assert re.findall(r"^\w+: .*", capsys.readouterr().out, re.M) == [
        "01_table: unchanged",
        "02_headline: unchanged",
    ]
    (project / "params" / "tiny.yml").write_text("01_table: {k: 4}\n02_headline: {}\n")
    run_study("tiny", only=["1"])
    told = capsys.readouterr().out
    assert re.findall(r"^\w+: .*", told, re.M) == ["01_table: running (parameters changed: k)"]
    assert (results / "cells.csv").read_text() == "k,hit_ratio\n4,0.5\n"
    (project / "params" / "tiny.yml").write_text("01_table: {k: 3}\n02_headline: {}\n")
    run_study("tiny", force=True)
    assert "02_headline: running (forced)" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in results.iterdir()} == written


SHARED = "results/tiny/cells/ml-100k/cells-rating-MF-0.csv"  # finished rows of several notebooks


@pytest.fixture
def ran(two_notebooks):
    """Records as after a run of ``01_table`` that was given a file and wrote a table."""
    (two_notebooks / "notebooks" / "own.csv").write_text("1,2,3\n")
    (two_notebooks / "params" / "victims.yml").write_text("MF: {}\n")
    records = StudyRecords("tiny")
    with records.running("01_table", {"k": 3, "files": ["own.csv"]}):
        paths.write_atomically(two_notebooks / "results" / "tiny" / "01_table.ipynb", "executed")
        paths.write_atomically(two_notebooks / "figures" / "tiny" / "1.png", b"figure")
        paths.write_atomically(two_notebooks / SHARED, "rows")
    return two_notebooks


@pytest.mark.parametrize(
    ("edited", "reason"),
    [
        (None, ""),
        ("notebooks/01_table.ipynb", "notebook changed: 01_table.ipynb"),
        ("notebooks/02_headline.ipynb", ""),
        ("notebooks/own.csv", "data changed: own.csv"),
        ("params/victims.yml", "shared parameters changed: victims.yml"),
        ("params/quick.yml", ""),
        ("results/tiny/01_table.ipynb", "outputs changed: results/tiny/01_table.ipynb"),
        ("figures/tiny/1.png", "outputs changed: figures/tiny/1.png"),
        ("results/tiny/other.csv", ""),
        (SHARED, ""),
    ],
)
def test_a_notebook_runs_again_for_a_change_that_concerns_it_and_for_no_other(ran, edited, reason):
    if edited:
        (ran / edited).write_text("edited")
    parameters = {"k": 3, "files": ["own.csv"]}
    assert StudyRecords("tiny").changes("01_table", parameters) == reason


def test_a_deleted_output_and_changed_code_are_reasons_to_run_again(ran, monkeypatch):
    parameters = {"k": 3, "files": ["own.csv"]}
    (ran / "figures" / "tiny" / "1.png").unlink()
    monkeypatch.setattr(
        "rvdlib.lab.runner.records.code_digests", lambda without: {"rvdlib/models/mf.py": "new"}
    )
    reason = StudyRecords("tiny").changes("01_table", parameters)
    assert reason.startswith("code changed: rvdlib/")
    assert reason.endswith("; outputs changed: figures/tiny/1.png")


def test_an_edit_while_a_notebook_runs_makes_it_run_again(two_notebooks):
    records = StudyRecords("tiny")
    with records.running("01_table", {}):
        (two_notebooks / "notebooks" / "01_table.ipynb").write_text("edited meanwhile")
        paths.write_atomically(two_notebooks / "results" / "tiny" / "01_table.ipynb", "executed")
    assert records.changes("01_table", {}) == "notebook changed: 01_table.ipynb"


@pytest.mark.parametrize("content", ["", "[]", '{"01_table": 1}', '{"01_table": {}}'])
def test_damaged_records_make_everything_run_again(ran, content):
    (paths.STUDY_RECORDS / "tiny.json").write_text(content)
    with pytest.warns(UserWarning, match=r"tiny\.json is damaged"):
        records = StudyRecords("tiny")
    assert records.changes("01_table", {}) == "new"


@pytest.mark.parametrize(
    ("profile", "content", "message"),
    [
        ("quick", "", r"quick\.yml is missing"),
        ("tiny", "a: [", r"tiny\.yml is not valid YAML: .*line 1"),
        ("tiny", "", r"tiny\.yml must map notebooks"),
        ("tiny", "03_x: {}", r"tiny\.yml: no notebook '03_x'; there is 01_table, 02_headline"),
        ("tiny", "01_table: 3", r"tiny\.yml: 01_table must map parameters to values, got 3"),
        ("tiny", "01_table: {kk: 3}", r"tiny\.yml: 01_table\.ipynb has no parameter 'kk': .* k\?"),
        ("tiny", "01_table: {k: x}", r"'k' should be a valid integer, got 'x'"),
        ("tiny", "01_table: {profile: mine}", r"01_table: its profile is tiny, got 'mine'"),
        (
            "tiny",
            "01_table: {}\n01_table: {k: 3}",
            r"tiny\.yml .*line 2: the key '01_table' stands",
        ),
        # The second notebook's mistake is found before the first one runs.
        ("tiny", "01_table: {k: 3}\n02_headline: {k: 0.5}", r"02_headline\.ipynb: .* got 0\.5"),
    ],
)
@pytest.mark.usefixtures("no_kernel")
def test_a_profile_that_does_not_fit_is_refused_before_anything_runs(
    two_notebooks, profile, content, message
):
    (two_notebooks / "params" / "tiny.yml").write_text(content)
    with pytest.raises(StudyError, match=f"(?s){message}"):
        run_study(profile)
    result = CliRunner().invoke(study, ["--profile", profile])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert list((two_notebooks / "results").iterdir()) == []


@pytest.mark.usefixtures("no_kernel")
def test_a_profile_that_there_is_none_of_is_refused_by_name(two_notebooks):
    with pytest.raises(StudyError, match="no profile 'huge': choose one of tiny, quick, paper"):
        run_study("huge")


def test_a_profile_gives_notebooks_their_parameters_and_its_own_name(two_notebooks, make_notebook):
    make_notebook(two_notebooks / "notebooks" / "03_plain.ipynb", "k", parameters="k: int = 1")
    (two_notebooks / "params" / "tiny.yml").write_text("03_plain:\n01_table: {k: 3}\n")
    assert load_profile("tiny") == {"01_table": {"k": 3, "profile": "tiny"}, "03_plain": {}}


@pytest.mark.parametrize("wanted", ["2", "02", "02_headline"])
def test_one_notebook_is_chosen_by_number_or_name(two_notebooks, monkeypatch, wanted):
    ran = []
    monkeypatch.setattr(
        "rvdlib.lab.runner.run._run_notebooks", lambda _p, _n, chosen, *_: ran.extend(chosen)
    )
    run_study("tiny", only=[wanted])
    assert ran == ["02_headline"]


@pytest.mark.usefixtures("no_kernel")
def test_a_notebook_that_is_not_in_the_profile_cannot_be_chosen(two_notebooks):
    with pytest.raises(StudyError, match="no notebook '3' in this profile; it has 01_table, 02"):
        run_study("tiny", only=["1", "3"])


@pytest.mark.usefixtures("no_kernel")
def test_two_runs_of_one_profile_at_once_are_refused(two_notebooks):
    paths.STUDY_RECORDS.mkdir(parents=True)
    with (
        FileLock(paths.STUDY_RECORDS / "tiny.lock"),
        pytest.raises(StudyError, match="another process is running the tiny study"),
    ):
        run_study("tiny")


COMMAND = """
import signal, sys
# Whoever started the tests may ignore it, as `nohup ... &` does, and children inherit that.
signal.signal(signal.SIGINT, getattr(signal, sys.argv.pop(1)))
from pathlib import Path
from rvdlib import paths
paths.PROJECT = paths.OUTPUT = Path.cwd()
paths.STUDY_RECORDS = Path.cwd() / ".cache" / "study"
for name in ("NOTEBOOKS", "PARAMS", "RESULTS", "FIGURES"):
    setattr(paths, name, Path.cwd() / name.lower())
from rvdlib.cli.study import study
study.main(["--profile", "tiny"])
"""
WAIT = """
import os, time
from pathlib import Path
(Path("../results") / profile / "half.csv").write_text("k\\n1\\n")
pid = Path("../kernel.pid.tmp")
pid.write_text(str(os.getpid()))
pid.rename("../kernel.pid")
while not Path("../go").exists():
    time.sleep(0.05)
print("done")
"""
SECONDS = 300  # until a test gives up; no more than a busy machine may need


def end(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def two_slow(project, make_notebook):
    """A project whose second notebook waits for the file ``go``, and the way to start its study.

    Whatever becomes of the test, the study and the notebook's kernel have ended after it.
    """
    home = "from pathlib import Path\nimport matplotlib.pyplot, rvdlib.paths\nprint(Path.home())"
    for name, code in (("01_quick", home), ("02_slow", textwrap.dedent(WAIT))):
        make_notebook(project / "notebooks" / f"{name}.ipynb", code)
    (project / "params" / "tiny.yml").write_text("{01_quick: {}, 02_slow: {}}")
    shutil.copy(CLAIMS_FILE, project / "params")
    started = []

    def start(interrupts, **variables):
        command = [sys.executable, "-c", COMMAND, interrupts]
        with (project / "told").open("w") as told:
            silent = {"stdin": subprocess.DEVNULL, "stdout": told, "stderr": told}
            env = os.environ | variables
            started.append(subprocess.Popen(command, cwd=project, env=env, **silent))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    if (project / "kernel.pid").exists():
        end(int((project / "kernel.pid").read_text()))


@pytest.mark.parametrize("folder", ["results/tiny", "figures/tiny", ".cache/study"])
@pytest.mark.usefixtures("no_kernel")
def test_a_folder_that_cannot_be_written_is_named_before_anything_runs(two_notebooks, folder):
    (two_notebooks / ".cache").mkdir()
    (two_notebooks / folder).write_text("a file")
    told = rf"{folder} cannot be written: Not a directory\. RVD_OUTPUT_DIR names another"
    with pytest.raises(StudyError, match=told):
        run_study("tiny")


@pytest.mark.usefixtures("no_kernel")
def test_claims_that_do_not_fit_are_refused_before_anything_runs(two_notebooks, monkeypatch):
    monkeypatch.setattr(ledger, "claims", ledger.claims.__wrapped__)
    monkeypatch.setattr(ledger, "CLAIMS_FILE", two_notebooks / "params" / "claims.yml")
    ledger.CLAIMS_FILE.write_text("C1: {claim: it works, metric: m, shown: m, threshhold: 0}\n")
    with pytest.raises(StudyError, match=r"claims\.yml: C1, threshhold: .*got 0"):
        run_study("tiny")


def test_why_a_notebook_failed_is_told_though_its_rows_cannot_be_gathered(
    two_notebooks, monkeypatch
):
    def failing(*_):
        raise StudyError("01_table.ipynb failed")

    def asks(*_):
        raise DataError("yelp was not found")

    (two_notebooks / "params" / "quick.yml").write_text("01_table: {}\n")
    monkeypatch.setattr("rvdlib.lab.runner.run.run_notebook", failing)
    with pytest.raises(StudyError, match=r"01_table\.ipynb failed"):
        run_study("quick", asks=asks)
    monkeypatch.setattr("rvdlib.lab.study.planned.wanted", asks)
    ended = CliRunner().invoke(study, ["--profile=quick", "--hours=1"])
    assert ended.output.splitlines()[-1] == "Error: yelp was not found"


def test_a_disk_that_fills_up_is_one_message(two_notebooks, monkeypatch):
    def no_room(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(paths, "write_atomically", no_room)
    ended = CliRunner().invoke(study, ["--profile=tiny"])
    assert ended.exit_code == 1
    assert ended.stderr.splitlines()[-1] == "Error: [Errno 28] No space left on device"


@pytest.mark.parametrize("command", ["study", "plan", "verify"])
def test_a_fault_of_the_study_itself_keeps_its_traceback(command, two_notebooks, monkeypatch):
    def faulty(*_):
        raise ValueError("ours")

    def unreadable(*_):
        raise InvalidYaml("params/victims.yml: ...")

    (two_notebooks / "params" / "quick.yml").write_text("01_table: {}\n")
    names = ["rvdlib.lab.study.planned.wanted", "rvdlib.lab.study.planned.batches"]
    for fault in (faulty, unreadable):
        for name in names:
            monkeypatch.setattr(name, fault)
        more = ["--hours=1"] if command == "study" else []
        ended = CliRunner().invoke(main, [command, "--profile=quick", *more])
        if fault is faulty:
            assert isinstance(ended.exception, ValueError)
        else:
            assert ended.output.splitlines()[-1] == "Error: params/victims.yml: ..."


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_until(condition, process=None):
    """Until it holds, or the process that is to bring it about has ended without."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert process is None or process.poll() is None, "it has ended"
        time.sleep(0.05)


def test_an_interrupted_study_says_so_leaves_nothing_half_done_and_goes_on(project, two_slow):
    process = two_slow("default_int_handler")
    wait_until((project / "kernel.pid").exists, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 130
    told = (project / "told").read_text()
    assert "Interrupted." in told
    assert "Traceback" not in told, told
    wait_until(lambda: not alive(int((project / "kernel.pid").read_text())))
    results = project / "results" / "tiny"
    assert {path.name for path in results.iterdir()} == {"01_quick.ipynb", "half.csv"}

    (project / "go").touch()
    assert two_slow("default_int_handler").wait(SECONDS) == 0
    assert "01_quick: unchanged\n02_slow: running (new)\n" in (project / "told").read_text()
    assert problem(read_notebook(results / "02_slow.ipynb")) == ""


def test_a_study_goes_on_ignoring_an_ignored_interrupt_and_without_a_home(project, two_slow):
    (project / "tmp").mkdir()
    process = two_slow("SIG_IGN", HOME="/dev/null/home", TMPDIR=str(project / "tmp"))
    wait_until((project / "kernel.pid").exists, process)
    process.send_signal(signal.SIGINT)
    (project / "go").touch()
    assert process.wait(SECONDS) == 0
    assert "Interrupted." not in (project / "told").read_text()
    assert problem(read_notebook(project / "results" / "tiny" / "02_slow.ipynb")) == ""
    (printed,) = read_notebook(project / "results" / "tiny" / "01_quick.ipynb").cells[-1].outputs
    assert printed.text == "~\n"
