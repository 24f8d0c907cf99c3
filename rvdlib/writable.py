"""What can be written on this machine by whoever runs the program, with a home folder or without."""

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import platformdirs

PACKAGE = Path(__file__).resolve().parent


def writing_problem(folder: Path) -> str:
    """What keeps a file from being written there, found out by writing a byte; empty if nothing.

    Where the folder is yet to be made, it is tried in what there is of the path to it. Nothing is
    left behind.
    """
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        return error.strerror or str(error)
    return ""


def known_home() -> Path | None:
    """The home folder; None where there is no HOME and the system does not know the user."""
    with suppress(RuntimeError):
        return Path.home()
    return None


def platform_cache(name: str) -> Path | None:
    """The cache folder that the platform has for a program; None if nobody knows the home."""
    with suppress(RuntimeError):
        return Path(platformdirs.user_cache_dir(name)).absolute()
    return None


def own_temporary() -> Path:
    """A folder of this user alone, kept between runs, for want of a home that can be written.

    Code that was compiled is kept there, so nobody else must be able to put anything into it.

    Raises:
        PermissionError: if somebody else has made it, or can write there.
    """
    folder = Path(tempfile.gettempdir(), f"rvdlib-{os.getuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if not mine or stat.S_IMODE(status.st_mode) & 0o077:
        raise PermissionError(
            f"{folder} does not belong to you alone: remove it, or set TMPDIR or HOME to a folder "
            "that does"
        )
    return folder


def keep_compiled(package: Path = PACKAGE) -> None:
    """Name a folder for numba's cache where neither place that numba knows can be written.

    numba keeps compiled code beside the source or in the user's cache, and raises when it can write
    to neither. Whoever sets ``NUMBA_CACHE_DIR`` is not interfered with.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    sources = {path.parent / "__pycache__" for path in package.rglob("*.py")}
    if not any(map(writing_problem, sources)):
        return
    folder = platform_cache("numba")
    if folder is None or writing_problem(folder):
        folder = own_temporary() / "numba"
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:  # which has read the variable already
        sys.modules["numba"].config.CACHE_DIR = str(folder)
