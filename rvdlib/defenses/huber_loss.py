"""Robust loss: a rating that lies far from what is expected of it counts by its sign alone.

    ρ(e) = e² where |e| ≤ c,  2c|e| − c² beyond        c = 1.345 · 1.4826 · median |e|

(Huber 1964; of factorisations Mehta, Hofmann and Nejdl 2007, "Robust collaborative filtering"). c
follows the residuals e of the observed cells, after each epoch; 1.4826 median |e| is the standard
deviation of normal ones, among which 1.345 keeps 95 % of the efficiency.

Any victim can descend ρ as it descends e²: if each epoch learns s + clip(y − s, ±c) in place of the
ratings y, with the scores s before it, then least squares are a step of majorisation (the modified
residuals of Huber and Dutter 1974), and where training comes to rest, ρ does. Unobserved cells keep
their square.
"""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.defenses.protocol import Choices, Defense
from rvdlib.defenses.training import Epochs, best_epoch, observed_scores, trained_by
from rvdlib.models import Victim
from rvdlib.models.base import Parameters

NORMAL = 1.4826  # standard deviation by median |e|, of normal residuals


class HuberLossConfig(Choices):
    """The choice. Unknown names are refused."""

    threshold: float = Field(1.345, gt=0, description="c, in standard deviations of the residuals")


class HuberLoss(Defense):
    """The victim, trained on ρ in place of the square."""

    Config = HuberLossConfig
    config: HuberLossConfig

    def fit(self, victim, train, validation, levels, rng):
        return trained_by(self._train, victim, train, validation, levels, rng)

    def _train(self, victim, validation, rng):
        epochs, threshold = Epochs(victim, rng), self.config.threshold
        return best_epoch(
            victim, validation, lambda: epochs(believed(victim, epochs.parameters, threshold))
        )


def believed(victim: Victim, parameters: Parameters, threshold: float) -> sp.csr_matrix:
    """``victim.train`` (users, items) with each rating moved to within c of its score."""
    scores = observed_scores(victim, parameters)
    residuals = victim.train.data - scores
    far = threshold * NORMAL * np.median(np.abs(residuals))
    rows = victim.train.copy()
    outside = np.abs(residuals) > far
    rows.data[outside] = scores[outside] + far * np.sign(residuals[outside])
    return rows
