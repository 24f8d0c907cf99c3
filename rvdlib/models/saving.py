"""A trained victim in one file: tensors as safetensors has them, the rest as JSON in its header.

Nothing in it is executed. The header's one entry, ``rvdlib``, is a JSON text with

- ``format``: of what is described here, now 1;
- ``victim``: the name of its class, ``config``: its hyper-parameters;
- ``shape``: (users, items), ``mean_rating`` and ``validation_error``;
- ``rvdlib_version``: what wrote it;
- ``sha256``: of all else, header and tensors (:mod:`rvdlib.sealing`).

The tensors are ``levels``, ``train.data``, ``train.indices`` and ``train.indptr``, a CSR matrix, and
``parameters.NAME`` for each parameter. What a victim derives of its training rows is derived again.
The same victim gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import safetensors.numpy
import scipy.sparse as sp
import torch

import rvdlib
from rvdlib.arguments import check_one_of
from rvdlib.paths import write_atomically
from rvdlib.sealing import seal

if TYPE_CHECKING:
    from rvdlib.models.base import Victim

FORMAT = 1
_ENTRY = "rvdlib"
_ROWS = ("data", "indices", "indptr")
_ABOUT = {"victim", "config", "shape", "mean_rating", "validation_error"}
V = TypeVar("V", bound="Victim")


def save(victim: Victim, path: str | Path) -> None:
    """:meth:`rvdlib.models.Victim.save`."""
    path, kind = Path(path), type(victim)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: a victim needs a name that ends in .safetensors")
    if "name" not in vars(kind):
        raise ValueError(f"give {kind.__name__} a name of its own: it is saved under that")
    if "parameters" not in vars(victim):
        raise ValueError(f"this {victim.name} is not trained: call fit first")
    tensors = {f"parameters.{name}": value.numpy() for name, value in victim.parameters.items()}
    rows = {f"train.{name}": getattr(victim.train, name) for name in _ROWS}
    arrays = {
        name: np.ascontiguousarray(array)
        for name, array in {**tensors, **rows, "levels": victim.levels}.items()
    }
    about = {
        "format": FORMAT,
        "rvdlib_version": rvdlib.__version__,
        "victim": victim.name,
        "config": victim.config.model_dump(mode="json"),
        "shape": list(victim.train.shape),
        "mean_rating": float(victim.mean_rating),
        "validation_error": float(victim.validation_error),
    }
    kept = vars(_restored(kind, about, arrays))
    if lost := sorted(vars(victim).keys() - kept.keys()):
        raise ValueError(
            f"{kind.__name__} keeps {lost[0]}, which would be lost: set it in prepare(), from its "
            "training rows, or make it one of its parameters"
        )
    about["sha256"] = _seal(about, arrays)
    entry = json.dumps(about, sort_keys=True, allow_nan=False)
    write_atomically(path, safetensors.numpy.save(arrays, {_ENTRY: entry}))


def load(kind: type[V], path: str | Path) -> V:
    """:meth:`rvdlib.models.Victim.load`, of this class or one derived from it."""
    try:
        about, arrays = _read(Path(path))
        kinds = {each.name: each for each in _named(kind)}
        check_one_of("its victim", about["victim"], kinds)
        return _restored(kinds[about["victim"]], about, arrays)
    except Exception as error:  # what a damaged file makes its readers raise has no end
        problem = str(error) if isinstance(error, ValueError | OSError) else repr(error)
        raise ValueError(f"{path}: {problem}") from error


def _restored(kind: type[V], about: dict, arrays: dict[str, np.ndarray]) -> V:
    victim = kind(**about["config"])
    shapes = dict.fromkeys(f"train.{name}" for name in _ROWS) | {"levels": None}
    for name in shapes:
        array = arrays.get(name, np.empty(()))
        if array.ndim != 1 or array.dtype.kind != ("i" if "ind" in name else "f"):
            raise ValueError(f"{name} must be one row of numbers, got {array.dtype} {array.shape}")
    n_users, n_items = about["shape"]
    rows = tuple(arrays[f"train.{name}"] for name in _ROWS)
    if len(rows[2]) != n_users + 1:
        raise ValueError(f"train.indptr must be of {n_users} users, got {len(rows[2]) - 1}")
    victim.train = sp.csr_matrix(rows, shape=(n_users, n_items))
    victim.train.check_format(full_check=True)
    if not victim.train.has_canonical_format:
        raise ValueError("the training rows must be sorted, no cell twice; see sum_duplicates()")
    parameters = {f"parameters.{n}": shape for n, shape in victim.parameter_shapes().items()}
    for name in sorted(parameters.keys() | arrays.keys() - shapes.keys()):
        found, expected = arrays.get(name), parameters.get(name, "no such tensor")
        if found is None or found.shape != expected or found.dtype.kind != "f":
            got = "none" if found is None else f"{found.dtype} {found.shape}"
            raise ValueError(f"{name} must be floats, {expected}, as parameter_shapes, got {got}")
    victim.levels, victim.mean_rating = arrays["levels"], about["mean_rating"]
    victim.validation_error = about["validation_error"]
    numbers = {name: about[name] for name in ("mean_rating", "validation_error")}
    for name, number in numbers.items():
        if type(number) is not float:
            raise ValueError(f"{name} must be a number, got {number!r}")
    for name, array in {**arrays, **numbers}.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
    if not len(victim.levels) or (np.diff(victim.levels, prepend=0) <= 0).any():
        raise ValueError("levels must be above 0 and ascending")
    victim.prepare()
    victim.parameters = {
        name: torch.from_numpy(arrays[f"parameters.{name}"]) for name in victim.parameter_shapes()
    }
    return victim


def _named(kind: type[V]) -> list[type[V]]:
    """The class and those derived from it, as far as they have a name of their own."""
    own = [kind] if "name" in vars(kind) else []
    return own + [each for derived in kind.__subclasses__() for each in _named(derived)]


def _read(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Header and tensors, if they are as they were written."""
    with path.open("rb"):  # an absent file or a folder, in Python's words
        pass
    with safetensors.safe_open(path, framework="np") as file:
        entry = (file.metadata() or {}).get(_ENTRY)
        if entry is None:
            raise ValueError("no victim of rvdlib: its header does not say so")
        about = json.loads(entry)
        if not isinstance(about, dict) or type(about.get("format")) is not int:
            raise ValueError("no victim of rvdlib: its header has no format")
        if about["format"] > FORMAT:
            raise ValueError(
                f"is of format {about['format']}, written by rvdlib {about.get('rvdlib_version')}; "
                f"this version, {rvdlib.__version__}, reads up to {FORMAT}: install a newer one"
            )
        # Copied: PyTorch and the victim want memory of their own.
        arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    if about.pop("sha256", None) != _seal(about, arrays):
        raise ValueError("was changed after it was written: its SHA-256 does not fit")
    missing = sorted(_ABOUT - about.keys())
    if missing:
        raise ValueError(f"its header has no {missing[0]}")
    return about, arrays


def _seal(about: Mapping, arrays: Mapping[str, np.ndarray]) -> str:
    text = json.dumps(about, sort_keys=True).encode()
    return seal({**arrays, "about": np.frombuffer(text, dtype=np.uint8)})
