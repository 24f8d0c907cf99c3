"""What a plain ``pip install`` brings: the library and what was chosen, and no study."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from rvdlib.paths import PROJECT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the wheel of this clone has been unpacked, as pip does."""
    folder = tmp_path_factory.mktemp("installed")
    for name in ("rvdlib", "params"):
        shutil.copytree(
            PROJECT / name,
            folder / "clone" / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    names = ("pyproject.toml", "MANIFEST.in", "README.md", "USING.md", "CONTRIBUTING.md", "LICENSE")
    for name in names:
        shutil.copy(PROJECT / name, folder / "clone")
    build = (
        "import sys; from setuptools.build_meta import *\n"
        "into = sys.argv[1]; build_wheel(into); build_sdist(into)"  # the first changes sys.argv
    )
    subprocess.run(
        [sys.executable, "-c", build, str(folder)],
        cwd=folder / "clone",
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(site, folder, *command, fine=True):
    """What a command prints in ``folder``, its package the installed one."""
    (folder / "here").mkdir(exist_ok=True)
    mine = {"PYTHONPATH": str(site), "HOME": str(folder / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    mine["NUMBA_DISABLE_JIT"] = "1"  # nothing is computed: to compile it all takes long
    unset = {"RVD_CACHE_DIR": "", "RVD_OUTPUT_DIR": "", "XDG_CACHE_HOME": str(folder / "cache")}
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=folder / "here",
        env=os.environ | mine | unset,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode == 0) == fine, ended.stderr
    return ended.stdout if fine else ended.stderr


def test_the_source_distribution_has_the_pages_that_readme_sends_to(site):
    (archive,) = site.parent.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        names = {name.partition("/")[2] for name in sources.getnames()}
    assert names >= {"README.md", "USING.md", "CONTRIBUTING.md", "pyproject.toml", "LICENSE"}


def test_what_was_chosen_comes_with_the_package(site):
    shipped = {path.name: path.read_text() for path in (site / "rvdlib" / "params").iterdir()}
    ours = {path.name: path.read_text() for path in (PROJECT / "params").glob("*.yml")}
    assert shipped == ours
    assert not [path for path in site.iterdir() if not path.name.startswith("rvdlib")]


def test_the_page_of_the_service_comes_with_it(site):
    static = "rvdlib/serving/static"
    assert {p.name for p in (site / static).iterdir()} == {
        p.name for p in (PROJECT / static).iterdir()
    }


def test_every_package_comes_with_it(site):
    ours = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "rvdlib").rglob("*.py")}
    assert {path.relative_to(site).as_posix() for path in site.rglob("*.py")} == ours


def test_the_library_finds_what_was_chosen_and_keeps_nothing_beside_itself(site, tmp_path):
    printed = run(
        site,
        tmp_path,
        "-c",
        "from rvdlib import paths\n"
        "from rvdlib.lab.experiment.hyperparameters import *\n"
        "victim_hyperparameters('ml-100k', 'rating', 'MF')\n"
        "attack_options('ranking', 'pga'), chosen_defenses('rating', 'MF')\n"
        "paths.write_atomically(paths.CELL_STORE / 'cell', '')\n"
        "paths.write_atomically(paths.POISON_STORE / 'fakes', '')\n"
        "paths.write_atomically(paths.RESULTS / 'table', '')\n"
        "print(paths.__file__)",
    )
    assert printed.strip() == str(site / "rvdlib" / "paths.py")
    assert sorted(path.name for path in site.iterdir() if path.suffix != ".dist-info") == ["rvdlib"]
    assert (tmp_path / "here" / "results" / "table").exists()
    if sys.platform == "linux":
        assert (tmp_path / "cache" / "rvdlib" / "cells" / "cell").exists()


@pytest.mark.parametrize(
    "command", [["rvdlib", "study"], ["rvdlib.lab.tuning.victim_search", "--dataset", "ml-100k"]]
)
def test_the_study_says_in_one_sentence_that_it_needs_a_clone(site, tmp_path, command):
    told = run(site, tmp_path, "-m", *command, fine=False)
    assert told.startswith("Error: the study needs a clone of the project")
    assert len(told.splitlines()) == 1
    assert list((tmp_path / "here").iterdir()) == []


def test_the_doctor_looks_only_into_folders_that_are_used(site, tmp_path):
    told = run(
        site,
        tmp_path,
        "-c",
        "from rvdlib.lab.runner.doctor import _folders\nprint(*_folders(), sep='\\n')",
    )
    assert "the study needs a clone" in told
    assert "results " not in told.partition("data cache")[2]
    assert list((tmp_path / "here").iterdir()) == []
