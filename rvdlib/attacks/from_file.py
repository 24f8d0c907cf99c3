"""Somebody else's fake users, read from a file: checked, never unpickled.

- ``.npy``: a dense (profiles, items) array, 0 where there is no rating.
- ``.npz``: the same under any one name, a CSR matrix as ``scipy.sparse.save_npz`` writes it, or
  frozen poison (:mod:`rvdlib.attacks.frozen`), which says for which data set it was made: for
  another one it is refused.
- ``.csv``: a header with the columns user, item and rating in any order, one rating a line.

Items are columns of the ratings matrix, counted from 0; ``ratings.item_index(raw)`` finds those of
raw ids. Users in a csv may be called anything; profiles keep their order of appearance.
"""

import csv
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from pydantic import Field, SkipValidation

from rvdlib.attacks.archives import check_numeric, open_arrays, read_csr
from rvdlib.attacks.base import AttackConfig, attack
from rvdlib.attacks.frozen import FrozenPoison
from rvdlib.attacks.profiles import check_profiles
from rvdlib.threat_model import ThreatModel

_COLUMNS = ("user", "item", "rating")


class FromFileConfig(AttackConfig):
    path: SkipValidation[str | Path] = Field(description="a .npy, .npz or .csv file")
    draw: bool = Field(
        False,
        description="take m of the file's profiles at random, without repeats; else it must hold "
        "exactly m",
    )
    by_id: bool = Field(
        False, description="take frozen poison of another data set, item by item, by the raw ids"
    )


@attack("from a file", "Somebody else's fake users: checked, never unpickled.", FromFileConfig)
def from_file(
    threat: ThreatModel, rng: np.random.Generator, config: FromFileConfig
) -> sp.csr_matrix:
    """The profiles in a file, in its order; the random stream is used only to draw.

    Raises:
        ValueError: naming the file and the problem, if it cannot be read, was frozen for another
            data set, holds another number of profiles, or one of its profiles does not keep the
            budget and the scale (:func:`rvdlib.attacks.profiles.check_profiles`). Undrawn profiles
            are checked, too.
    """
    path, draw, by_id = config.path, config.draw, config.by_id
    if not isinstance(path, str | Path):
        raise ValueError(f"path must be the name of a file, got {path!r}")
    path = Path(path)
    readers: dict[str, Callable[..., sp.csr_matrix]] = {
        ".npy": _read_npy,
        ".npz": partial(_read_npz, threat=threat, by_id=by_id),
        ".csv": partial(_read_csv, n_items=threat.n_items),
    }
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: profiles must be a {', '.join(readers)} file")
    try:
        profiles = readers[path.suffix.lower()](path=path)
        _check_count(profiles.shape[0], threat.n_fakes, draw)
        check_profiles(threat, profiles)
    except Exception as error:  # what a damaged archive makes NumPy and zlib raise has no end
        raise ValueError(f"{path}: {error}") from error
    profiles = profiles.astype(np.float32)
    if draw:
        return profiles[rng.choice(profiles.shape[0], threat.n_fakes, replace=False)]
    return profiles


def _check_count(found: int, n_fakes: int, draw: bool) -> None:
    if found < n_fakes or (found > n_fakes and not draw):
        remedy = "" if found < n_fakes else " (draw=True takes as many at random)"
        raise ValueError(f"holds {found} profiles, the budget is {n_fakes}{remedy}")


def _read_npy(path: Path) -> sp.csr_matrix:
    # Mapped, so that a header that promises more than the file holds allocates nothing.
    return _from_dense(np.load(path, mmap_mode="r", allow_pickle=False))


def _read_npz(path: Path, threat: ThreatModel, by_id: bool) -> sp.csr_matrix:
    with open_arrays(path) as arrays:
        if len(arrays) == 1:
            return _from_dense(*arrays.values())
        if "item_ids" not in arrays:
            return read_csr(arrays)
        frozen = FrozenPoison.from_arrays(arrays)
    if threat.catalogue is None:
        raise ValueError(
            "was frozen for one data set, and the threat model does not say which its own is: give "
            "it a catalogue, or save what FrozenPoison.load(path).profiles holds by save_npz"
        )
    return frozen.profiles_for(threat.catalogue, by_id=by_id)


def _read_csv(path: Path, n_items: int) -> sp.csr_matrix:
    users, items, stars = [], [], []
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines, strict=True)  # a quote that is never closed swallows rows
        header = [name.strip() for name in next(reader, [])]
        if sorted(header) != sorted(_COLUMNS):
            raise ValueError(f"line 1: expected the columns {', '.join(_COLUMNS)}, got {header}")
        for fields in filter(None, _rows(reader)):
            try:
                if len(fields) != len(header):
                    raise ValueError(f"{len(fields)} fields where the header has {len(header)}")
                row = dict(zip(header, fields, strict=True))
                if not re.fullmatch(r"\s*[+-]?[0-9]+\s*", row["item"]):  # int() takes 1_0 for 10
                    raise ValueError(f"item must be a whole number, got {row['item']!r}")
                if "_" in row["rating"] or not row["rating"].isascii():  # so does float()
                    raise ValueError(f"rating must be a number, got {row['rating']!r}")
                users.append(row["user"])
                items.append(int(row["item"]))
                stars.append(float(row["rating"]))
            except ValueError as error:
                raise ValueError(f"line {reader.line_num}: {error}") from error
            if not 0 <= items[-1] < n_items:
                raise ValueError(
                    f"line {reader.line_num}: item must be from 0 to {n_items - 1}, got {items[-1]}"
                )
    rows, names = pd.factorize(np.array(users, dtype=object))
    profiles = sp.csr_matrix((stars, (rows, items)), shape=(len(names), n_items))
    if profiles.nnz != len(stars):
        raise ValueError("rates an item twice in one profile")
    profiles.sort_indices()
    return profiles


def _rows(reader: Any) -> Iterator[list[str]]:  # csv has no public name for its reader's type
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _from_dense(array: np.ndarray) -> sp.csr_matrix:
    check_numeric(array)
    if array.ndim != 2:
        raise ValueError(f"expected a (profiles, items) array, got the shape {array.shape}")
    return sp.csr_matrix(np.asarray(array))
