import errno
import io
import os
import shutil
import tempfile
from importlib.metadata import version

import pytest
from click.testing import CliRunner

from rvdlib import paths
from rvdlib.data.catalogue import CATALOGUE
from rvdlib.lab.runner import doctor


@pytest.fixture
def sound(project, monkeypatch):
    """A machine on which nothing is wrong: folders, an agreeing lock, no data yet."""
    monkeypatch.setattr(paths, "CELL_STORE", project / ".cache" / "cells")
    monkeypatch.setattr(paths, "LOCK", project / "requirements.lock")
    monkeypatch.setenv("RVD_CACHE_DIR", str(project / "cache"))
    monkeypatch.delenv("RVD_DATA_DIR", raising=False)
    paths.LOCK.write_text(f"# pins\n\nnumpy=={version('numpy')}\n")
    return project


def found(subject):
    (check,) = [check for check in doctor.diagnose() if check.subject == subject]
    return check


def run_doctor():
    from rvdlib.cli import main

    return CliRunner().invoke(main, ["doctor"])


def test_a_sound_machine_passes_and_missing_data_is_a_note_with_the_way_to_get_it(sound):
    result = run_doctor()
    assert result.exit_code == 0, result.output
    assert "FAIL" not in result.output
    for name in CATALOGUE:
        check = found(name)
        assert check.fine is None
        assert f"{name}.tsv.gz" in check.remedy
    for subject in ("python", "torch", "threads", "cores", "memory", "device auto", "cell store"):
        assert subject in result.output


@pytest.mark.parametrize(
    ("lock", "told"),
    [
        ("numpy==1.0.0", f"numpy is {version('numpy')}, not 1.0.0"),
        ("no-such-package==2.1", "no-such-package is absent, not 2.1"),
        ("numpy==1.0.0  # why", f"numpy is {version('numpy')}, not 1.0.0"),
        ("numpy==1.0.0 \\\n    --hash=sha256:00", f"numpy is {version('numpy')}, not 1.0.0"),
    ],
)
def test_a_version_off_the_lock_fails_and_says_how_to_mend_it(sound, lock, told):
    paths.LOCK.write_text(lock)
    check = found("lock")
    assert (check.fine, check.found) == (False, told)
    assert "pip install -r" in check.remedy
    result = run_doctor()
    assert result.exit_code == 1
    assert told in result.output


@pytest.mark.parametrize(
    "lock",
    [
        "torch==2.13.0",  # a build of that version with any local tag will do
        'no-such-package==1 ; sys_platform == "win32"',
        "--extra-index-url https://example.org\n# no-such-package==1",
    ],
)
def test_pins_that_do_not_concern_this_machine_are_passed_over(sound, lock):
    paths.LOCK.write_text(lock)
    assert found("lock").fine is True


@pytest.mark.parametrize(
    ("python", "fine"),
    [
        ("3.10.13", False),
        ("3.11.2", True),
        ("3.12.0rc1", True),
        ("3.13.5+", True),
        ("3.14.0", False),
    ],
)
def test_a_python_that_is_not_supported_fails_and_the_supported_ones_are_named(
    monkeypatch, python, fine
):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: python)
    monkeypatch.setattr(doctor.platform, "python_version_tuple", lambda: tuple(python.split(".")))
    check = found("python")
    assert (check.fine, check.found) == (fine, python)
    assert check.remedy == ("" if fine else "use Python 3.11, 3.12 or 3.13")


def test_without_a_lock_versions_are_shown_and_not_compared(sound):
    paths.LOCK.unlink()
    assert found("lock").fine is None
    assert found("numpy").found == version("numpy")


@pytest.mark.parametrize("subject", ["results", "figures", "cell store", "data cache"])
def test_a_full_disk_fails_though_files_can_be_made(sound, monkeypatch, subject):
    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Full(io.BytesIO):
        write = full

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: Full())
    check = found(subject)
    assert check.fine is False
    assert check.found.endswith("cannot be written: No space left on device")
    assert check.remedy
    assert run_doctor().exit_code == 1


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/home"])
def test_a_home_that_cannot_be_written_is_a_note(sound, monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    check = found("home")
    assert check.fine is None
    assert "temporary" in check.remedy
    assert run_doctor().exit_code == 0


def test_a_data_folder_that_is_none_fails(sound, monkeypatch):
    monkeypatch.setenv("RVD_DATA_DIR", str(sound / "nowhere"))
    assert found("RVD_DATA_DIR").fine is False


def test_where_neighbours_are_those_of_chance_the_doctor_says_what_to_do(sound):
    assert "neighbours" not in {check.subject for check in doctor.diagnose()}
    (paths.RESULTS / "quick").mkdir(parents=True, exist_ok=True)
    (paths.RESULTS / "quick" / "09_agreement.csv").write_text(
        "dataset,regime,k,measured,chance,by_chance\n"
        "ml-100k,rating,30,0.4,0.017,0\nyelp,ranking,30,0.4,0.006,0\nyelp,rating,30,0.0057,0.0055,1\n"
    )
    near, lost = (check for check in doctor.diagnose() if check.subject == "neighbours")
    assert (near.fine, near.remedy) == (True, "")
    assert near.found.endswith("rating regime 0.400 (by chance 0.017)")
    assert lost.fine is None
    assert "rating regime 0.006 (by chance 0.005)" in lost.found
    assert lost.remedy.startswith(
        "rating regime: a vicinity is then hardly more than a random sample"
    )
    assert run_doctor().exit_code == 0


def test_outside_a_clone_the_doctor_says_what_is_missing(sound):
    shutil.rmtree(paths.NOTEBOOKS)
    check = found("notebooks")
    assert check.fine is False
    assert "clone" in check.remedy
