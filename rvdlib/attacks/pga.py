"""PGA: fake ratings by projected gradient ascent on what a factorisation will predict.

Li, Wang, Singh and Vorobeychik 2016, "Data poisoning attacks on factorization-based collaborative
filtering" (NeurIPS). The fakes' ratings M̃, m profiles of F fillers, maximise

    J(M̃) = mean_{u,t} M̂_ut + availability_weight · mean_{Ω^c} (M̂ − M̄)²

over the visible users u, the targets t and the cells Ω^c that visible users have not rated. M̂ is
what a surrogate (:mod:`rvdlib.attacks.surrogate`) predicts when it is trained on the visible ratings
and on M̃, and M̄ what it predicts without M̃, both in stars. One step:

    M̃ ← Proj(M̃ + s ∇J / max|∇J|), refit the surrogate

Proj is the Euclidean projection onto the budget. M̃ is measured from what an unobserved cell is taken
to be, so that 0 is no rating; a row keeps the F entries by whose loss it would move the furthest,
clipped to the scale. In the rating regime these are the F furthest from the mean, harsh verdicts as
well as top ratings; where unobserved cells count as zeros, the F largest. Targets are rated at the
top throughout. A step that does not raise J is taken back, and the next is half as long. At the end
ratings are rounded to the scale.
"""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.attacks.base import attack
from rvdlib.attacks.history import History
from rvdlib.attacks.profiles import assemble, draw_fillers, filler_candidates, global_moments
from rvdlib.attacks.surrogate import Surrogate, SurrogateConfig
from rvdlib.threat_model import ThreatModel


class PGAConfig(SurrogateConfig):
    steps: int = Field(30, ge=0, description="of gradient ascent")
    step_size: float = Field(
        0.2,
        gt=0,
        description="s, how far the entry of the largest gradient goes at first, as a share of the "
        "top rating",
    )
    availability_weight: float = Field(
        0.0, ge=0, description="of making predictions for unrated items move, whichever way"
    )
    sweeps: int = Field(
        5,
        ge=1,
        description="of alternating least squares after each step; four times as many at the start",
    )
    gradient_sweeps: int = Field(1, ge=1, description="how many sweeps the gradient looks through")


@attack(
    "PGA",
    "Ratings climb what a surrogate predicts of the targets, projected to F fillers (Li et al. 2016).",
    PGAConfig,
    optimises=True,
)
def pga(
    threat: ThreatModel, rng: np.random.Generator, config: PGAConfig, history: History
) -> sp.csr_matrix:
    """From random fillers, rated as by the random attack, ``steps`` steps of ascent.

    The history gets −J after each step.
    """
    candidates, shape = filler_candidates(threat), (threat.n_fakes, threat.filler_size)
    mean, deviation = global_moments(threat)
    fillers = draw_fillers(rng, candidates, *shape)
    stars = np.clip(rng.normal(mean, deviation, shape), threat.levels[0], threat.max_rating)

    clean = config.train(threat, rng, 4 * config.sweeps)
    objective = Objective(threat, clean, config.availability_weight)
    surrogate = clean.refit(_profiles(threat, fillers, stars), 4 * config.sweeps)
    reached = objective.value(surrogate)
    step_size = config.step_size
    for _ in history.steps(config.steps if fillers.size else 0, "PGA"):
        gradient = surrogate.rating_gradient(*objective.gradient(surrogate), config.gradient_sweeps)
        gradient = gradient[:, candidates]
        moved = np.zeros_like(gradient)
        unrated = threat.max_rating * surrogate.baseline
        np.put_along_axis(moved, np.searchsorted(candidates, fillers), stars - unrated, axis=1)
        moved += step_size * threat.max_rating * gradient / max(np.abs(gradient).max(), 1e-30)
        kept, tried = project(moved, threat.filler_size, tuple(threat.levels[[0, -1]] - unrated))
        trial = surrogate.rounded().refit(
            _profiles(threat, candidates[kept], tried + unrated), config.sweeps
        )
        value = objective.value(trial)
        if value > reached:
            surrogate, reached = trial, value
            fillers, stars = candidates[kept], tried + unrated
        else:
            step_size /= 2
        history.record(-reached)
    return assemble(threat, fillers, stars)


def project(
    moved: np.ndarray, size: int, bounds: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rows with exactly ``size`` entries, all others 0: columns and values (m, size).

    Args:
        moved: (m, n).
        bounds: lowest and highest value of a kept entry; 0 need not lie between.
    """
    clipped = np.clip(moved, *bounds)
    # What it would cost to drop an entry, less what it costs to keep it.
    gain = moved**2 - (moved - clipped) ** 2
    kept = np.argsort(-gain, axis=1, kind="stable")[:, :size]
    return kept, np.take_along_axis(clipped, kept, axis=1)


class Objective:
    """J, in stars, and its gradient by the factors of a surrogate."""

    def __init__(self, threat: ThreatModel, clean: Surrogate, availability_weight: float):
        self.targets, self.weight = threat.targets, availability_weight
        if self.weight:
            self.clean = clean.scores()
            self.unrated = threat.visible.toarray() == 0
            self.weight /= max(1, int(np.count_nonzero(self.unrated)))

    def value(self, surrogate: Surrogate) -> float:
        value = surrogate.mean_score(self.targets)
        if self.weight:
            value += self.weight * float((self._shift(surrogate) ** 2).sum())
        return value

    def gradient(self, surrogate: Surrogate) -> tuple[np.ndarray, np.ndarray]:
        """∇J by x, (users, d + 2), and by y, (items, d + 2)."""
        by_user, by_item = surrogate.mean_score_gradient(self.targets)
        if self.weight:
            visible = slice(surrogate.n_visible)
            shift = 2 * self.weight * surrogate.max_rating * self._shift(surrogate)
            by_user[visible] += shift @ surrogate.items
            by_item += shift.T @ surrogate.users[visible]
        return by_user, by_item

    def _shift(self, surrogate: Surrogate) -> np.ndarray:
        """M̂ − M̄ in the cells of Ω^c, zero elsewhere."""
        return (surrogate.scores() - self.clean) * self.unrated


def _profiles(threat: ThreatModel, fillers: np.ndarray, stars: np.ndarray) -> sp.csr_matrix:
    """As :func:`rvdlib.attacks.profiles.assemble` has them, but not yet rounded."""
    dense = np.zeros((threat.n_fakes, threat.n_items))
    dense[:, threat.targets] = threat.max_rating
    np.put_along_axis(dense, fillers, stars, axis=1)
    return sp.csr_matrix(dense)
