"""A defender in one file: tensors as safetensors has them, the rest as JSON; nothing is executed.

The header's one entry, ``rvdlib_defender``, is a JSON text: ``format``, now 2; ``rvdlib_version``; the
``form``; the victim's class and hyper-parameters, as far as folding needs them; and ``sha256`` of all
else. Ids are JSON too, in tensors of bytes. Arrays are mapped into memory, not read: processes that
load the same file share them.
"""

import json
import mmap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import scipy.sparse as sp
import torch

import rvdlib
from rvdlib.models import VICTIMS, Loss
from rvdlib.models.biases import Biases
from rvdlib.paths import write_atomically
from rvdlib.sealing import seal
from rvdlib.serving.alarm import Alarm
from rvdlib.serving.arrays import Arrays
from rvdlib.serving.defender import CACHE_BYTES, RealTimeDefender
from rvdlib.serving.errors import ServingError, UnusableModel
from rvdlib.serving.folding import Folding
from rvdlib.serving.state import Base, Names

FORMAT = 2
_ENTRY, _VICTIM = "rvdlib_defender", "victim."
_NUMBERS, _OF_TRAIN = ("factors", "offsets", "silence", "decoder"), ("data", "indices", "indptr")
_OF_USERS = {"user_factors", "user_bias"}  # parameters that arrays hold as vectors and offsets
_TYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64, "U8": np.uint8}


def save(
    defender: RealTimeDefender,
    path: str | Path,
    *,
    reference: Alarm | None = None,
    folded: str | None = None,
) -> None:
    """Write a defender as it serves now, whole or not at all.

    What is loaded has this state for its base: the same users, vectors and ratings.

    Args:
        reference: of its alarm, which is otherwise that of its base, if there is one.
        folded: hash of the file whose log of ratings is in this state.

    Raises:
        ServingError: for a name that does not end in .safetensors, a torch module's defender, or
            ids that are neither numbers nor texts.
    """
    path, state = Path(path), defender.state
    if path.suffix != ".safetensors":
        raise UnusableModel(f"{path}: a defender needs a name that ends in .safetensors")
    if not defender.updatable:
        raise UnusableModel(
            "a torch module is not kept: save it by torch, and make the defender anew"
        )
    own, base = state.arrays, state.base
    if {base.users.kind, base.items.kind} - {int, str}:
        raise UnusableModel("ids that are neither integers nor texts cannot be kept")
    users = [state.id_of(row) for row in range(state.n_users)]
    arrays = {name: getattr(own, name) for name in _NUMBERS}
    arrays |= {f"train.{name}": getattr(own.train, name) for name in _OF_TRAIN}
    arrays |= {"users": _as_bytes(users), "items": _as_bytes(base.items.ids)}
    if base.levels is not None:
        arrays["levels"] = np.asarray(base.levels, dtype=np.float32)
    about: dict[str, Any] = {
        "format": FORMAT,
        "rvdlib_version": rvdlib.__version__,
        "form": json.loads(json.dumps(defender.form, default=dict)),
        "approximate": defender.approximate,
        "biased": own.biased,
        "loss": asdict(own.loss),
        "folded": folded,
    }
    if reference := reference or base.reference:
        numbers = asdict(reference)
        arrays["reference"] = numbers.pop("shares")
        about["reference"] = numbers
    if base.folding is not None:
        victim, biases = base.folding.victim, base.folding.biases
        about["victim"] = {
            "name": victim.name,
            "config": victim.config.model_dump(mode="json"),
            "mean_rating": float(victim.mean_rating),
        }
        for name, parameter in victim.parameters.items():
            if name not in _OF_USERS:
                rows = state.known if name == "user_embeddings" else slice(None)
                arrays[_VICTIM + name] = parameter.numpy()[rows]
        if biases is not None:
            about["mean"], arrays["biases"] = biases.mean, biases.item_bias
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    about["sha256"] = _seal(about, arrays)
    entry = {_ENTRY: json.dumps(about, sort_keys=True, allow_nan=False)}
    write_atomically(path, safetensors.numpy.save(arrays, entry))


def load(path: str | Path, *, cache_bytes: int = CACHE_BYTES) -> RealTimeDefender:
    """What :func:`save` has written: the same answers.

    Raises:
        UnusableModel: naming the file and the problem, if it cannot be read, has been changed, is no
            defender, or is of a newer format.
    """
    try:
        about, arrays = _read(Path(path))
        if about["sha256"] != _seal(about, arrays):
            raise UnusableModel("was changed after it was written: its SHA-256 does not fit")
        form, approximate = about["form"], about["approximate"]
        base = _base(about, arrays)
        return RealTimeDefender(base, form=form, approximate=approximate, cache_bytes=cache_bytes)
    except Exception as error:
        raise _named(path, error) from error


