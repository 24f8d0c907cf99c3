"""Adversarial poisoning training (APT): the defender's own fakes, made to lower the training loss.

Wu et al. 2021, "Fight Fire with Fire: Towards Robust Recommender Systems via Adversarial Poisoning
Training" (SIGIR). From epoch ``start`` on, and again after every ``every`` epochs, a few further users
are trained on whom nobody serves. Each rates items drawn with probability ∝ exp(−temperature · I_i /
|min I|), a little above their mean; I_i, positive ones as 0, is the influence that one such rating of
item i has on the loss J of the training rows. What real fakes have added is to be outweighed by what
serves the rest.

The paper estimates I by LiSSA. The decoder of our victims is linear, so with the user side held fixed
it is exact: with h̃ = (h, 1) and w̃_i = (w_i, b_i), and D the regulariser's weight,

    A_i = Σ_u c_ui h̃_u h̃_uᵀ + D,    I_i = ∇_i J · A_i⁻¹ h̃' (r' − (1 − ω) s'),

summed over the users of shortest h, who stand for a user of whom little is known; r' is the rating.
"""

import copy

import numba
import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field

from rvdlib.defenses.protocol import Choices, Defense
from rvdlib.defenses.simulated_profiles import item_moments, profiles
from rvdlib.defenses.training import Epochs, best_epoch, observed_scores, trained_by
from rvdlib.models import Victim
from rvdlib.models.base import Parameters

RATERS = 10  # users of shortest h, of whom the influence is asked
DAMPING = 1e-6  # of A, where nothing else makes it regular


class AdversarialPoisoningTrainingConfig(Choices):
    """The choices. Unknown names are refused."""

    users: float = Field(0.05, gt=0, le=1, description="added, a share of the users")
    items: float = Field(0.2, gt=0, le=1, description="that each of them rates, of the catalogue")
    raised: float = Field(0.2, allow_inf_nan=False, description="stars above an item's mean")
    temperature: float = Field(
        20, ge=0, description="how much more often items of influence are drawn"
    )
    start: int = Field(5, ge=0, description="epochs before the first are added")
    every: int = Field(2, ge=1, description="epochs after which they are drawn again")


class AdversarialPoisoningTraining(Defense):
    """The victim, trained on its rows and on the defender's, who are gone when it serves."""

    Config = AdversarialPoisoningTrainingConfig
    config: AdversarialPoisoningTrainingConfig

    def fit(self, victim, train, validation, levels, rng):
        return trained_by(self._train, victim, train, validation, levels, rng)

    def _train(self, victim, validation, rng):
        choices = self.config
        n_added = max(1, round(choices.users * victim.train.shape[0]))
        nobody = sp.csr_matrix((n_added, victim.train.shape[1]), dtype=np.float32)
        epochs = Epochs(with_users(victim, victim, nobody), rng)
        places = epochs.victim
        stars = victim.train * np.float32(victim.max_rating)
        means, deviations = item_moments(stars, victim.levels)

        def epoch():
            since = epochs.done - choices.start
            if since < 0:
                return epochs(victim.train)
            if since % choices.every == 0:
                raised = (means + choices.raised) / victim.max_rating
                effect = influence(victim, epochs.parameters, raised)
                items = draw_items(effect, n_added, choices.items, choices.temperature, rng)
                rated = rng.normal(means[items] + choices.raised, deviations[items])
                rows = profiles(items, rated, victim.levels, victim.train.shape[1])
                rows.data /= victim.max_rating
                epochs.victim = with_users(victim, places, rows)
            return epochs()

        best, error = best_epoch(victim, validation, epoch, first=choices.start + choices.every)
        shapes = victim.parameter_shapes()  # of the users who stay
        return {name: best[name][: shape[0]].clone() for name, shape in shapes.items()}, error


