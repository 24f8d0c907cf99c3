"""The vicinal loss with the user side frozen: for every victim a ridge regression an item.

All victims have one linear decoder, s_vi = a_v + z_v · θ_i, with z_v = (h_v, 1) and θ_i = (w_i, b_i)
(h_v and w_i alone where the decoder has no bias). If nothing but the decoder moves, the loss of
:mod:`rvdlib.models.loss` on the rows S of k users is, but for a constant,

    F_S(θ) = (1/k) Σ_{v∈S} Σ_i [ c_vi (y_vi − a_v − z_v · θ_i)² + d_vi ‖θ_i‖² ]

c, y and ω as there; d_vi = reg, or what the cell (v, i) adds where the regulariser counts cells. No
two items share a parameter, so F_S is a sum of quadratics f_i with the Hessians

    H_i = (2/k) Σ_v c_vi z_v z_vᵀ + 2 D_i I,        D_i = (1/k) Σ_v d_vi

Their eigenvalues are exact: squares of the singular values of √(2/k) diag(√c_i) Z, at most
min(k, d + 1) of them above 0, and 2 D_i more; 2 D_i alone in every other direction. Items with the
same raters in S share the singular vectors. In this basis gradient descent is a power,

    θ_T − θ* = (I − ηH)^T (θ_0 − θ*)

and costs the same after one epoch as after a thousand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from rvdlib.models import Victim
from rvdlib.models.base import DECODER
from rvdlib.models.loss import Loss

Function = Callable[[np.ndarray], np.ndarray]
_NOTHING = 1e-6  # of the largest singular value: what is below, no descent of 10^9 epochs sees


class _Spectrum(NamedTuple):
    """Of each item: eigenvalues (items, r) of the data's part, 0 where there is none, and directions
    (items, r, r) within the span of the rows, whose orthonormal basis is ``frame`` (p, r)."""

    values: np.ndarray
    directions: np.ndarray
    frame: np.ndarray


@dataclass(frozen=True, eq=False)
class VicinalRidge:
    """F_S, its constants, its minimiser and descent on it; all float64.

    Attributes:
        latent: (k, p) z_v; p is d + 1, or d for a decoder without a bias.
        target: (k, items) y_vi − a_v.
        weight: (k, items) c_vi, at least 0.
        penalty: (k, items) d_vi, at least 0.
    """

    latent: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    penalty: np.ndarray

    @classmethod
    def of(cls, victim: Victim, rows: ArrayLike, loss: Loss | None = None) -> Self:
        """Of a trained victim and the ``rows`` (k,) of some users; ``loss``: its own unless said.

        Raises:
            ValueError: for no rows, or a decoupled regulariser, which is no part of a loss.
        """
        rows, loss = victim.rows(rows), loss or victim.loss
        if not len(rows):
            raise ValueError("rows must be those of one user or more, got none")
        if loss.regularizer == "decoupled":
            raise ValueError("a decoupled regularizer is no part of a loss: take coupled or none")
        with torch.no_grad():
            offsets = victim.encode(victim.parameters, rows)[0].numpy()
            silence = victim.unobserved_target(rows).numpy()
        ratings = victim.train[rows]
        values = ratings.toarray().astype(float)
        ratings.data = np.ones_like(ratings.data)
        observed = ratings.toarray() > 0
        penalty = np.zeros(values.shape)
        if loss.regularizer == "coupled":
            for place, row in enumerate(rows):
                own = victim.regularizer_weights(np.array([row]), loss)["item_factors"]
                penalty[place] = np.asarray(own).ravel()
        return cls(
            latent=latent_of(victim, rows),
            target=np.where(observed, values, silence[:, None]) - offsets[:, None],
            weight=np.where(observed, 1.0, loss.unobserved_weight),
            penalty=penalty,
        )

    def take(self, members: ArrayLike) -> "VicinalRidge":
        """The loss on these rows alone; ``members``: mask or positions."""
        members = np.asarray(members)
        parts = (self.latent, self.target, self.weight, self.penalty)
        return VicinalRidge(*(part[members] for part in parts))

    def row_losses(self, decoder: np.ndarray) -> np.ndarray:
        """(k,): of each row, its data and what it adds to the regulariser; F_S is their mean."""
        data = self.weight * (self.target - self.latent @ decoder.T) ** 2
        return (data + self.penalty * (decoder**2).sum(axis=1)).sum(axis=1)

    def value(self, decoder: np.ndarray) -> float:
        """F_S of a decoder (items, p)."""
        return float(self.row_losses(decoder).mean())

    def gradient(self, decoder: np.ndarray) -> np.ndarray:
        """∇F_S (items, p)."""
        pull = self.weight * (self.latent @ decoder.T - self.target)
        return 2 / len(pull) * pull.T @ self.latent + 2 * self.decay[:, None] * decoder

    @cached_property
    def decay(self) -> np.ndarray:
        """D_i (items,)."""
        return self.penalty.mean(axis=0)

    @property
    def curvature(self) -> tuple[np.ndarray, np.ndarray]:
        """m_i and M_i (items,): the smallest and the largest eigenvalue of each H_i."""
        values, decay = self._spectrum.values, 2 * self.decay
        whole = values.shape[1] == self.latent.shape[1]
        return (values.min(axis=1) if whole else 0.0) + decay, values.max(axis=1) + decay

    def optimum(self, start: np.ndarray) -> np.ndarray:
        """The minimiser nearest to ``start`` (items, p), and where descent from there ends.

        A row that the loss does not depend on, H_i = 0, stays where it is.
        """
        return start - self._back(self._in_eigenbasis(self.gradient(start)), _inverse)

    def descend(self, start: np.ndarray, step: float, epochs: Sequence[int]) -> np.ndarray:
        """Gradient descent by ``step`` from ``start``: the decoder (len(epochs), items, p) after each
        of ``epochs``."""
        end = self.optimum(start)
        apart = self._in_eigenbasis(start - end)
        shares = (partial(_share_left, step, each) for each in epochs)
        return np.stack([end + self._back(apart, share) for share in shares])

    def trained_point(self, start: np.ndarray) -> np.ndarray:
        """The minimiser once more, for very many rows: one Newton step in d + 1 dimensions.

        10⁻⁹ of the trace is added to each eigenvalue, so that a singular H_i is no error.
        """
        gradient, floor = self.gradient(start), self.weight.min(axis=0)
        shared = self.latent.T @ self.latent
        hessians = floor[:, None, None] * shared
        for item, (column, least) in enumerate(zip(self.weight.T, floor, strict=True)):
            more = np.flatnonzero(column > least)
            seen = self.latent[more]
            hessians[item] += seen.T @ ((column[more] - least)[:, None] * seen)
        hessians *= 2 / len(self.latent)
        places = np.arange(hessians.shape[1])
        largest = np.trace(hessians, axis1=1, axis2=2) + 2 * self.decay
        hessians[:, places, places] += (2 * self.decay + 1e-9 * largest)[:, None]
        moved = largest > 0
        found = start.copy()
        found[moved] -= np.linalg.solve(hessians[moved], gradient[moved][:, :, None])[:, :, 0]
        return found

    @cached_property
    def _spectrum(self) -> _Spectrum:
        frame, reduced = np.linalg.qr(self.latent.T)
        columns, of_item = np.unique(self.weight.T, axis=0, return_inverse=True)
        scaled = np.sqrt(2 / len(self.latent) * columns)[:, :, None] * reduced.T
        _, lengths, directions = np.linalg.svd(scaled, full_matrices=False)
        lengths[lengths <= _NOTHING * lengths.max(axis=1, keepdims=True, initial=0.0)] = 0.0
        return _Spectrum((lengths**2)[of_item.ravel()], directions[of_item.ravel()], frame)

    def _in_eigenbasis(self, decoder: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``decoder``, and its coordinates (items, r) along the directions of the data's part."""
        _, directions, frame = self._spectrum
        return decoder, (directions @ (decoder @ frame)[:, :, None])[:, :, 0]

    def _back(self, parts: tuple[np.ndarray, np.ndarray], function: Function) -> np.ndarray:
        """``function`` of each H_i, times its row of the decoder that :meth:`_in_eigenbasis` took."""
        decoder, inside = parts
        values, directions, frame = self._spectrum
        rest = function(2 * self.decay)[:, None]
        change = (function(values + 2 * self.decay[:, None]) - rest) * inside
        return rest * decoder + (change[:, None, :] @ directions)[:, 0, :] @ frame.T


def decoder_of(victim: Victim) -> np.ndarray:
    """θ̂ (items, p): the decoder as it was trained, with the bias where there is one."""
    factors, bias = (victim.parameters[name].numpy().astype(float) for name in DECODER)
    return np.column_stack([factors, bias]) if _biased(victim) else factors


def latent_of(victim: Victim, users: np.ndarray) -> np.ndarray:
    """z (B, p) of ``users``, with a 1 for the bias where there is one."""
    factors = victim.user_factors(users).astype(float)
    return np.column_stack([factors, np.ones(len(factors))]) if _biased(victim) else factors


def _biased(victim: Victim) -> bool:
    return "item_bias" not in victim.constants


def _inverse(values: np.ndarray) -> np.ndarray:
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


def _share_left(step: float, epochs: int, values: np.ndarray) -> np.ndarray:
    return (1 - step * values) ** epochs
