"""What every victim is: an encoder of its own, and one linear decoder that all of them share.

    s_ui = a_u + h_u · w_i + b_i

``h_u`` is the user's latent vector (where neighbours are looked for), ``(w_i, b_i)`` the item's
decoder row, ``a_u`` what does not depend on the item. Everything inside is on ratings divided by
the top of the scale; :meth:`Victim.score` returns stars.

A victim is a set of named tensors and pure functions of them. Fine-tuning works on other tensors
of the same names, so nobody ever writes to a trained model.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from rvdlib.arguments import as_indices
from rvdlib.data import HeldOut
from rvdlib.models import saving
from rvdlib.models.loss import Loss
from rvdlib.models.reference import BeatenByReferenceWarning, Comparison, simplest
from rvdlib.seeding import check_generator
from rvdlib.threads import single_thread

Parameters = Mapping[str, torch.Tensor]
Encoder = Callable[[Parameters], tuple[torch.Tensor, torch.Tensor]]
Objective = Callable[[Parameters], torch.Tensor]
DECODER = ("item_factors", "item_bias")
REMEDY = "train it longer (epochs, patience), or with other hyper-parameters (learning_rate, reg)"


def decode(parameters: Parameters, offset: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """s_ui = a_u + h_u · w_i + b_i: offsets (B,) and latent vectors (B, d) to scores (B, items)."""
    scores = torch.addmm(parameters["item_bias"], factors, parameters["item_factors"].T)
    return scores + offset[:, None]


class VictimConfig(BaseModel):
    """Hyper-parameters that every victim has. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_size: int = Field(64, ge=1, description="d, length of a latent vector")
    unobserved_weight: float = Field(
        0.0, ge=0, le=1, description="ω, weight of an unobserved cell as a zero; 0: rating regime"
    )
    epochs: int = Field(100, ge=1, description="at most; early stopping may end before")
    patience: int = Field(20, ge=1, description="epochs without a better validation before the end")
    learning_rate: float = Field(0.01, gt=0, allow_inf_nan=False)
    reg: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="weight of the squared norm of the parameters"
    )