def read_about(path: str | Path) -> dict:
    """The header, with the hash of all else; UnusableModel if it cannot be read."""
    try:
        return _read(Path(path))[0]
    except Exception as error:
        raise _named(path, error) from error


def _named(path: str | Path, error: Exception) -> UnusableModel:
    """What a damaged file makes its readers raise has no end."""
    said = isinstance(error, ServingError | ValueError | OSError)
    return UnusableModel(f"{path}: {error if said else repr(error)}")


def _base(about: dict, arrays: dict[str, np.ndarray]) -> Base:
    users, items = (json.loads(arrays[name].tobytes()) for name in ("users", "items"))
    if not isinstance(users, list) or not isinstance(items, list):
        raise UnusableModel("ids must be a list")
    train = sp.csr_matrix(
        tuple(arrays[f"train.{name}"] for name in _OF_TRAIN), shape=(len(users), len(items))
    )
    train.check_format(full_check=True)
    if not train.has_canonical_format:
        raise UnusableModel("the ratings must be sorted, no cell twice")
    own = {name: arrays[name] for name in _NUMBERS}
    own = Arrays(**own, train=train, biased=about["biased"], loss=Loss(**about["loss"]))
    own.check_finite()
    levels, folding, reference = arrays.get("levels"), None, None
    if "victim" in about:
        folding = _folding(about, arrays, len(items))
    if "reference" in about:
        reference = Alarm(shares=arrays["reference"], **about["reference"])
    return Base(Names(users, "user"), Names(items, "item"), own, folding, levels, reference)


def _folding(about: dict, arrays: dict[str, np.ndarray], n_items: int) -> Folding:
    kept, biases = about["victim"], None
    if kept["name"] not in VICTIMS or "levels" not in arrays:
        raise UnusableModel(f"no victim of rvdlib is called {kept['name']!r}")
    victim = VICTIMS[kept["name"]](**kept["config"])
    victim.levels, victim.mean_rating = arrays["levels"], kept["mean_rating"]
    victim.train = sp.csr_matrix((0, n_items), dtype=np.float32)
    found = {n.removeprefix(_VICTIM): a for n, a in arrays.items() if n.startswith(_VICTIM)}
    for name, array in found.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise UnusableModel(f"{name} must be finite numbers of float32")
    shapes = victim.parameter_shapes()
    for name in shapes.keys() - _OF_USERS:
        fits = name in found and found[name].shape[1:] == shapes[name][1:]
        if not fits or (name != "user_embeddings" and found[name].shape != shapes[name]):
            raise UnusableModel(f"the victim's {name} must be {shapes[name]}")
    # torch wants memory that it may write to, though nobody does.
    victim.parameters = {name: torch.from_numpy(np.array(a)) for name, a in found.items()}
    if "biases" in arrays:
        biases = Biases()
        biases.mean, biases.item_bias = about["mean"], arrays["biases"]
    return Folding(victim, biases)


def _read(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Header and mapped tensors of one file, whatever replaces it meanwhile."""
    with path.open("rb") as file:
        # Pages are shared as long as nobody writes to them; torch takes no memory that is read-only.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    begin = 8 + int.from_bytes(mapped[:8], "little")
    if begin > len(mapped):
        raise UnusableModel("no defender of rvdlib: its header has no end")
    header = json.loads(mapped[8:begin])
    entry = header.pop("__metadata__", {}).get(_ENTRY)
    if entry is None:
        raise UnusableModel("no defender of rvdlib: its header does not say so")
    about = json.loads(entry)
    if not isinstance(about, dict) or type(about.get("format")) is not int:
        raise UnusableModel("no defender of rvdlib: its header has no format")
    if about["format"] < FORMAT:
        raise UnusableModel("an older version wrote it, in another form: save the model again")
    if about["format"] > FORMAT:
        raise UnusableModel(
            f"is of format {about['format']}, written by rvdlib {about.get('rvdlib_version')}; this "
            f"version, {rvdlib.__version__}, reads up to {FORMAT}: install a newer one"
        )
    if not isinstance(about.get("sha256"), str):
        raise UnusableModel("no defender of rvdlib: its header has no SHA-256")
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in header.items():
        first, last = (begin + at for at in tensor["data_offsets"])
        dtype = np.dtype(_TYPES[tensor["dtype"]])
        count = (last - first) // dtype.itemsize
        array = np.frombuffer(mapped, dtype, count, first) if count else np.empty(0, dtype)
        arrays[name] = array.reshape(tensor["shape"])
    return about, arrays


def _seal(about: dict, arrays: dict[str, np.ndarray]) -> str:
    rest = {name: value for name, value in about.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True).encode()
    return seal({**arrays, "about": np.frombuffer(text, dtype=np.uint8)})


def _as_bytes(ids: list) -> np.ndarray:
    return np.frombuffer(json.dumps(ids).encode(), dtype=np.uint8)
