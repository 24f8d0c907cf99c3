"""What training shares: early stopping, and one fit loop for the victims that encode a profile.

Loss of a batch of B users, with R the observed cells and ω the unobserved weight:

    (1/B) [ Σ_R (y − s)² + ω Σ_{not R} s² ] + reg · (squared norm of all parameters)

The sum over unobserved cells runs over the whole catalogue and is never formed: Σ_all s² is the
inner product of two Gram matrices of size d + 1 (the implicit regulariser of Bayer et al. 2017),
from which the observed cells are taken away again.
"""

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field

from rvdlib import metrics
from rvdlib.data import HeldOut
from rvdlib.models.base import DECODER, Parameters, Victim, VictimConfig
from rvdlib.models.reference import ndcg_error
from rvdlib.models.sparse_ops import sampled_product


class EarlyStopping:
    """Keeps the best parameters seen, and says when ``patience`` epochs brought nothing better."""

    def __init__(self, victim: Victim, validation: HeldOut):
        self.victim = victim
        self.validation = validation
        self.best_error = np.inf
        self.best: dict[str, torch.Tensor] = {}
        self.stale = 0

    def update(self, parameters: Parameters) -> bool:
        """Take one epoch's parameters; True when training should end."""
        error = self._error(parameters)
        if error < self.best_error:
            self.best_error, self.stale = error, 0
            self.best = {name: value.detach().clone() for name, value in parameters.items()}
        else:
            self.stale += 1
        return self.stale >= self.victim.config.patience

    @torch.no_grad()
    def _error(self, parameters: Parameters) -> float:
        """What validation says: RMSE in stars (rating regime) or −NDCG@50 (ranking regime)."""
        users, items, stars = self.validation
        if self.victim.ranking:
            return ndcg_error(
                lambda asked: self.victim.forward(parameters, asked).numpy(),
                self.victim.train,
                self.validation,
            )
        distinct, row = np.unique(users, return_inverse=True)
        offset, factors = self.victim.encode(parameters, distinct)
        weights, bias = (parameters[name][torch.tensor(items)] for name in DECODER)
        predicted = (factors[row] * weights).sum(1) + bias + offset[row]
        predicted = predicted.numpy() * self.victim.max_rating
        return float(np.sqrt(metrics.squared_errors(predicted, stars, self.victim.levels).mean()))


class EncoderConfig(VictimConfig):
    batch_size: int = Field(128, ge=1, description="users in one step of Adam")
    initial_std: float = Field(0.05, gt=0, description="of the encoder's first weights")
    input_dropout: float = Field(0.0, ge=0, lt=1, description="share of a profile hidden in a step")


class EncoderVictim(Victim):
    """A victim whose latent vector is computed from the user's own ratings, trained by Adam."""

    Config = EncoderConfig

    @abstractmethod
    def initial_parameters(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Parameters before training, float32."""

    @abstractmethod
    def read_profiles(self) -> sp.csr_matrix:
        """(users, items) CSR: what the encoder reads of each training row, float32."""

    def prepare(self):
        self.inputs = self.read_profiles()

    @abstractmethod
    def offsets(self, parameters: Parameters, users: np.ndarray) -> torch.Tensor:
        """a (B,); differentiable."""

    @abstractmethod
    def latent(
        self, parameters: Parameters, inputs: sp.csr_matrix, users: np.ndarray
    ) -> torch.Tensor:
        """h (B, d) from the (B, items) rows of :meth:`read_profiles`; differentiable."""

    def encoder(self, users):
        inputs = self.inputs[users]
        return lambda parameters: (
            self.offsets(parameters, users),
            self.latent(parameters, inputs, users),
        )

    def _batches(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        order = rng.permutation(self.train.shape[0])
        size = self.config.batch_size
        return (order[start : start + size] for start in range(0, len(order), size))

    def corrupted(self, inputs: sp.csr_matrix, rng: np.random.Generator) -> sp.csr_matrix:
        """``inputs`` (B, items), each rating hidden with probability ``input_dropout``, the rest scaled up."""
        if not self.config.input_dropout:
            return inputs
        kept = rng.random(inputs.nnz, dtype=np.float32) >= self.config.input_dropout
        values = inputs.data * kept / np.float32(1 - self.config.input_dropout)
        return sp.csr_matrix((values, inputs.indices, inputs.indptr), shape=inputs.shape)

    def batch_loss(
        self, parameters: Parameters, users: np.ndarray, rng: np.random.Generator
    ) -> torch.Tensor:
        """The module's loss of a batch of ``users`` (B,), without the regulariser; differentiable.

        ``rng`` hides ratings, see :meth:`corrupted`.
        """
        rows = self.train[users]
        inputs = self.corrupted(self.inputs[users], rng)
        offset = self.offsets(parameters, users)
        factors = self.latent(parameters, inputs, users)
        weights, bias = parameters["item_factors"], parameters["item_bias"]
        row_of = torch.from_numpy(np.repeat(np.arange(len(users)), np.diff(rows.indptr)))
        items = torch.from_numpy(rows.indices.astype(np.int64))
        scores = sampled_product(factors, weights, rows) + bias[items] + offset[row_of]
        loss = ((torch.from_numpy(rows.data) - scores) ** 2).sum()
        omega = self.loss.unobserved_weight
        if omega:  # offsets are zero in this regime
            users_1 = torch.cat([factors, torch.ones(len(users), 1)], 1)
            items_1 = torch.cat([weights, bias[:, None]], 1)
            everywhere = ((users_1.T @ users_1) * (items_1.T @ items_1)).sum()
            loss = loss + omega * (everywhere - (scores**2).sum())
        return loss / len(users)

    def _fit(self, validation, rng):
        parameters = self.initial_parameters(rng)
        for value in parameters.values():
            value.requires_grad_()
        adam = torch.optim.Adam(
            parameters.values(),
            lr=self.config.learning_rate,
            weight_decay=self.loss.weight_decay,
            fused=True,
        )
        stopping = EarlyStopping(self, validation)
        for _ in range(self.config.epochs):
            for users in self._batches(rng):
                adam.zero_grad()
                self.batch_loss(parameters, users, rng).backward()
                adam.step()
            if stopping.update(parameters):
                break
        return stopping.best, stopping.best_error


def normal(rng: np.random.Generator, *shape: int, std: float) -> torch.Tensor:
    """Normal draws from the model's own stream, float32."""
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32) * np.float32(std))


def shrunken_item_means(residuals: sp.csr_matrix, shrinkage: float = 5.0) -> torch.Tensor:
    """Mean of the stored values of each column, pulled to zero where they are few."""
    csc = residuals.tocsc()
    sums = np.asarray(csc.sum(axis=0)).ravel()
    return torch.from_numpy((sums / (np.diff(csc.indptr) + shrinkage)).astype(np.float32))