class Victim(ABC):
    """A recommender that can be trained, attacked and defended.

    Attributes:
        parameters: name → tensor; ``item_factors`` (items, d) and ``item_bias`` (items,) are the
            decoder, every other one belongs to the encoder.
        train: (users, items) CSR that it was fitted on, stars divided by ``max_rating``.
        inputs: (users, items) CSR that its encoder reads of ``train``, if it reads profiles.
        levels: the rating scale in stars, ascending.
        mean_rating: μ, the mean of ``train``'s ratings.
        validation_error: of the epoch that was kept: RMSE in stars, or −NDCG@50.
    """

    name: ClassVar[str]
    Config: ClassVar[type[VictimConfig]] = VictimConfig
    # Parameters that no training moves. An item_bias among them is zero.
    constants: ClassVar[frozenset[str]] = frozenset()
    parameters: dict[str, torch.Tensor]
    train: sp.csr_matrix
    inputs: sp.csr_matrix
    levels: np.ndarray
    mean_rating: float
    validation_error: float

    def __init__(self, **hyperparameters):
        self.config = self.Config(**hyperparameters)

    @property
    def ranking(self) -> bool:
        """Whether unobserved cells count as zeros in training (the ranking regime)."""
        return self.config.unobserved_weight > 0

    @property
    def loss(self) -> Loss:
        """What training descends, and fine-tuning after it."""
        return Loss(self.config.unobserved_weight, self.config.reg)

    @property
    def max_rating(self) -> float:
        return float(self.levels[-1])

    @single_thread()
    def fit(
        self,
        train: sp.csr_matrix,
        validation: HeldOut,
        levels: np.ndarray,
        rng: np.random.Generator,
    ) -> Self:
        """Train on (users, items) CSR stars and keep the epoch that does best on ``validation``.

        Best is the lowest RMSE in the rating regime, the highest NDCG@50 in the ranking regime.

        Raises:
            ValueError: if ``train`` or ``validation`` holds no rating, or training diverged.

        Warns:
            BeatenByReferenceWarning: if biases alone (rating regime) or popularity (ranking regime)
                do better on ``validation``.
        """
        check_generator(rng)
        for name, size in (("train", train.nnz), ("validation", len(validation.users))):
            if not size:
                raise ValueError(f"{name} holds no rating: a victim needs both to be trained")
        self.levels = np.asarray(levels, dtype=np.float32)
        self.train = sp.csr_matrix(train, dtype=np.float32, copy=True)
        self.train.data /= self.max_rating
        self.mean_rating = float(self.train.data.mean())
        self.prepare()
        self.parameters, self.validation_error = self._fit(validation, rng)
        compared = self.compare(validation)
        if compared.beaten:
            warnings.warn(BeatenByReferenceWarning(f"{compared}; {REMEDY}"), stacklevel=3)
        return self

    def compare(self, validation: HeldOut) -> Comparison:
        """This victim beside the simplest one of its regime; ``validation`` as :meth:`fit` had it."""
        stars = self.train * np.float32(self.max_rating)
        reference = simplest(stars, validation, self.levels, ranking=self.ranking)
        return Comparison(self.name, *reference[:2], self.validation_error, reference[2])

    def save(self, path: str | Path) -> None:
        """Write the trained victim, training rows included, whole or not at all.

        Args:
            path: a name that ends in .safetensors (:mod:`rvdlib.models.saving`).

        Raises:
            ValueError: for another name, or a victim that is not trained or could not be loaded
                again; the message says what its class lacks.
            OSError: if it cannot be written.
        """
        saving.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` has written: a victim that scores the same, and can be defended.

        ``Victim.load`` takes any victim whose class is imported, ``MF.load`` an MF.

        Raises:
            ValueError: naming the file and the problem, if it cannot be read, has been changed,
                holds another victim, or is of a newer format.
        """
        return saving.load(cls, path)

    def prepare(self) -> None:  # noqa: B027 - not every victim reads profiles
        """Derive from ``train`` what the encoder reads; once, before training or after loading."""

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name → shape of every parameter, for this configuration and these training rows."""
        n_items, size = self.train.shape[1], self.config.embedding_size
        return {"item_factors": (n_items, size), "item_bias": (n_items,)}

    @abstractmethod
    def _fit(self, validation: HeldOut, rng: np.random.Generator) -> tuple[dict, float]:
        """The trained parameters (float32) and their validation error."""

    @abstractmethod
    def encoder(self, users: np.ndarray) -> Encoder:
        """Parameters → offsets a (B,) and latent vectors h (B, d) of ``users``; differentiable.

        What does not depend on the parameters is prepared here, once.
        """

    @single_thread()
    def encode(
        self, parameters: Parameters, users: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Offsets a (B,) and latent vectors h (B, d) of ``users``; differentiable.

        Raises:
            ValueError: for ``users`` that are not row numbers of training users.
        """
        return self.encoder(self.rows(users))(parameters)

    def rows(self, users: ArrayLike) -> np.ndarray:
        """``users`` (B,) as int64, if they are row numbers of training users; else ValueError."""
        return as_indices("users", users, self.train.shape[0])

    def forward(self, parameters: Parameters, users: np.ndarray) -> torch.Tensor:
        """Scores (B, items) on ratings divided by the top of the scale; differentiable."""
        return decode(parameters, *self.encode(parameters, users))

    def unobserved_target(self, users: np.ndarray) -> torch.Tensor:
        """y⁰ (B,): what an unobserved cell of each user is taken to be.

        Zero in the ranking regime, as in training. In the rating regime a_u, which is what the
        victim predicts for an item of which nothing is known.
        """
        offset, _ = self.encode(self.parameters, users)
        return torch.zeros_like(offset) if self.ranking else offset.detach()

    def regularizer_weights(self, users: np.ndarray, loss: Loss) -> dict[str, float | torch.Tensor]:
        """D by name of a parameter, a number or broadcastable to it, for the rows of ``users``."""
        return {name: loss.reg for name in self.parameters if name not in self.constants}

    def objective(self, users: np.ndarray, loss: Loss | None = None) -> Objective:
        """Parameters → the loss on the rows of ``users``, a mean over them; differentiable.

        Args:
            loss: the victim's own unless said. A ``coupled`` regulariser is part of the objective;
                a ``decoupled`` one is not, because no function of the parameters descends as it does.
        """
        users, loss = self.rows(users), loss or self.loss
        rows = self.train[users]
        ratings = torch.from_numpy(rows.toarray())
        rows.data = np.ones_like(rows.data)
        observed = torch.from_numpy(rows.toarray()) > 0
        target = torch.where(observed, ratings, self.unobserved_target(users)[:, None])
        weight, n_rows = torch.where(observed, 1.0, loss.unobserved_weight), max(len(users), 1)
        encoder = self.encoder(users)
        decays = self.regularizer_weights(users, loss) if loss.regularizer == "coupled" else {}

        def value(parameters: Parameters) -> torch.Tensor:
            data = (weight * (target - decode(parameters, *encoder(parameters))) ** 2).sum()
            return data / n_rows + sum(
                (d * parameters[name] ** 2).sum() for name, d in decays.items()
            )

        return value

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items) in stars, float32.

        Args:
            users: (B,) row numbers.

        Raises:
            ValueError: for ``users`` that are not row numbers of training users.
        """
        return self.score_with(self.parameters, users)

    @single_thread()
    def score_with(self, parameters: Parameters, users: np.ndarray) -> np.ndarray:
        """The same with other parameters than the trained ones."""
        with torch.no_grad():
            return (self.forward(parameters, users) * self.max_rating).numpy()

    def user_factors(self, users: np.ndarray | None = None) -> np.ndarray:
        """Latent vectors h (B, d) of ``users``, by default of every training user, float32."""
        users = np.arange(self.train.shape[0]) if users is None else users
        with torch.no_grad():
            return self.encode(self.parameters, users)[1].numpy()
