"""Clones drawn towards the item means: near real users, and nearer to everybody else than these.

Our own, made against neighbours. A user with strong tastes has few neighbours. Shrunk towards the
means, a clone keeps the direction of its source's taste and loses the strength, and stands among
the neighbours of all who share a little of it.
"""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.attacks.base import AttackConfig, attack
from rvdlib.attacks.clone import clone
from rvdlib.attacks.profiles import item_moments
from rvdlib.data import round_to_levels
from rvdlib.threat_model import ThreatModel


class ShrunkCloneConfig(AttackConfig):
    shrinkage: float = Field(
        0.35,
        ge=0,
        le=1,
        description="what is left of the source's deviation from the item's mean",
    )
    lowered: float = Field(
        0.25, ge=0, le=1, description="by how much after that, as a share of the scale's range"
    )


@attack(
    "shrunk clone",
    "Our own, against neighbours: a clone whose ratings are drawn towards the items' means and lowered.",
    ShrunkCloneConfig,
    knows_defense=True,
)
def shrunk_clone(
    threat: ThreatModel, rng: np.random.Generator, config: ShrunkCloneConfig
) -> sp.csr_matrix:
    """Rated μ_i + shrinkage · (r_i − μ_i) − lowered · range, r_i the source's own rating.

    The same users and items as :func:`~rvdlib.attacks.clone.clone` with the same random stream.
    """
    profiles = clone.craft(threat, rng)
    means = item_moments(threat)[0][profiles.indices]
    drop = config.lowered * threat.rating_range
    stars = round_to_levels(
        means + config.shrinkage * (profiles.data - means) - drop, threat.levels
    )
    is_target = np.isin(profiles.indices, threat.targets)
    profiles.data = np.where(is_target, profiles.data, stars).astype(np.float32)
    return profiles
