"""Every folder that the study reads or writes, and the one way in which it writes a file."""

import os
import uuid
from contextlib import suppress
from pathlib import Path

import pooch

PROJECT = Path(__file__).resolve().parents[1]
NOTEBOOKS = PROJECT / "notebooks"
PARAMS = PROJECT / "params"
# Whoever only checks the notebooks, as `make test` does, has them write somewhere else.
OUTPUT = Path(os.environ.get("RVD_OUTPUT_DIR") or PROJECT)
RESULTS = OUTPUT / "results"
FIGURES = OUTPUT / "figures"
CELL_STORE = PROJECT / ".cache" / "cells"
POISON_STORE = PROJECT / ".cache" / "poison"
STUDY_RECORDS = PROJECT / ".cache" / "study"
LOCK = PROJECT / "requirements.lock"


def data_dir() -> Path | None:
    """The folder that ``RVD_DATA_DIR`` names, where data sets are looked for first."""
    value = os.environ.get("RVD_DATA_DIR")
    return Path(value).expanduser() if value else None


def user_cache() -> Path:
    """Where downloads are kept: ``RVD_CACHE_DIR``, or the platform's cache folder."""
    return Path(os.environ.get("RVD_CACHE_DIR") or pooch.os_cache("rvdlib"))


def check_writable(path: Path) -> None:
    """Find out, before long work, whether :func:`write_atomically` could write ``path``.

    A file is written beside it and removed again, with the folders that were made for it.

    Raises:
        OSError: naming the path, if it is a folder or nothing can be written there.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    made = [folder for folder in path.parents if not folder.exists()]
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_atomically(probe, b"0")
    except OSError as error:
        raise type(error)(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


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
    finally:
        temporary.unlink(missing_ok=True)
