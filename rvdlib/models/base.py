"""What every victim is: an encoder of its own, and one linear decoder that all of them share.

    s_ui = a_u + h_u · w_i + b_i

``h_u`` is the user's latent vector (where neighbours are looked for), ``(w_i, b_i)`` the item's
decoder row, ``a_u`` what does not depend on the item. Everything inside is on ratings divided by
the top of the scale; :meth:`Victim.score` returns stars.

A victim is a set of named tensors and pure functions of them. Fine-tuning works on other tensors
of the same names, so nobody ever writes to a trained model.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import BaseModel, ConfigDict, Field

from rvdlib.data import HeldOut

Parameters = Mapping[str, torch.Tensor]
DECODER = ("item_factors", "item_bias")


class VictimConfig(BaseModel):
    """Hyper-parameters that every victim has. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_size: int = Field(64, ge=1, description="d, length of a latent vector")
    unobserved_weight: float = Field(
        0.0, ge=0, le=1, description="ω: weight of an unobserved cell as a zero; 0 = rating regime"
    )
    epochs: int = Field(100, ge=1, description="at most; early stopping may end before")
    patience: int = Field(5, ge=1, description="epochs without a better validation before stopping")


class Victim(ABC):
    """A recommender that can be trained, attacked and defended.

    Attributes:
        parameters: name → tensor; ``item_factors`` (items, d) and ``item_bias`` (items,) are the
            decoder, every other one belongs to the encoder.
        train: (users, items) CSR that it was fitted on, stars divided by ``max_rating``.
    """

    name: ClassVar[str]
    config: VictimConfig
    parameters: dict[str, torch.Tensor]
    train: sp.csr_matrix
    max_rating: float

    @abstractmethod
    def fit(
        self,
        train: sp.csr_matrix,
        validation: HeldOut,
        levels: np.ndarray,
        rng: np.random.Generator,
    ) -> Self:
        """Train on (users, items) stars; stop early on the validation ratings."""

    @abstractmethod
    def encode(
        self, parameters: Parameters, users: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Offsets a (B,) and latent vectors h (B, d) of ``users``, differentiable in parameters."""

    @abstractmethod
    def unobserved_target(self, users: np.ndarray) -> torch.Tensor:
        """y⁰ (B,): what an unobserved cell of each user is taken to be."""

    def forward(self, parameters: Parameters, users: np.ndarray) -> torch.Tensor:
        """Scores (B, items) of ``users``, on ratings divided by the top of the scale."""

    def loss(
        self, parameters: Parameters, users: np.ndarray, unobserved_weight: float
    ) -> torch.Tensor:
        """The training loss on the rows of ``users``, a mean over users:

        (1/B) Σ_v Σ_i c_vi (y_vi − s_vi)², with c = 1 and y the rating where there is one, and
        c = ω (``unobserved_weight``), y = y⁰_v elsewhere.
        """

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items) in stars, float32."""

    def user_factors(self, users: np.ndarray | None = None) -> np.ndarray:
        """Latent vectors h (B, d) of ``users``, by default of all training users, float32."""
