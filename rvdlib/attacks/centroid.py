"""The mean profiles of small groups of neighbours. Our own, made against neighbours.

A factorisation places the mean of a group's profiles near the mean of the group's vectors, which is
nearer to each member than the members are to each other. The attacker trains a surrogate of the
victim (:mod:`rvdlib.attacks.surrogate`) on the users that he sees; a group is one of them and the
nearest there, and the first of each group are chosen so that the groups reach most users (greedy
cover, :mod:`rvdlib.attacks.sources`). Fakes are dealt out evenly; those of a group are nearly
the same: they differ by how a mean between two levels of the scale is rounded, and where items tie.
"""

from typing import Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.attacks.base import attack
from rvdlib.attacks.groups import most_rated, tally
from rvdlib.attacks.profiles import assemble
from rvdlib.attacks.sources import cover
from rvdlib.attacks.surrogate import SurrogateConfig
from rvdlib.attacks.vicinity import neighbors_in
from rvdlib.threat_model import ThreatModel


class CentroidConfig(SurrogateConfig):
    group_size: int = Field(
        20, ge=2, description="users in a group; all if fewer are visible; 2 to 60 are of use"
    )
    n_groups: int = Field(7, ge=1, description="over which the fakes are dealt out")
    distance: Literal["euclidean", "cosine", "inner_product", "profile_overlap"] = Field(
        "euclidean", description="of the neighbours, as the attacker believes"
    )
    hubness_reduction: Literal["none", "local_scaling", "mutual"] = Field(
        "none", description="of the neighbours, as the attacker believes"
    )
    lowered: float = Field(
        0.0,
        ge=0,
        le=1,
        description="by how much below the group's mean, as a share of the scale's range",
    )
    sweeps: int = Field(20, ge=1, description="of alternating least squares")


@attack(
    "centroid",
    "Our own, against neighbours: what most of a group of neighbours rated, at the group's means.",
    CentroidConfig,
    knows_defense=True,
)
def centroid(
    threat: ThreatModel, rng: np.random.Generator, config: CentroidConfig
) -> sp.csr_matrix:
    """The F items that most of a group rated, at the group's mean; ties to the more popular."""
    surrogate = config.train(threat, rng, config.sweeps)
    neighbors = neighbors_in(
        surrogate, config.group_size - 1, config.distance, config.hubness_reduction
    )
    first = cover(neighbors, np.arange(len(neighbors)), config.n_groups)
    groups = [tally(threat, [user, *neighbors[user]]) for user in first]
    drop = config.lowered * threat.rating_range
    items = np.empty((threat.n_fakes, threat.filler_size), dtype=np.intp)
    stars = np.empty(items.shape)
    for fake in range(threat.n_fakes):
        counts, means = groups[fake % len(groups)]
        items[fake] = most_rated(threat, counts, rng)[: threat.filler_size]
        stars[fake] = rounded_at_random(means[items[fake]] - drop, threat.levels, rng)
    return assemble(threat, items, stars)


def rounded_at_random(
    stars: np.ndarray, levels: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One of the two levels beside each of ``stars``, so that the mean over many draws is kept."""
    positions = np.interp(stars, levels, np.arange(len(levels)))
    return levels[np.floor(positions + rng.random(positions.shape)).astype(np.intp)]
