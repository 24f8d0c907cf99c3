"""What folders are meant, and how files are written, on machines that are short of something."""

import errno
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from rvdlib import paths

VARIABLES = ["RVD_DATA_DIR", "RVD_CACHE_DIR", "RVD_OUTPUT_DIR"]


@pytest.fixture
def nobody_known(monkeypatch):
    """No HOME, and a user whom the system does not know: a container run as some number."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("mine", "here/mine"),
        ("../a b", "here/../a b"),
        ("~", "home"),
        ("~/mine", "home/mine"),
        ("{0}/whole", "whole"),
        ("{0}/a~b", "a~b"),
    ],
)
def test_a_variable_may_be_relative_or_begin_with_the_home(
    tmp_path, monkeypatch, variable, value, meant
):
    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(variable, value.format(tmp_path))
    assert paths.named(variable) == tmp_path / meant


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_that_is_empty_names_nothing(monkeypatch, variable):
    monkeypatch.setenv(variable, "")
    assert paths.named(variable) is None


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_home_that_nobody_knows_is_an_error_that_names_the_variable(
    nobody_known, monkeypatch, variable
):
    monkeypatch.setenv(variable, "~/mine")
    with pytest.raises(ValueError, match=rf"^{variable} is '~/mine', .*name the whole path$"):
        paths.named(variable)


def test_a_variable_that_names_no_folder_is_one_line_on_the_command_line(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "rvdlib", "data", "show", "ml-100k"],
        env=os.environ | {"RVD_OUTPUT_DIR": "~nobody-at-all/x"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("Error: RVD_OUTPUT_DIR is '~nobody-at-all/x', but")
    assert len(ended.stderr.splitlines()) == 1


def test_the_output_folder_is_found_out_once(tmp_path, monkeypatch):
    printed = subprocess.run(
        [
            sys.executable,
            "-c",
            "from rvdlib import paths; import os; os.chdir('/')\n"
            "print(paths.RESULTS, paths.FIGURES, paths.as_variables()['RVD_OUTPUT_DIR'])",
        ],
        cwd=tmp_path,
        env=os.environ | {"RVD_OUTPUT_DIR": "mine", "PYTHONPATH": str(paths.PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    mine = tmp_path / "mine"
    assert printed.split() == [f"{mine}/results", f"{mine}/figures", str(mine)]


def test_the_cache_is_the_platforms_where_it_can_be_written_or_read(tmp_path, monkeypatch):
    monkeypatch.delenv("RVD_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = tmp_path / "rvdlib"
    if sys.platform == "linux":
        assert paths.user_cache() == cache
        assert not cache.exists()
        cache.mkdir()
        monkeypatch.setattr(paths, "writing_problem", lambda folder: "Read-only file system")
        assert paths.user_cache() == cache  # what is in it may be read


@pytest.mark.parametrize("home", ["/dev/null", None])
def test_without_a_home_the_cache_is_a_temporary_folder_of_the_user(
    monkeypatch, nobody_known, temporary, home
):
    monkeypatch.delenv("RVD_CACHE_DIR", raising=False)
    if home:
        monkeypatch.setenv("HOME", home)
    assert paths.user_cache() == temporary / f"rvdlib-{os.getuid()}" / "cache"
    assert paths.user_cache() == paths.user_cache()
    assert not Path("~").exists()


def no_room(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_why_a_file_was_not_written_is_not_hidden_by_what_goes_wrong_then(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    file = tmp_path / "file"
    paths.write_atomically(file, "before")
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left on device"):
        paths.write_atomically(file, "after")
    assert list(tmp_path.iterdir()) == [file]
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(OSError, match="No space left on device"):
        paths.write_atomically(file, "after")
    assert file.read_text() == "before"
