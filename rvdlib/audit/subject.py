"""Whose recommender is audited: one of ours, or anybody's that can be trained and asked for scores.

Your own is an object with ``fit(ratings)`` and ``score(users)``:

- ``ratings``: (users, items) CSR of stars, float32; fakes are further users, below the real ones.
- ``users``: (B,) row numbers; scores are (B, items), the higher the better, −inf for what is not to be
  listed, no NaN.

If it also has ``user_factors`` (users, d), vicinities are looked for there; if ``item_factors``
(items, d) besides, and ``offsets`` (users,) and ``item_bias`` (items,) where there are any, with
``offsets + user_factors @ item_factors.T + item_bias`` its scores, then the closed form is tried, too.
All are read after ``fit``, as attributes, and copied. What is printed goes to stderr.
"""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.arguments import as_indices, check_one_of, did_you_mean
from rvdlib.data import Split
from rvdlib.defenses.protocol import Chain
from rvdlib.models import VICTIMS
from rvdlib.models.chosen import chosen_hyperparameters
from rvdlib.seeding import stream

_CHECKED_USERS = 20


class ModelError(ValueError):
    """Somebody's own model cannot be used: the message says what it did, and where."""


class OurModel:
    """One of ``VICTIMS``, trained anew for every poisoned set.

    Attributes:
        tries: hyper-parameters to choose from on validation data; the first are used.
    """

    ours = True

    def __init__(self, name: str, regime: str, tries: list[dict]):
        check_one_of("model", name, VICTIMS)
        self.name, self.regime, self.tries = name, regime, tries

    def fit(self, train: sp.csr_matrix, split: Split, seed: int, chain: Chain) -> Any:
        """Trained on ``train`` (users, items) CSR stars as the defences in ``chain`` have it."""
        levels, rng = split.ratings.levels, stream(seed, "model", self.name)
        train = chain.clean(train, levels, stream(seed, "clean"))
        victim = VICTIMS[self.name](**self.tries[0])
        return chain.fit(victim, train, split.validation, levels, rng)


class OwnModel:
    """Whatever ``make()`` or ``make(seed=…)`` gives, trained anew for every poisoned set."""

    ours = False

    def __init__(self, name: str, regime: str, make: Callable[..., Any]):
        self.name, self.regime, self._make = name, regime, make
        self.tries: list[dict] = [{}]
        self._seeded = "seed" in inspect.signature(make).parameters

    def fit(self, train: sp.csr_matrix, split: Split, seed: int, chain: Chain) -> "Trained":
        """As :meth:`OurModel.fit`; a chain can only clean what it is trained on.

        Raises:
            ModelError: if making or training it fails, or it has no ``fit`` and ``score``.
        """
        train = chain.clean(train, split.ratings.levels, stream(seed, "clean"))
        with _blame(self.name, "making it"):
            model = self._make(**({"seed": seed} if self._seeded else {}))
        for method in ("fit", "score"):
            if not callable(getattr(model, method, None)):
                raise ModelError(
                    f"{self.name} made a {type(model).__name__} without {method}(): an audit needs "
                    "fit(ratings) and score(users)"
                )
        with _blame(self.name, "fit(ratings)"):
            model.fit(train.copy())
        return Trained(self.name, model, train, self.regime)


