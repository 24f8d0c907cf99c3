"""What the defences share that act in training: a victim's own training, one epoch at a time.

:class:`Epochs` takes the steps that the victim's ``fit`` takes (Adam on batches of users, gradient
descent rating by rating, or least squares), so that a defence says only what it changes: the rows
that are learnt, or the loss of a step. On the rows as they are it trains the victim to the bit.
"""

import copy
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.data import HeldOut
from rvdlib.models import MF, Victim
from rvdlib.models.base import Parameters
from rvdlib.models.fitting import EarlyStopping, EncoderVictim
from rvdlib.models.sparse_ops import sampled_product

_BATCH_USERS = 128  # of a victim that has no batches of its own
Method = Callable[[Victim, HeldOut, np.random.Generator], tuple[dict, float]]


def trained_by(
    method: Method,
    victim: Victim,
    train: sp.csr_matrix,
    validation: HeldOut,
    levels: np.ndarray,
    rng: np.random.Generator,
) -> Victim:
    """Another victim of this class and with these hyper-parameters, trained by ``method``.

    Args:
        method: gets the new victim, whose ``train`` (divided by the top of the scale) and
            ``inputs`` stand, and returns its parameters and their validation error.
    """
    other = type(victim)(**victim.config.model_dump())
    # On this one alone, and only now: its class, by which RVD's engine knows it, stays the same.
    vars(other)["_fit"] = partial(method, other)
    try:
        return other.fit(train, validation, levels, rng)
    finally:
        del vars(other)["_fit"]


def best_epoch(
    victim: Victim,
    validation: HeldOut,
    epoch: Callable[[], Parameters],
    first: int = 0,
) -> tuple[dict, float]:
    """The best parameters of the victim's ``epochs``, and their validation error.

    Args:
        epoch: gives the parameters after another epoch, as :class:`Epochs` does.
        first: the first that may be kept: before it the defence has hardly acted, and as validation
            knows of no attack, it would often be the best. The last epoch may always be kept.
    """
    stopping, n_epochs = EarlyStopping(victim, validation), victim.config.epochs
    for number in range(n_epochs):
        parameters = epoch()
        if number >= min(first, n_epochs - 1) and stopping.update(parameters):
            break
    return stopping.best, stopping.best_error


class Epochs:
    """One epoch of a victim's own training a call.

    Attributes:
        victim: prepared, see :meth:`Victim.prepare`; it is not changed.
        parameters: as they are by now.
        done: epochs so far.

    Raises:
        TypeError: for a victim that is neither an MF nor an EncoderVictim, whose training is its own.
    """

    def __init__(self, victim: Victim, rng: np.random.Generator):
        self.victim, self.rng, self.done = victim, rng, 0
        self.rate = victim.config.learning_rate
        self.batch_size = getattr(victim.config, "batch_size", _BATCH_USERS)
        if isinstance(victim, MF):
            self.arrays = victim.first_arrays(rng)
            self.parameters = {name: torch.from_numpy(each) for name, each in self.arrays.items()}
        elif isinstance(victim, EncoderVictim):
            self.parameters = victim.initial_parameters(rng)
            self.adam = self.optimizer(self.rate)
        else:
            raise TypeError(
                f"{type(victim).__name__} is not trained in epochs that a defence could change: it "
                "would have to be an MF or an EncoderVictim; take a defence before training or at "
                "inference"
            )

    def __call__(self, rows: sp.csr_matrix | None = None) -> dict[str, torch.Tensor]:
        """The parameters after an epoch on ``rows``, (users, items) CSR as ``victim.train`` is.

        What the encoder reads of a user stays what it is. ``rows``: ``victim.train`` unless said.
        """
        victim = copy.copy(self.victim)
        victim.train = victim.train if rows is None else rows
        if not isinstance(victim, MF):
            self.by_adam(victim)
        elif victim.ranking:
            self.by_least_squares(victim)
        else:
            self.by_rating(victim)
            self.rate *= victim.config.learning_rate_decay
        self.done += 1
        return self.parameters

    def optimizer(self, rate: float) -> torch.optim.Adam:
        """Adam on all parameters, with the victim's regulariser."""
        for name, value in self.parameters.items():
            value.requires_grad_(name not in self.victim.constants)
        moving = [value for value in self.parameters.values() if value.requires_grad]
        decay = self.victim.loss.weight_decay
        return torch.optim.Adam(moving, lr=rate, weight_decay=decay, fused=True)

    def by_adam(self, victim) -> None:
        order, size = self.rng.permutation(victim.train.shape[0]), self.batch_size
        for first in range(0, len(order), size):
            self.adam.zero_grad()
            self.batch_loss(victim, order[first : first + size]).backward()
            self.adam.step()

    def batch_loss(self, victim: EncoderVictim, users: np.ndarray) -> torch.Tensor:
        """What a step of Adam descends."""
        return victim.batch_loss(self.parameters, users, self.rng)

    def by_rating(self, victim: MF) -> None:
        victim.config = victim.config.model_copy(update={"learning_rate": self.rate})
        next(victim.gradient_descent(self.arrays, self.rng))

    def by_least_squares(self, victim: MF) -> None:
        next(victim.least_squares(self.arrays))


def observed_scores(victim: Victim, parameters: Parameters) -> np.ndarray:
    """(nnz,) float32: scores at the ratings of ``victim.train``, divided by the top of the scale."""
    return scores_at(victim, parameters, victim.train)


def scores_at(victim: Victim, parameters: Parameters, cells: sp.csr_matrix) -> np.ndarray:
    """(nnz,) float32: scores at the stored ``cells`` of a (users, items) CSR matrix, in its order."""
    with torch.no_grad():
        offset, factors = victim.encode(parameters, np.arange(cells.shape[0]))
        return _at_cells(parameters, offset, factors, cells).numpy()


def data_loss(
    rows: sp.csr_matrix,
    parameters: Parameters,
    offset: torch.Tensor,
    factors: torch.Tensor,
    unobserved_weight: float,
) -> torch.Tensor:
    """(1/B) [Σ_R (y − s)² + ω Σ_{not R} s²] of B rows, as :mod:`rvdlib.models.fitting` has it.

    Args:
        rows: (B, items) CSR of y; ``offset`` (B,) and ``factors`` (B, d) of the same users.
    """
    scores = _at_cells(parameters, offset, factors, rows)
    loss = ((torch.from_numpy(rows.data) - scores) ** 2).sum()
    if unobserved_weight:  # offsets are zero in this regime
        weights, bias = parameters["item_factors"], parameters["item_bias"]
        users_1 = torch.cat([factors, torch.ones(len(factors), 1)], 1)
        items_1 = torch.cat([weights, bias[:, None]], 1)
        everywhere = ((users_1.T @ users_1) * (items_1.T @ items_1)).sum()
        loss = loss + unobserved_weight * (everywhere - (scores**2).sum())
    return loss / rows.shape[0]


def _at_cells(parameters, offset, factors, rows):
    row_of = torch.from_numpy(np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)))
    items = torch.from_numpy(rows.indices.astype(np.int64))
    products = sampled_product(factors, parameters["item_factors"], rows)
    return products + parameters["item_bias"][items] + offset[row_of]
