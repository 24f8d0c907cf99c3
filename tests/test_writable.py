"""Can this be written? Where nothing can, what is compiled finds a place all the same."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from rvdlib import paths, writable
from rvdlib.writable import keep_compiled, own_temporary, writing_problem


@pytest.mark.parametrize("folder", ["", "made", "yet/to/be/made"])
def test_a_folder_that_can_be_written_has_no_problem_and_nothing_is_left(tmp_path, folder):
    (tmp_path / "made").mkdir()
    assert writing_problem(tmp_path / folder) == ""
    assert [path.name for path in tmp_path.rglob("*")] == ["made"]


@pytest.mark.parametrize("folder", ["file", "file/folder", "dangling", "dangling/folder"])
def test_what_stands_in_the_way_is_told(tmp_path, folder):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert writing_problem(tmp_path / folder) in (
        os.strerror(errno.ENOTDIR),
        os.strerror(errno.ENOENT),
    )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_takes_files_but_not_a_byte(tmp_path, monkeypatch, code):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, content):
            if content:
                raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    assert writing_problem(tmp_path) == os.strerror(code)


def test_the_temporary_folder_is_the_users_alone_and_stays(temporary):
    folder = own_temporary()
    (folder / "kept").touch()
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700
    assert own_temporary() == folder
    assert (folder / "kept").exists()


@pytest.mark.parametrize("made", ["open to all", "a link", "a file", "somebody else's"])
def test_a_temporary_folder_that_another_may_have_made_is_refused(temporary, monkeypatch, made):
    folder = temporary / f"rvdlib-{os.getuid()}"
    if made == "a link":
        (temporary / "other").mkdir(mode=0o700)
        folder.symlink_to("other")
    elif made == "a file":
        folder.touch()
    else:
        folder.mkdir(mode=0o700)
    if made == "open to all":
        folder.chmod(0o777)
    if made == "somebody else's":
        uid = os.getuid()
        folder.rename(temporary / f"rvdlib-{uid + 1}")
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(PermissionError, match=r"rvdlib-\d+ does not belong to you alone"):
        own_temporary()


@pytest.mark.parametrize(
    ("read_only", "home", "expected"),
    [
        ([], True, None),
        (["package/inner"], True, "numba"),
        (["package"], True, "numba"),
        (["package"], False, "rvdlib-"),
        ([], False, None),
    ],
)
def test_compiled_code_is_kept_where_it_can_be(
    tmp_path, temporary, monkeypatch, read_only, home, expected
):
    (tmp_path / "package" / "inner").mkdir(parents=True)
    for file in ("a.py", "inner/b.py"):
        (tmp_path / "package" / file).touch()
    cannot = {tmp_path / folder / "__pycache__" for folder in read_only}
    monkeypatch.setattr(
        writable, "writing_problem", lambda folder: "read-only" if folder in cannot else ""
    )
    monkeypatch.setattr(
        writable, "platform_cache", lambda name: tmp_path / "home" / name if home else None
    )
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    keep_compiled(tmp_path / "package")
    found = os.environ.pop("NUMBA_CACHE_DIR", None)
    if expected is None:
        assert found is None
    else:
        where = tmp_path / "home" if home else temporary / f"rvdlib-{os.getuid()}"
        assert found == str(where / "numba")


def test_the_users_own_choice_for_compiled_code_stands(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "mine")
    monkeypatch.setattr(writable, "writing_problem", lambda folder: "read-only")
    keep_compiled()
    assert os.environ["NUMBA_CACHE_DIR"] == "mine"


def test_kernels_compile_where_neither_package_nor_home_can_be_written(tmp_path):
    """As in a container: files stand where root, too, would have to make folders."""
    shutil.copytree(
        paths.PROJECT / "rvdlib",
        tmp_path / "rvdlib",
        ignore=shutil.ignore_patterns("__pycache__", "params"),
    )
    for folder in {path.parent for path in (tmp_path / "rvdlib").rglob("*.py")}:
        (folder / "__pycache__").touch()
    (tmp_path / "tmp").mkdir()
    blocked = {"HOME": "/dev/null", "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(tmp_path)}
    mine = {k: v for k, v in os.environ.items() if k not in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    printed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import rvdlib.metrics as m, numpy as np; print(m.__file__)\n"
            "import rvdlib.paths as p; print(p.CELL_STORE)",
        ],
        cwd=tmp_path,
        env=mine | blocked | {"RVD_CACHE_DIR": "", "RVD_OUTPUT_DIR": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    own = tmp_path / "tmp" / f"rvdlib-{os.getuid()}"
    assert printed.splitlines() == [
        str(tmp_path / "rvdlib" / "metrics.py"),
        str(own / "cache" / "cells"),
    ]
    assert any((own / "numba").iterdir())