class Trained:
    """Somebody's trained model as the defences know a victim, in the unit of its own scores.

    Attributes:
        train: (users, items) CSR that it was trained on, in the unit in which it predicts (``unit``).
        latent: whether it shows vectors to look for neighbours in.
        why_not_linear: why the closed form cannot be had; empty if its arrays give its scores.
    """

    max_rating = 1.0
    constants: frozenset[str] = frozenset()

    def __init__(self, name: str, model: Any, train: sp.csr_matrix, regime: str):
        self.name, self._model, self._ranking = name, model, regime == "ranking"
        self.train, self._shape, self.unit = train, train.shape, ""
        n_users, n_items = train.shape
        factors = self._array("user_factors", n_users, ndim=2)
        items = self._array("item_factors", n_items, ndim=2)
        self.latent = factors is not None
        self._factors = np.empty((0, 0), np.float32) if factors is None else factors
        self.why_not_linear = "it shows no user_factors and item_factors"
        if factors is not None and items is not None:
            offsets, bias = self._array("offsets", n_users), self._array("item_bias", n_items)
            self._offsets = np.zeros(n_users, np.float32) if offsets is None else offsets
            bias = np.zeros(n_items, np.float32) if bias is None else bias
            self.parameters = {
                "item_factors": torch.from_numpy(items),
                "item_bias": torch.from_numpy(bias),
            }
            self.why_not_linear = self._check_decoder(items, bias)

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items), checked.

        Raises:
            ModelError: if they are not numbers of that shape, finite or −inf.
        """
        users = self.rows(users)
        with _blame(self.name, "score(users)"):
            scores = np.asarray(self._model.score(users.copy()))
        expected = (len(users), self._shape[1])
        if scores.shape != expected or scores.dtype.kind not in "fiu":
            raise ModelError(
                f"score(users) of {self.name} gave {scores.dtype} of the shape {scores.shape}, expected "
                f"numbers of {expected} (users, items)"
            )
        usable = (scores < np.inf).all(axis=1)
        if not usable.all():
            raise ModelError(
                f"score(users) of {self.name} gave NaN or inf for user {users[~usable][0]}"
            )
        return scores

    def rows(self, users: np.ndarray) -> np.ndarray:
        return as_indices("users", users, self._shape[0])

    def user_factors(self) -> np.ndarray:
        if not self.latent:
            raise ModelError(f"{self.name} shows no user_factors (users, d)")
        return self._factors

    def encode(self, parameters: dict, users: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self._offsets[users]), torch.from_numpy(self._factors[users])

    def unobserved_target(self, users: np.ndarray) -> torch.Tensor:
        """y⁰ (B,): 0 in the ranking regime, else what the user's score is without an item."""
        offsets = torch.from_numpy(self._offsets[users])
        return torch.zeros_like(offsets) if self._ranking else offsets

    def _array(self, name: str, length: int, ndim: int = 1) -> np.ndarray | None:
        with _blame(self.name, name):
            given = getattr(self._model, name, None)
            if given is None or callable(given):
                return None
            array = np.array(given, dtype=np.float32, order="C")
        if array.ndim != ndim or len(array) != length or not np.isfinite(array).all():
            raise ModelError(
                f"{name} of {self.name} must be finite, with {length} rows in {ndim} "
                f"dimension{'s' * (ndim > 1)}, got the shape {array.shape}"
            )
        return array

    def _check_decoder(self, items: np.ndarray, bias: np.ndarray) -> str:
        """Believe the arrays only if they give the scores; find the unit of the ratings."""
        if self._factors.shape[1:] != items.shape[1:]:
            return "its factors are not of one length"
        users = np.arange(min(_CHECKED_USERS, self._shape[0]))
        given = self.score(users)
        linear = self._offsets[users, None] + self._factors[users] @ items.T + bias
        masked = np.isneginf(given) & (
            self.train[users].toarray() != 0
        )  # is listed to nobody anyway
        if np.abs(np.where(masked, linear, given) - linear).max() > 1e-3 * max(
            np.ptp(linear), 1e-9
        ):
            return "its factors do not give its scores"
        some = self.train[:200].tocoo()
        found = self._offsets[some.row] + bias[some.col]
        found = found + (self._factors[some.row] * items[some.col]).sum(axis=1)
        stars = self.train.data
        units = {
            "ones": np.ones_like(stars),
            "shares": stars / stars.max(initial=1),
            "stars": stars,
        }
        n = len(some.data)
        self.unit = min(units, key=lambda unit: ((units[unit][:n] - found) ** 2).sum())
        self.train = self.train.copy()
        self.train.data = units[self.unit].copy()
        return ""


@contextmanager
def _blame(name: str, what: str) -> Iterator[None]:
    """Whatever somebody's code raises becomes a :class:`ModelError` that names the place in its file."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # sys.exit() there ends no audit
        frames, file = traceback.extract_tb(error.__traceback__), Path(name.rpartition(":")[0])
        last = ([each for each in frames if Path(each.filename).name == file.name] or frames)[-1]
        raise ModelError(
            f"{what} of {name} raised {type(error).__name__}: {error} "
            f"({Path(last.filename).name}, line {last.lineno})"
        ) from error


def subject_of(model: str, regime: str, dataset: str) -> OurModel | OwnModel:
    """One of ours by its name, or your own by ``mine.py:make_model``, which is then executed."""
    if ":" in model or model.endswith(".py"):
        return OwnModel(model, regime, load_own(model))
    return OurModel(model, regime, hyperparameters(dataset, model, regime))


def hyperparameters(dataset: str, model: str, regime: str) -> list[dict]:
    """Those of a published data set for itself; for other data those of all of them, to choose from."""
    chosen = chosen_hyperparameters()
    names = [dataset] if dataset in chosen else ["ml-100k", "filmtrust", "ml-1m", "yelp"]
    found = [chosen.get(name, {}).get(regime, {}).get(model) for name in names]
    others = chosen.get("ml-100k", {}).get(regime, {}).get(model, {})
    return [each for each in found if each] or [others]


def load_own(name: str) -> Callable[..., Any]:
    """The function that ``mine.py:make_model`` names; the file is executed.

    Raises:
        ModelError: if there is no such file or function, or the file cannot be executed.
    """
    file, _, function = name.rpartition(":")
    path = Path(file)
    if not file or not path.is_file():
        names = ", ".join(VICTIMS)
        raise ModelError(
            f"the model {name!r} is neither one of {names} nor a function in a Python file, as "
            f"mine.py:make_model{did_you_mean(name, VICTIMS)}"
        )
    spec = importlib.util.spec_from_file_location(f"audited_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{file} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    sys.path.insert(
        0, str(path.resolve().parent)
    )  # what stands beside it can be imported, in fit() too
    with _blame(name, "running the file"):
        spec.loader.exec_module(module)
    if not callable(getattr(module, function, None)):
        raise ModelError(f"{file} has no function {function!r}: --model {file}:NAME names one")
    return getattr(module, function)
