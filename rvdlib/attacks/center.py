"""Fakes in the middle of everybody, near whom many vicinities are. Our own, made against neighbours.

Popular items at their mean say nothing of a taste of one's own, so that a factorisation places such
a fake near the centre of the latent space; the noise keeps the fakes apart. The centre is meant to
be near many users. Below the mean, ratings make the targets stand out.
"""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.attacks.base import AttackConfig, attack
from rvdlib.attacks.profiles import assemble, filler_candidates, item_moments
from rvdlib.threat_model import ThreatModel


class CenterConfig(AttackConfig):
    lowered: float = Field(
        0.25,
        ge=0,
        le=1,
        description="by how much below the item's mean, as a share of the scale's range",
    )
    noise: float = Field(
        0.1, ge=0, description="standard deviation of a rating, as a share of the scale's range"
    )


@attack(
    "center",
    "Our own, against neighbours: popular items below their means, which lie amid all users.",
    CenterConfig,
    knows_defense=True,
)
def center(threat: ThreatModel, rng: np.random.Generator, config: CenterConfig) -> sp.csr_matrix:
    """Fillers drawn by popularity, rated r ~ N(μ_i − lowered · range, noise · range)."""
    candidates, (means, _) = filler_candidates(threat), item_moments(threat)
    counts = np.bincount(threat.visible.indices, minlength=threat.n_items)[candidates]
    fillers = np.empty((threat.n_fakes, threat.filler_size), dtype=np.intp)
    for fake in range(threat.n_fakes):
        fillers[fake] = candidates[by_weight(rng, counts)[: threat.filler_size]]
    spread = threat.rating_range
    stars = rng.normal(means[fillers] - config.lowered * spread, config.noise * spread)
    return assemble(threat, fillers, stars)


def by_weight(rng: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """All positions, drawn one after the other, each time in proportion to the ``weights`` left.

    Those without weight come last. (The first of exponential clocks of these rates to ring is any one
    of them in proportion to its rate, and clocks forget.)
    """
    return np.argsort(rng.exponential(size=len(weights)) / np.maximum(weights, 1e-9))
