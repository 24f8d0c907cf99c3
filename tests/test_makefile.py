"""The Makefile: one set-up for all targets, done once, and never half-finished."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from rvdlib.paths import PROJECT

# Stands in for Python, so that the recipes run in milliseconds and without a network: it keeps a
# log of its calls, and `-m venv` puts itself into the environment. What `-c` asks is answered as by
# that release. `broken`, a file, holds what shall fail.
PYTHON_THAT_LOGS = """#!/bin/sh
release=RELEASE
if [ "$1" != -c ]; then echo "$release $*" >> log; fi
if [ -s broken ] && echo "python$release $*" | grep -q -f broken; then
    echo "$0: command not found" >&2
    exit 127
fi
if [ "$*" = "-c import pip" ]; then exit 0; fi
if [ "$1" = -c ]; then
    exec "REAL" -I -S -c "import sys; sys.version_info = (${release%.*}, ${release#*.}, 0); $2"
fi
if [ "$2" = venv ]; then
    for folder; do :; done
    rm -rf $folder && mkdir -p $folder/bin && cp "$0" $folder/bin/python && cp "$0" $folder/bin/rvd
fi
"""
TOOLS = ["make", "sh", "awk", "cat", "cp", "grep", "ls", "mkdir", "mv", "rm", "sed", "test"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with spaces in its path; in ``bin`` beside it, all that PATH offers."""
    folder = tmp_path / "a check out"
    (folder / "tests").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT / name, folder)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    provide(folder, "3.12")
    return folder


def provide(checkout: Path, release: str, name: str = "") -> Path:
    """Put a Python that only logs on the PATH, as ``python3.12`` unless another name is given."""
    path = checkout.parent / "bin" / (name or f"python{release}")
    path.unlink(missing_ok=True)
    path.write_text(PYTHON_THAT_LOGS.replace("RELEASE", release).replace("REAL", sys.executable))
    path.chmod(0o755)
    return path


class Made(NamedTuple):
    ok: bool
    error: str
    calls: list[str]
    releases: set[str]