def with_users(victim: Victim, places: Victim, rows: sp.csr_matrix) -> Victim:
    """A copy that is trained on further ``rows`` too; of the others the encoder reads what it did.

    Args:
        places: what it is a copy of; the victim itself at first, to make places for the rows.
    """
    other, n_users = copy.copy(places), victim.train.shape[0]
    other.train = sp.vstack([victim.train, rows], format="csr", dtype=np.float32)
    reader = other if places is victim else copy.copy(other)
    reader.prepare()
    if "inputs" in vars(victim):
        inputs = [victim.inputs, reader.inputs[n_users:]]
        other.inputs = sp.vstack(inputs, format="csr", dtype=np.float32)
    return other


def draw_items(
    effect: np.ndarray, n_users: int, share: float, temperature: float, rng: np.random.Generator
) -> np.ndarray:
    """(n_users, share of the items) item indices, none twice in a row, by their influence (items,)."""
    lowest = -min(effect.min(), -1e-300)
    logits = -temperature * np.minimum(effect, 0) / lowest
    size = max(1, round(share * len(effect)))
    keys = logits + rng.gumbel(size=(n_users, len(effect)))
    return np.argsort(-keys, axis=1, kind="stable")[:, :size]


def influence(victim: Victim, parameters: Parameters, ratings: np.ndarray) -> np.ndarray:
    """I (items,): to first order, what J gains by one more rating of each item.

    Args:
        parameters: of the victim's users, or of more.
        ratings: (items,) r' that it would get, divided by the top of the scale.
    """
    train, omega = victim.train, victim.loss.unobserved_weight
    users = np.arange(train.shape[0])
    with torch.no_grad():
        offset, factors = (each.double().numpy() for each in victim.encode(parameters, users))
        weights = parameters["item_factors"].double().numpy()
        bias = parameters["item_bias"].double().numpy()
    if "item_bias" not in victim.constants:
        factors = np.hstack([factors, np.ones((len(users), 1))])
        weights = np.hstack([weights, bias[:, None]])
    scores = observed_scores(victim, parameters).astype(np.float64)
    errors = sp.csr_matrix(((1 - omega) * scores - train.data, *_pattern(train)), shape=train.shape)
    gram = omega * (factors.T @ factors)
    by_item, everywhere = errors.tocsc(), weights @ gram
    steps = _steps(
        by_item.indptr,
        by_item.indices,
        by_item.data,
        factors,
        gram,
        everywhere,
        1 - omega,
        _decays(victim, parameters) + DAMPING,
    )
    shortest = np.argsort((factors**2).sum(axis=1), kind="stable")[:RATERS]
    expected = offset[shortest, None] + factors[shortest] @ weights.T
    return 2 * ((factors[shortest] @ steps.T) * (ratings - (1 - omega) * expected)).sum(axis=0)


def _pattern(rows):
    return rows.indices, rows.indptr


def _decays(victim: Victim, parameters: Parameters) -> np.ndarray:
    """D (items,) of the loss as a sum over users."""
    reader, users = copy.copy(victim), np.arange(victim.train.shape[0])
    reader.parameters = dict(parameters)
    decay = reader.regularizer_weights(users, victim.loss)["item_factors"]
    return np.full(victim.train.shape[1], len(users) * np.ravel(decay).astype(np.float64))


@numba.njit(cache=True, fastmath=True)
def _steps(indptr, indices, errors, factors, gram, everywhere, rest, decays):
    """(items, d): A_i⁻¹ ∇_i J / 2."""
    steps = np.empty_like(everywhere)
    for item in range(len(indptr) - 1):
        first, last = indptr[item], indptr[item + 1]
        chosen = factors[indices[first:last]]
        matrix = gram + rest * (chosen.T @ chosen)
        for f in range(len(gram)):
            matrix[f, f] += decays[item]
        slope = everywhere[item] + chosen.T @ errors[first:last]
        steps[item] = np.linalg.solve(matrix, slope)
    return steps
