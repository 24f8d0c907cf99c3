"""What a stored result depends on besides its own parameters, and how to say what has changed.

A fingerprint is a mapping of sections, each a mapping of names to digests or versions. Two equal
fingerprints mean that a computation would give the same again; from two different ones
:func:`difference` tells the reader why it has to be done over.
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from platform import python_version

Fingerprint = dict[str, dict[str, str]]

PACKAGE = Path(__file__).resolve().parents[1]
# The rest of the package may change a notebook's outputs; these files run and report.
MACHINERY = frozenset(
    {
        "__main__.py",
        "cli.py",
        "study/__init__.py",
        "study/commands.py",
        "study/doctor.py",
        "study/fingerprint.py",
        "study/notebook_runner.py",
        "study/parameters.py",
        "study/profiles.py",
        "study/progress.py",
        "study/records.py",
        "study/report.py",
        "study/run.py",
        "study/search.py",
        "study/choose.py",
        "study/progress.py",
        "study/store.py",
    }
)
# Nor can these change a cell's numbers: they only show them.
PRESENTATION = frozenset({"plots.py", "tables.py"})
NUMERIC_PACKAGES = ("numpy", "scipy", "numba", "torch")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, or ``absent``."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"


def source_digest(path: Path) -> str:
    """SHA-256 of what a Python file does: comments and layout do not count."""
    return hashlib.sha256(ast.dump(ast.parse(path.read_bytes())).encode()).hexdigest()


@cache  # the code as it was when the process began to use it
def code_digests(package: Path = PACKAGE, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """``rvdlib/…py`` → digest, of every source file but those named ``without``."""
    files = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    return {
        f"{package.name}/{name}": source_digest(files[name])
        for name in sorted(files.keys() - without)
    }


def library_versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    return {"python": python_version()} | {name: version(name) for name in NUMERIC_PACKAGES}


def cell_fingerprint(data: Mapping[str, str]) -> Fingerprint:
    """What an evaluated cell depends on; ``data``: data set → :attr:`Ratings.sha256`."""
    return {
        "data": dict(data),
        "code": code_digests(without=MACHINERY | PRESENTATION),
        "versions": library_versions(),
    }


def difference(old: Fingerprint, new: Fingerprint) -> str:
    """E.g. ``"code changed: rvdlib/models/mf.py; numpy 2.4.5 -> 2.4.6"``; empty if equal."""
    reasons = []
    for section in sorted(old.keys() | new.keys()):
        before, after = old.get(section, {}), new.get(section, {})
        names = sorted(
            name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
        )
        if section == "versions":
            reasons += [
                f"{name} {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
                for name in names
            ]
        elif names:
            reasons.append(f"{section} changed: {_shortened(names)}")
    return "; ".join(reasons)


def _shortened(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