def make(folder: Path, *arguments: str) -> Made:
    """One ``make``: whether it succeeded, its standard error, its calls to Python, and to which."""
    (folder / "log").write_text("")
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=outer | {"PATH": str(folder.parent / "bin")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    log = [line.split(" ", 1) for line in (folder / "log").read_text().splitlines()]
    calls, releases = [call for _, call in log], {release for release, _ in log}
    return Made(done.returncode == 0, done.stderr, calls, releases)


INSTALL = [
    "-m pip install -r requirements.lock",
    "-m pip install --no-deps --no-build-isolation -e .",
]
CREATE = ["-m venv --clear .venv"]
LINT = ["-m ruff check .", "-m ruff format --check .", "-m mypy"]
PYTEST = "-m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder"


def test_first_call_sets_up_and_the_second_does_not(checkout):
    assert make(checkout, "lint").calls == CREATE + INSTALL + LINT
    assert make(checkout, "lint").calls == LINT


def test_parallel_targets_share_one_set_up(checkout):
    ok, _, calls, _ = make(checkout, "-j2", "study", "test")
    assert ok
    assert calls[:3] == CREATE + INSTALL
    assert sorted(calls[3:]) == [f"{PYTEST} tests", "study --profile quick"]


def test_the_paper_profile_is_what_of_it_is_executed_here(checkout):
    executed = sorted(path.name[:2] for path in (PROJECT / "results" / "paper").glob("*.ipynb"))
    called = " ".join(["study --profile paper", *(f"--only {number}" for number in executed)])
    assert make(checkout, "paper").calls == CREATE + INSTALL + [called]


@pytest.mark.parametrize("step", INSTALL)
def test_interrupted_set_up_starts_over(checkout, step):
    (checkout / "broken").write_text(step)
    ok, _, calls, _ = make(checkout, "lint")
    assert not ok
    assert calls[-1] == step
    (checkout / "broken").write_text("")
    assert make(checkout, "lint").calls == CREATE + INSTALL + LINT


@pytest.mark.parametrize("file", ["requirements.lock", "pyproject.toml"])
def test_changed_dependencies_bring_the_environment_up_to_date(checkout, file):
    make(checkout, "lint")
    later = (checkout / ".venv/.ready").stat().st_mtime + 10
    os.utime(checkout / file, (later, later))
    (checkout / "broken").write_text("requirements.lock")
    ok, _, calls, _ = make(checkout, "lint")
    assert not ok
    assert calls == INSTALL[:1]
    (checkout / "broken").write_text("")
    assert make(checkout, "lint").calls == CREATE + INSTALL + LINT


def test_moved_checkout_is_set_up_again(checkout):
    make(checkout, "lint")
    moved = checkout.rename(checkout.with_name("moved"))
    assert make(moved, "lint").calls == CREATE + INSTALL + LINT


@pytest.fixture
def bare(checkout):
    """A checkout on a machine without Python."""
    (checkout.parent / "bin/python3.12").unlink()
    return checkout


ALL = {"python3.11": "3.11", "python3.12": "3.12", "python3.13": "3.13"}


@pytest.mark.parametrize(
    ("found", "broken", "taken"),
    [
        ({"python3.11": "3.11"}, "", "3.11"),
        (ALL, "", "3.13"),
        (ALL, "python3.13 ", "3.12"),  # a version manager's command for what is not switched on
        (ALL, "python3.13 .*ensurepip", "3.12"),
        (ALL, "python3.13 \npython3.12 .*venv", "3.11"),
        ({"python3": "3.12"}, "", "3.12"),
        ({"python3": "3.10", "python": "3.11"}, "", "3.11"),
        ({"python3": "3.14", "python3.14": "3.14", "python3.12": "3.12"}, "", "3.12"),
    ],
)
def test_the_newest_python_that_can_be_used_is_taken(bare, found, broken, taken):
    for name, release in found.items():
        provide(bare, release, name)
    (bare / "broken").write_text(broken)
    ok, error, _, releases = make(bare, "lint")
    assert (ok, error) == (True, "")
    assert releases == {taken}


@pytest.mark.parametrize(
    ("found", "broken", "arguments", "told"),
    [
        ({}, "", [], ["one of: 3.13 3.12 3.11", "PYTHON=/path/to/python3.13"]),
        ({"python3": "3.10"}, "", [], ["one of: 3.13 3.12 3.11", "apt install python3-venv"]),
        ({"python3": "3.10"}, "", ["PYTHON=python3"], ["python3 will not do", "3.11"]),
        ({"python3.12": "3.12"}, "", ["PYTHON=no/where"], ["no/where will not do", "3.11"]),
        ({"python3": "3.12"}, "ensurepip", [], ["apt install python3.12-venv"]),
        (ALL, "3.11 .*ensurepip", ["PYTHON=python3.11"], ["apt install python3.11-venv"]),
    ],
)
@pytest.mark.parametrize("had", [False, True])
def test_unfit_python_is_refused_with_the_remedy_and_nothing_is_lost(
    bare, found, broken, arguments, told, had
):
    """Also beside a finished .venv of a Python that has since been removed, or is another."""
    if had:
        provide(bare, "3.13")
        make(bare, "lint")
        (bare.parent / "bin/python3.13").unlink()
        (bare / ".venv/kept").touch()
        if not arguments:
            (bare / ".venv/bin/python").unlink()
    for name, release in found.items():
        provide(bare, release, name)
    (bare / "broken").write_text(broken)
    ok, error, calls, _ = make(bare, "study", *arguments)
    assert not ok
    assert all(text in error for text in told), error
    assert "command not found" not in error
    assert calls == []
    assert (bare / ".venv/kept").is_file() == had


def test_a_python_that_is_installed_later_leaves_the_environment_alone(checkout):
    make(checkout, "lint")
    provide(checkout, "3.13")
    assert make(checkout, "lint") == (True, "", LINT, {"3.12"})
    (checkout.parent / "bin/python3.12").unlink()
    assert make(checkout, "lint") == (True, "", LINT, {"3.12"})


@pytest.mark.parametrize("now", ["removed", "replaced", "unsupported"])
def test_an_environment_whose_python_is_gone_is_set_up_again(checkout, now):
    make(checkout, "lint")
    provide(checkout, "3.13")
    inside = checkout / ".venv/bin/python"
    if now == "removed":
        inside.unlink()
        inside.symlink_to(checkout.parent / "bin/python3.9")
    elif now == "replaced":  # by a release that does not see what is installed for another
        (checkout / "broken").write_text("import pip")
    else:
        shutil.copy(provide(checkout, "3.10"), inside)
    assert make(checkout, "lint") == (True, "", CREATE + INSTALL + LINT, {"3.13"})


def test_the_python_that_is_named_is_used_and_then_kept(checkout):
    for release in ALL.values():
        provide(checkout, release)
    assert make(checkout, "lint").releases == {"3.13"}
    named = "PYTHON=python3.11"
    assert make(checkout, "lint", named) == (True, "", CREATE + INSTALL + LINT, {"3.11"})
    assert make(checkout, "lint", named) == (True, "", LINT, {"3.11"})
    assert make(checkout, "lint") == (True, "", LINT, {"3.11"})


def test_the_lock_is_resolved_by_the_oldest_python(checkout):
    for release in ALL.values():
        provide(checkout, release)
    before = (checkout / "requirements.lock").read_text()
    ok, error, calls, _ = make(checkout, "lock", "PYTHON=python3.13")
    assert not ok
    assert calls == []
    assert "python3.13 will not do. Python is needed, one of: 3.11." in error
    assert (checkout / "requirements.lock").read_text() == before
    assert make(checkout, "lock").releases == {"3.11"}
    head = [line for line in before.splitlines() if line.startswith("#")]
    assert (checkout / "requirements.lock").read_text().splitlines() == head


@pytest.mark.parametrize("failing", ["reorder tests", "--nbval "])
def test_both_suites_run_and_either_failure_counts(checkout, failing):
    (checkout / "results/tiny").mkdir(parents=True)
    (checkout / "results/tiny/a.ipynb").touch()
    make(checkout, "lint")
    (checkout / "broken").write_text(failing)
    ok, _, calls, _ = make(checkout, "test")
    assert not ok
    assert calls == [
        f"{PYTEST} tests",
        f"{PYTEST} -p tests.nbval_within --nbval --nbval-current-env results/tiny",
    ]
    (checkout / "broken").write_text("")
    assert make(checkout, "test").ok


def test_the_site_is_built_of_its_sources_and_a_warning_fails_it(checkout):
    make(checkout, "lint")
    sources = "-m rvdlib.lab.runner.site build/site-source"
    build = "-m sphinx -b html -E -W --keep-going -q -c site build/site-source build/site"
    assert make(checkout, "site").calls == [sources, build]
    (checkout / "broken").write_text("sphinx")
    assert not make(checkout, "site").ok


def test_help_is_the_default_and_lists_every_target(checkout):
    done = subprocess.run(["make"], cwd=checkout, capture_output=True, text=True, check=True)
    makefile = (PROJECT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (help .*)$", makefile, flags=re.MULTILINE)
    assert re.findall(r"^make (\w+)", done.stdout, flags=re.MULTILINE) == phony.split()
