"""What a stored result depends on besides its own parameters, and how to say what has changed.

A fingerprint is a mapping of sections, each a mapping of names to digests or versions. Two equal
fingerprints mean that a computation would give the same again; from two different ones
:func:`difference` tells the reader why it has to be done over.
"""

import hashlib
import os
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
import scipy.linalg  # noqa: F401  brings a BLAS of its own
import torch
from threadpoolctl import ThreadpoolController

from rvdlib.data import load_dataset
from rvdlib.lab.experiment.sources import code_of, source_digest
from rvdlib.writable import PACKAGE

Fingerprint = dict[str, dict[str, str]]


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
        "lab/experiment/cluster.py",
        "lab/experiment/committed.py",
        "lab/experiment/fingerprint.py",
        "lab/experiment/lines.py",
        "lab/experiment/parallel.py",
        "lab/experiment/plain_values.py",
        "lab/experiment/progress.py",
        "lab/experiment/references.py",
        "lab/experiment/sources.py",
        "lab/experiment/store.py",
        "lab/profiles.py",
        "lab/study/parameter_types.py",
        "lab/study/planned.py",
    }
    | _files("cli", "lab/runner", "lab/tuning")
) - {
    "lab/runner/in_short.py",
    "lab/runner/ledger.py",
    "lab/runner/shown.py",
    "lab/runner/unchanged.py",
}  # notebooks show these
# What a cell takes from these is in its fingerprint as it was read (ratings, hyper-parameters), or
# says where files lie.
READ = frozenset(
    {
        "attacks/archives.py",
        "data/catalogue.py",
        "data/ids.py",
        "data/sources.py",
        "lab/experiment/hyperparameters.py",
        "models/saving.py",
        "paths.py",
        "sealing.py",
        "strict_yaml.py",
        "writable.py",
    }
)
NUMERIC_PACKAGES = ("numpy", "scipy", "numba", "torch")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, or ``absent``."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "absent"


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
    packages = {name: _installed(name) for name in NUMERIC_PACKAGES}
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


@cache
def ratings_digest(dataset: str) -> str:
    """SHA-256 of a data set as it is computed with: its ids, who rated what, and the scale."""
    ratings = load_dataset(dataset)
    arrays = ratings.matrix.indptr, ratings.matrix.indices, ratings.matrix.data, ratings.levels
    shape = np.array(ratings.matrix.shape)
    content = b"".join(array.tobytes() for array in (shape, *arrays))
    return hashlib.sha256(ratings.sha256.encode() + content).hexdigest()


_code_of = cache(code_of)
_installed = cache(version)  # reading what is installed takes milliseconds, a study asks often


def cell_fingerprint(module: str, dataset: str, used: Iterable[Any] = ()) -> Fingerprint:
    """What an evaluated cell depends on: ratings, versions, and the code that it uses.

    Args:
        module: the file that computes it, in the package: ``lab/experiment/cells.py``.
        used: the attack's function, the victim and the defences.
    """
    code = _code_of(module, tuple(used), without=MACHINERY | READ)
    data = {dataset: ratings_digest(dataset)}
    return {"data": data, "code": code, "versions": library_versions()}


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
