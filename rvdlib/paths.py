"""Every folder that is read or written, and the one way in which a file is written.

The variables ``RVD_DATA_DIR``, ``RVD_CACHE_DIR`` and ``RVD_OUTPUT_DIR`` may be relative to the
current folder or begin with ``~``.
"""

import os
import uuid
from contextlib import suppress
from pathlib import Path

from rvdlib.writable import PACKAGE, own_temporary, platform_cache, writing_problem

PROJECT = PACKAGE.parent
# An installed package stands alone: nothing beside it is ours.
IN_CLONE = (PROJECT / "params" / "quick.yml").is_file()
NEEDS_CLONE = (
    "the study needs a clone of the project, with its notebooks and results; `pip install -e .` "
    "there (rvd data, rvd attack, rvd bench and the library do without)"
)


def named(variable: str) -> Path | None:
    """The absolute path of the folder that an environment variable names; None if it is not set.

    Raises:
        ValueError: if it begins with ``~`` and nobody knows the home folder.
    """
    value = os.environ.get(variable)
    try:
        return Path(value).expanduser().absolute() if value else None
    except RuntimeError as error:
        raise ValueError(
            f"{variable} is {value!r}, but there is no such home folder: name the whole path"
        ) from error


def user_cache() -> Path:
    """Where downloads are kept: ``RVD_CACHE_DIR``, or the platform's cache folder.

    Where that neither is there nor can be made, a folder among the temporary ones.
    """
    if folder := named("RVD_CACHE_DIR"):
        return folder
    folder = platform_cache("rvdlib")
    if folder and (os.path.isdir(folder) or not writing_problem(folder)):
        return folder
    return own_temporary() / "cache"


def data_dir() -> Path | None:
    """The folder that ``RVD_DATA_DIR`` names, where data sets are looked for first."""
    return named("RVD_DATA_DIR")


def as_variables() -> dict[str, str]:
    """The variables for a process that runs in another folder or with another home."""
    folders = {
        "RVD_DATA_DIR": data_dir(),
        "RVD_CACHE_DIR": user_cache(),
        "RVD_OUTPUT_DIR": OUTPUT,
    }
    return {name: str(folder) for name, folder in folders.items() if folder}


def _own_cache() -> Path:
    folder = PROJECT / ".cache"
    return folder if IN_CLONE and not writing_problem(folder) else user_cache()


def require_clone() -> None:
    """End a program that is part of the study, in one sentence, where only the package is.

    Raises:
        SystemExit: outside a clone.
    """
    if not NOTEBOOKS.is_dir():
        raise SystemExit(f"Error: {NEEDS_CLONE}")


NOTEBOOKS = PROJECT / "notebooks"
# The package has a link to the clone's folder, which an installed package holds as a copy.
PARAMS = (PROJECT if IN_CLONE else PACKAGE) / "params"
# Whoever only checks the notebooks, as `make test` does, has them write somewhere else.
OUTPUT = named("RVD_OUTPUT_DIR") or (PROJECT if IN_CLONE else Path.cwd())
RESULTS = OUTPUT / "results"
FIGURES = OUTPUT / "figures"
CACHE = _own_cache()
CELL_STORE = CACHE / "cells"
POISON_STORE = CACHE / "poison"
STUDY_RECORDS = CACHE / "study"
VERIFIED = CACHE / "verified"
LOCK = PROJECT / "requirements.lock"


def check_writable(path: Path) -> None:
    """Find out, before long work, whether :func:`write_atomically` could write ``path``.

    Raises:
        OSError: naming the path, if it is a folder or nothing can be written there.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    if problem := writing_problem(path.parent):
        raise OSError(f"{path} cannot be written: {problem}")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that nobody, not even after a power cut, finds half of it.

    The folder is made if need be. Several processes may write the same file: the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # that it cannot be removed must not hide why it was not written
            temporary.unlink(missing_ok=True)
        raise
