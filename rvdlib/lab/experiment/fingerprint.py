"""What a stored result depends on besides its own parameters, and how to say what has changed.

A fingerprint is a mapping of sections, each a mapping of names to digests or versions. Two equal
fingerprints mean that a computation would give the same again; from two different ones
:func:`difference` tells the reader why it has to be done over.
"""

import ast
import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import scipy.linalg  # noqa: F401  brings a BLAS of its own
import torch
from threadpoolctl import ThreadpoolController

from rvdlib.writable import PACKAGE

Fingerprint = dict[str, dict[str, str]]


# These files run, keep and report; they change no number, in a notebook or in a cell.
def _files(*folders: str) -> set[str]:
    """All sources of these folders of the package."""
    found = (path for folder in folders for path in (PACKAGE / folder).rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix() for path in found}


# These files run, keep and report; they change no number, in a notebook or in a cell.
MACHINERY = frozenset(
    {
        "__main__.py",
        "lab/benchmark/agreement.py",
        "lab/benchmark/bench.py",
        "lab/errors.py",
        "lab/experiment/fingerprint.py",
        "lab/experiment/parallel.py",
        "lab/experiment/progress.py",
        "lab/experiment/store.py",
        "lab/study/parameter_types.py",
    }
    | _files("cli", "lab/runner", "lab/tuning")
)
NUMERIC_PACKAGES = ("numpy", "scipy", "numba", "torch")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, or ``absent``."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"


def source_digest(path: Path) -> str:
    """SHA-256 of what a Python file does: comments and layout do not count.

    Every supported Python gives the same: what only newer ones have in a tree (``type_params``)
    are lists that are empty in this package, and empty lists are left out.
    """
    tree = _without_empty_lists(ast.parse(path.read_bytes()))
    return hashlib.sha256(repr(tree).encode()).hexdigest()


def _without_empty_lists(node: Any) -> Any:
    if isinstance(node, ast.AST):
        fields = [(name, _without_empty_lists(value)) for name, value in ast.iter_fields(node)]
        return type(node).__name__, [field for field in fields if field[1] != []]
    return [_without_empty_lists(item) for item in node] if isinstance(node, list) else node


@cache  # the code as it was when the process began to use it
def code_digests(package: Path = PACKAGE, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """``rvdlib/…py`` → digest, of every source file but those named ``without``."""
    files = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    return {
        f"{package.name}/{name}": source_digest(files[name])
        for name in sorted(files.keys() - without)
    }


def library_versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute.

    Python's without its third number: a patch release does not compute otherwise.
    """
    python = "{}.{}".format(*sys.version_info)
    packages = {name: version(name) for name in NUMERIC_PACKAGES}
    return {"python": python} | packages | processor_kernels()


@cache
def processor_kernels() -> dict[str, str]:
    """What the libraries that multiply take this processor for, on which last digits depend."""
    found = ThreadpoolController().select(internal_api="openblas").info()
    return {
        "numpy kernels": ", ".join(sorted({library["architecture"] for library in found})),
        "numba kernels": numba.config.CPU_NAME or llvmlite.binding.get_host_cpu_name(),
        "torch kernels": torch.backends.cpu.get_cpu_capability(),
        "mkl kernels": os.environ.get("MKL_CBWR", "its choice"),
    }


def imported_by(name: str, package: Path = PACKAGE) -> frozenset[str]:
    """The package's files that ``name`` imports, directly or through others, itself included."""
    found, queue = set(), [name]
    while queue:
        file = queue.pop()
        if file in found or not (package / file).is_file():
            continue
        found.add(file)
        for node in ast.walk(ast.parse((package / file).read_bytes())):
            modules = []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            for module in modules:
                root, *parts = module.split(".")
                if root == package.name:
                    queue += ["/".join([*parts[:n], "__init__.py"]) for n in range(len(parts) + 1)]
                    queue.append("/".join(parts) + ".py")
    return frozenset(found)


@cache
def cell_code(module: str) -> dict[str, str]:
    """File → digest of all that the module's numbers depend on."""
    needed = imported_by(module) - MACHINERY
    prefix = f"{PACKAGE.name}/"
    return {f: d for f, d in code_digests().items() if f.removeprefix(prefix) in needed}


def cell_fingerprint(module: str, data: Mapping[str, str]) -> Fingerprint:
    """What an evaluated cell depends on.

    Args:
        module: the file that computes it, in the package: ``lab/experiment/cells.py``.
        data: data set → :attr:`Ratings.sha256`.
    """
    return {"data": dict(data), "code": cell_code(module), "versions": library_versions()}


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
