"""Adversarial training on embeddings: the loss is also descended where latent vectors are disturbed.

    L(Θ) + λ L(Θ + Δ),    Δ = ε ∇L / ‖∇L‖ of each row

(He et al. 2018, "Adversarial Personalized Ranking"; AMF is its matrix factorisation), here with the
squared loss of the victims and divided by 1 + λ, so that learning rate and regulariser mean what
they did. Disturbed are the user's latent vector h_u (of an autoencoder, its hidden layer) and the
decoder's row w_i, from epoch ``start`` on; Δ is a constant of the gradient. Three forms differ in
how strongly a user is disturbed, ε_u =

- ``uniform``: ε;
- ``vat``: ε · 2 σ(mean loss / loss_u − 1), the fitted ones more (Zhang et al. 2024, "Improving the
  Shortest Plank: Vulnerability-Aware Adversarial Training", RecSys);
- ``pamacf``: ε · 2 σ(‖h_u‖² / mean − 1), those of long vectors more (Zhang et al. 2024,
  "Understanding and Improving Adversarial Collaborative Filtering", NeurIPS).

The papers' ε, 0.3 to 0.9, is the length of Δ for vectors that are about 1 long. Ours are from 0.1 to
5, so ε is a share of the mean length of their kind. A tenth keeps the accuracy of all victims; where
h_u is ten times as long as w_i, as in an autoencoder, disturbing w_i by half of its length leaves
nothing to be learnt.

Adam's victims disturb a batch at a time, item rows by ε. MF of the rating regime disturbs p_u and
w_i of one rating at a time, both by ε_u, as it descends. Least squares have no gradient: after
``start`` sweeps, MF of the ranking regime descends by Adam.
"""

from typing import Literal

import numba
import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field

from rvdlib.defenses.protocol import Choices, Defense
from rvdlib.defenses.training import Epochs, best_epoch, data_loss, observed_scores, trained_by
from rvdlib.models import MF, Victim
from rvdlib.models.base import Parameters

Strength = Literal["uniform", "vat", "pamacf"]
SETTLING = 20  # epochs of adversarial training before one of them is kept


class AdversarialTrainingConfig(Choices):
    """The choices. Unknown names are refused."""

    strength: Strength = Field("uniform", description="how ε is dealt out to users")
    epsilon: float = Field(0.1, gt=0, description="ε, a share of the vectors' mean length")
    weight: float = Field(1.0, gt=0, description="λ of the disturbed loss")
    start: int = Field(5, ge=0, description="epochs before, as the victim is trained without")
    learning_rate: float = Field(
        0.003, gt=0, description="of Adam, for MF that is else trained by least squares"
    )


class AdversarialTraining(Defense):
    """The victim, trained on the disturbed loss besides its own."""

    Config = AdversarialTrainingConfig
    config: AdversarialTrainingConfig

    def fit(self, victim, train, validation, levels, rng):
        return trained_by(self._train, victim, train, validation, levels, rng)

    def _train(self, victim, validation, rng):
        epochs = AdversarialEpochs(victim, rng, self.config)
        return best_epoch(victim, validation, epochs, first=self.config.start + SETTLING)


def strengths(
    victim: Victim, parameters: Parameters, strength: Strength, epsilon: float
) -> np.ndarray:
    """ε_u (users,), float32, as shares of the mean length of h."""
    if strength == "uniform":
        return np.full(victim.train.shape[0], epsilon, dtype=np.float32)
    if strength == "vat":
        per_user = np.diff(victim.train.indptr)
        squares = (victim.train.data - observed_scores(victim, parameters)) ** 2
        owners = np.repeat(np.arange(len(per_user)), per_user)
        loss = np.bincount(owners, squares, len(per_user)) / np.maximum(per_user, 1)
        mean = loss[per_user > 0].mean()
        ratio = np.divide(mean, loss, out=np.ones_like(loss), where=loss > 0)
    else:
        users = np.arange(victim.train.shape[0])
        with torch.no_grad():
            squares = (victim.encode(parameters, users)[1].numpy() ** 2).sum(axis=1)
        ratio = squares / max(squares.mean(), 1e-12)
    return (epsilon * 2 / (1 + np.exp(1 - np.minimum(ratio, 50)))).astype(np.float32)


