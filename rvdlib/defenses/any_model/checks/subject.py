"""The model that is checked, asked by name, and how answers are held against each other."""

import copy
import zlib
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from rvdlib.defenses.any_model.functional import (
    FunctionalRVD,
    FunctionalRVDConfig,
    moving_parameters,
)

METHODS = {"latent": "(B, d)", "row_loss": "(B,)", "forward": "(B, items)"}
N_ASKED = 8  # rows that are asked for: the first ones


class Problem(Exception):
    pass


def named(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]


class Subject:
    """A model under examination: its functions of users, by name, as arrays in and arrays out."""

    def __init__(self, model: Any, n_users: int | None, config: FunctionalRVDConfig):
        self.model, self.n_users, self.config = model, n_users, config
        self.users = np.arange(min(n_users or N_ASKED, N_ASKED))[::-1].copy()
        self.untouched = dict(state_of(model))

    def take_copy(self):
        self.model = copy.deepcopy(self.model).eval()
        self.untouched = dict(state_of(self.model))

    def ask(self, name: str, users: np.ndarray) -> torch.Tensor:
        """As it comes."""
        rows = torch.from_numpy(users).to(next(self.model.parameters()).device)
        with torch.no_grad():
            return self.model(rows) if name == "forward" else getattr(self.model, name)(rows)

    def values(self, name: str, users: np.ndarray) -> np.ndarray:
        return self.ask(name, users).cpu().numpy()

    def defended(self, **choices) -> FunctionalRVD:
        """A small defence over the users that are asked for."""
        return self._small_defence(self.model, **choices)

    def defended_whole(self) -> FunctionalRVD:
        """The same without what ``touched`` saves."""
        moving = moving_parameters(self.model, self.config.parameters)
        parameters = tuple(f"model.{name}" for name in moving)
        return self._small_defence(_Whole(self.model), parameters=parameters)

    def _small_defence(self, model: torch.nn.Module, **choices) -> FunctionalRVD:
        small = {"k": 2, "steps": 2, "chunk_size": 1}
        choices = {**self.config.model_dump(), **small, **choices}
        return FunctionalRVD(model, len(self.users), **choices)


class _Whole(torch.nn.Module):
    """A model that does not say what is touched."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def latent(self, users: torch.Tensor) -> torch.Tensor:
        return self.model.latent(users)

    def row_loss(self, users: torch.Tensor) -> torch.Tensor:
        return self.model.row_loss(users)

    def forward(self, users: torch.Tensor) -> torch.Tensor:
        return self.model(users)


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """But for rounding, which may depend on the shape of a batch."""
    tolerance = np.sqrt(np.finfo(one.dtype).eps) * max(np.abs(one).max(), np.abs(other).max())
    return np.abs(one - other).max() <= tolerance


def state_of(thing: Any, path: str = "model", seen: set | None = None) -> Iterator[tuple]:
    """Path → fingerprint of every tensor, array and training mode that can be reached."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
        return
    seen.add(id(thing))
    if isinstance(thing, torch.Tensor):
        version = None if thing.is_inference() else thing._version
        dense = thing.layout == torch.strided
        digest = _digest(thing.detach().cpu().reshape(-1).view(torch.uint8)) if dense else None
        yield path, (version, thing.requires_grad, digest)
    elif isinstance(thing, np.ndarray):
        yield path, None if thing.dtype.hasobject else _digest(thing)
    elif isinstance(thing, dict):
        for key, value in list(thing.items()):
            yield from state_of(value, f"{path}.{key}", seen)
    elif isinstance(thing, list | tuple):
        for place, value in enumerate(thing):
            yield from state_of(value, f"{path}[{place}]", seen)
    elif hasattr(thing, "__dict__"):
        if isinstance(thing, torch.nn.Module):
            yield f"{path}.training", thing.training
        yield from state_of(vars(thing), path, seen)


def _digest(array: np.ndarray | torch.Tensor) -> int:
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data)
