"""The Makefile: one set-up for all targets, done once, and never half-finished."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from rvdlib.paths import PROJECT

# Stands in for Python, so that the recipes run in milliseconds and without a network: it keeps a
# log of its calls, and `-m venv` puts itself into the environment. `broken` holds what shall fail.
PYTHON_THAT_LOGS = """#!/bin/sh
case "$*" in
*version_info*|*ensurepip*) ;;
*) echo "$*" >> log ;;
esac
if [ -s broken ] && echo "$*" | grep -q -f broken; then exit 1; fi
if [ "$2" = venv ]; then
    rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/rvd
fi
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with spaces in its path, and a ``python`` beside it that only logs."""
    folder = tmp_path / "a check out"
    (folder / "tests").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT / name, folder)
    (tmp_path / "python").write_text(PYTHON_THAT_LOGS)
    (tmp_path / "python").chmod(0o755)
    return folder


class Made(NamedTuple):
    ok: bool
    error: str
    calls: list[str]


def make(folder: Path, *arguments: str) -> Made:
    """One ``make``: whether it succeeded, its standard error, its calls to Python."""
    (folder / "log").write_text("")
    done = subprocess.run(
        ["make", f"PYTHON={folder.parent / 'python'}", *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    return Made(done.returncode == 0, done.stderr, (folder / "log").read_text().splitlines())


INSTALL = [
    "-m pip install -r requirements.lock",
    "-m pip install --no-deps --no-build-isolation -e .",
]
CREATE = ["-m venv --clear .venv"]
LINT = ["-m ruff check .", "-m ruff format --check ."]


def test_first_call_sets_up_and_the_second_does_not(checkout):
    assert make(checkout, "lint").calls == CREATE + INSTALL + LINT
    assert make(checkout, "lint").calls == LINT


def test_parallel_targets_share_one_set_up(checkout):
    ok, _, calls = make(checkout, "-j2", "study", "test")
    assert ok
    assert calls[:3] == CREATE + INSTALL
    assert sorted(calls[3:]) == ["-m pytest tests", "study --profile quick"]


@pytest.mark.parametrize("step", INSTALL)
def test_interrupted_set_up_starts_over(checkout, step):
    (checkout / "broken").write_text(step)
    ok, _, calls = make(checkout, "lint")
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
    ok, _, calls = make(checkout, "lint")
    assert not ok
    assert calls == INSTALL[:1]
    (checkout / "broken").write_text("")
    assert make(checkout, "lint").calls == CREATE + INSTALL + LINT


def test_moved_checkout_is_set_up_again(checkout):
    make(checkout, "lint")
    moved = checkout.rename(checkout.with_name("moved"))
    assert make(moved, "lint").calls == CREATE + INSTALL + LINT


@pytest.mark.parametrize(
    ("broken", "remedy"),
    [("version_info", "PYTHON=/path/to/python3.11"), ("ensurepip", "apt install python3-venv")],
)
def test_unfit_python_is_refused_with_the_remedy(checkout, broken, remedy):
    (checkout / "broken").write_text(broken)
    ok, error, calls = make(checkout, "study")
    assert not ok
    assert remedy in error
    assert calls == []
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("failing", ["pytest tests", "nbval"])
def test_both_suites_run_and_either_failure_counts(checkout, failing):
    (checkout / "results/tiny").mkdir(parents=True)
    (checkout / "results/tiny/a.ipynb").touch()
    make(checkout, "lint")
    (checkout / "broken").write_text(failing)
    ok, _, calls = make(checkout, "test")
    assert not ok
    suites = ["-m pytest tests", "-m pytest --nbval --nbval-current-env results/tiny"]
    assert calls == suites
    (checkout / "broken").write_text("")
    assert make(checkout, "test").ok


def test_help_is_the_default_and_lists_every_target(checkout):
    done = subprocess.run(["make"], cwd=checkout, capture_output=True, text=True, check=True)
    makefile = (PROJECT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (help .*)$", makefile, flags=re.MULTILINE)
    assert re.findall(r"^make (\w+)", done.stdout, flags=re.MULTILINE) == phony.split()