def disturbed_loss(
    rows: sp.csr_matrix,
    parameters: Parameters,
    offset: torch.Tensor,
    factors: torch.Tensor,
    omega: float,
    user_size: torch.Tensor,
    item_size: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """L(Θ) and L(Θ + Δ) of B rows; arguments as of :func:`rvdlib.defenses.training.data_loss`.

    Args:
        user_size: (B, 1), the length of each user's Δ; ``item_size``: of each item's.
    """
    weights = parameters["item_factors"]
    plain = data_loss(rows, parameters, offset, factors, omega)
    by_user, by_item = torch.autograd.grad(plain, (factors, weights), retain_graph=True)
    unit = torch.nn.functional.normalize
    moved = {**parameters, "item_factors": weights + item_size * unit(by_item)}
    return plain, data_loss(rows, moved, offset, factors + user_size * unit(by_user), omega)


class AdversarialEpochs(Epochs):
    """A victim's training, from epoch ``start`` on by the disturbed loss."""

    def __init__(
        self, victim: Victim, rng: np.random.Generator, choices: AdversarialTrainingConfig
    ):
        super().__init__(victim, rng)
        self.choices = choices

    @property
    def begun(self) -> bool:
        return self.done >= self.choices.start

    def __call__(self, rows=None):
        """The parameters after an epoch; lengths and strengths are those before it."""
        if self.begun:
            victim, choices = self.victim, self.choices
            strength = strengths(victim, self.parameters, choices.strength, choices.epsilon)
            by_user, by_item = mean_lengths(victim, self.parameters)
            self.user_sizes, self.item_size = strength * by_user, choices.epsilon * by_item
            self.item_sizes = strength * by_item
        return super().__call__(rows)

    def batch_loss(self, victim, users):
        if not self.begun:
            return super().batch_loss(victim, users)
        parameters, weight = self.parameters, self.choices.weight
        if isinstance(victim, MF):
            offset, factors = victim.encoder(users)(parameters)
        else:
            inputs = victim.corrupted(victim.inputs[users], self.rng)
            offset = victim.offsets(parameters, users)
            factors = victim.latent(parameters, inputs, users)
        plain, disturbed = disturbed_loss(
            victim.train[users],
            parameters,
            offset,
            factors,
            victim.loss.unobserved_weight,
            torch.from_numpy(self.user_sizes[users, None]),
            self.item_size,
        )
        loss = (plain + weight * disturbed) / (1 + weight)
        if isinstance(victim, MF):  # Adam's victims have it as weight decay
            victim.parameters = parameters
            decays = victim.regularizer_weights(users, victim.loss)
            loss = loss + sum((d * parameters[name] ** 2).sum() for name, d in decays.items())
        return loss

    def by_least_squares(self, victim):
        if not self.begun:
            return super().by_least_squares(victim)
        if self.done == self.choices.start:
            self.adam = self.optimizer(self.choices.learning_rate)
        return self.by_adam(victim)

    def by_rating(self, victim):
        if not self.begun:
            return super().by_rating(victim)
        coo, arrays, biased = victim.train.tocoo(), self.arrays, "user_bias" in self.arrays
        return _descend(
            coo.row,
            coo.col,
            coo.data - np.float32(victim.mean_rating if biased else 0),
            self.rng.permutation(coo.nnz),
            arrays["user_factors"],
            arrays["item_factors"],
            arrays["user_bias"] if biased else np.zeros(victim.train.shape[0], dtype=np.float32),
            arrays["item_bias"],
            np.float32(self.rate),
            np.float32(self.rate if biased else 0),
            np.float32(victim.loss.reg),
            self.user_sizes,
            self.item_sizes,
            np.float32(self.choices.weight),
        )


def mean_lengths(victim: Victim, parameters: Parameters) -> tuple[float, float]:
    """Of the users' latent vectors, and of the items' rows."""
    with torch.no_grad():
        factors = victim.encode(parameters, np.arange(victim.train.shape[0]))[1]
        items = parameters["item_factors"]
        return float(factors.norm(dim=1).mean()), float(items.norm(dim=1).mean())


@numba.njit(cache=True, fastmath=True)
def _descend(
    rows,
    columns,
    values,
    order,
    p,
    q,
    user_bias,
    item_bias,
    rate,
    bias_rate,
    reg,
    user_sizes,
    item_sizes,
    weight,
):
    """An epoch of gradient descent rating by rating; Δ_p = −ε sign(e) q/‖q‖, and Δ_q with p."""
    one = np.float32(1)
    size = p.shape[1]
    share = one / (one + weight)
    for position in order:
        u, i = rows[position], columns[position]
        expected = user_bias[u] + item_bias[i]
        product, p_square, q_square = np.float32(0), np.float32(0), np.float32(0)
        for f in range(size):
            product += p[u, f] * q[i, f]
            p_square += p[u, f] * p[u, f]
            q_square += q[i, f] * q[i, f]
        error = values[position] - expected - product
        sign = one if error > 0 else -one
        tiny = np.float32(1e-12)
        to_p = sign * user_sizes[u] / np.sqrt(q_square + tiny)
        to_q = sign * item_sizes[u] / np.sqrt(p_square + tiny)
        disturbed = values[position] - expected
        for f in range(size):
            disturbed -= (p[u, f] - to_p * q[i, f]) * (q[i, f] - to_q * p[u, f])
        bias_step = share * (error + weight * disturbed)
        user_bias[u] += bias_rate * (bias_step - reg * user_bias[u])
        item_bias[i] += bias_rate * (bias_step - reg * item_bias[i])
        for f in range(size):
            p_uf, q_if = p[u, f], q[i, f]
            for_p = error * q_if + weight * disturbed * (q_if - to_q * p_uf)
            for_q = error * p_uf + weight * disturbed * (p_uf - to_p * q_if)
            p[u, f] += rate * (share * for_p - reg * p_uf)
            q[i, f] += rate * (share * for_q - reg * q_if)
