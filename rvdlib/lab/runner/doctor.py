"""Is this machine ready for the study? What is here, what is missing, and how to get it."""

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import joblib
import numba
import psutil
import torch
from packaging.requirements import InvalidRequirement, Requirement

import rvdlib
from rvdlib import paths
from rvdlib.data.sources import available
from rvdlib.lab.errors import StudyError
from rvdlib.lab.runner.shown import table
from rvdlib.neighbors.agreement import REMEDY
from rvdlib.writable import known_home, writing_problem

GIB = 2**30
PYTHONS = ("3.11", "3.12", "3.13")


class Check(NamedTuple):
    """One finding. ``fine`` is None where nothing is wrong but the reader may want to act."""

    subject: str
    fine: bool | None
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        mark = {True: "ok", None: "note", False: "FAIL"}[self.fine]
        remedy = f"\n{'':20}{self.remedy}" if self.remedy else ""
        return f"{mark:6}{self.subject:14}{self.found}{remedy}"


def diagnose() -> list[Check]:
    """Every check, in the order in which a reader would mend things."""
    return [*_software(), *_machine(), *_datasets(), *_vicinities(), *_folders()]


def _software() -> Iterator[Check]:
    right = ".".join(platform.python_version_tuple()[:2]) in PYTHONS
    remedy = "" if right else f"use Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}"
    yield Check("python", right, platform.python_version(), remedy)
    yield Check("rvdlib", True, rvdlib.__version__)
    for name in ("torch", "numpy", "scipy", "numba", "pandas", "papermill"):
        yield Check(name, True, version(name))
    if not paths.LOCK.is_file():
        yield Check("lock", None, f"{paths.LOCK} is missing", "versions are not compared")
        return
    wrong = [f"{name} is {has}, not {wants}" for name, has, wants in _off_the_lock(paths.LOCK)]
    remedy = f"pip install -r {paths.LOCK}" if wrong else ""
    found = "; ".join(wrong) or f"every package is as in {paths.LOCK.name}"
    yield Check("lock", not wrong, found, remedy)


def _off_the_lock(lock: Path) -> Iterator[tuple[str, str, str]]:
    """(package, installed version or ``absent``, pin) where the two differ."""
    for line in lock.read_text().splitlines():
        try:
            pin = Requirement(re.split(r"\s+#|\s+--|\s*\\$", line)[0])
        except InvalidRequirement:  # a comment, an option of pip, a hash
            continue
        if pin.marker and not pin.marker.evaluate():
            continue
        try:
            installed = version(pin.name)
        except PackageNotFoundError:
            installed = "absent"
        if installed == "absent" or not pin.specifier.contains(installed, prereleases=True):
            yield pin.name, installed, str(pin.specifier).removeprefix("==")


def _machine() -> Iterator[Check]:
    yield Check("cores", True, f"{joblib.cpu_count()} usable of {os.cpu_count()}")
    asked = os.environ.get("OMP_NUM_THREADS")
    yield Check(
        "threads",
        True,
        f"torch {torch.get_num_threads()}, numba {numba.get_num_threads()}, "
        f"OMP_NUM_THREADS {asked or 'not set'}",
    )
    memory = psutil.virtual_memory()
    enough = memory.available >= 4 * GIB or None
    found = f"{memory.available / GIB:.1f} GiB free of {memory.total / GIB:.1f}"
    yield Check("memory", enough, found, "" if enough else "the study may need up to 4 GiB")
    cuda = torch.cuda.is_available()
    found = f"cuda ({torch.cuda.get_device_name()})" if cuda else "cpu; no CUDA device was found"
    yield Check("device auto", True, found)


def _datasets() -> Iterator[Check]:
    folder = paths.data_dir()
    if folder and not folder.is_dir():
        yield Check("RVD_DATA_DIR", False, f"{folder} is not a folder", "correct it, or unset it")
    for name, source in available().items():
        here = not source.startswith("to be downloaded")
        remedy = "" if here else f"happens at first use; or put {name}.tsv.gz into RVD_DATA_DIR"
        yield Check(name, here or None, source, remedy)


def _vicinities() -> Iterator[Check]:
    """Where 09 found that a user's neighbours are others after each training, as if by chance."""
    try:
        found = table("09_agreement")
    except StudyError:  # outside a clone
        return
    for dataset, rows in found.groupby("dataset", sort=False):
        said = ", ".join(
            f"{row.regime} regime {row.measured:.3f} (by chance {row.chance:.3f})"
            for row in rows.itertuples()
        )
        lost = ", ".join(rows.loc[rows["by_chance"] >= 0.5, "regime"])
        yield Check(
            "neighbours",
            None if lost else True,
            f"{dataset}, Jaccard index of two trainings' (09): {said}",
            f"{lost} regime: {REMEDY}" if lost else "",
        )


def _folders() -> Iterator[Check]:
    written = {
        "results": (paths.RESULTS, "RVD_OUTPUT_DIR names another folder"),
        "figures": (paths.FIGURES, "RVD_OUTPUT_DIR names another folder"),
        "cell store": (paths.CELL_STORE, "make room there, or make it writable"),
        "data cache": (paths.user_cache(), "RVD_CACHE_DIR names another folder"),
    }
    if not paths.NOTEBOOKS.is_dir():
        yield Check("notebooks", False, f"there is no {paths.NOTEBOOKS}", paths.NEEDS_CLONE)
        del written["results"], written["figures"]
    for subject, (folder, remedy) in written.items():
        problem = writing_problem(folder)
        found = f"{folder} cannot be written: {problem}" if problem else str(folder)
        yield Check(subject, not problem, found, remedy if problem else "")
    home = known_home()
    problem = writing_problem(home) if home else "nobody knows where it is"
    if problem:
        found = f"{home or 'none'} cannot be written: {problem}"
        yield Check("home", None, found, "the study runs with a temporary one")
