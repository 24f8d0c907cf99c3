"""Fakes beside the hubs of those who rated little. Our own, made against neighbours.

What a light user is served hangs on the vicinity more than on the few ratings of that user's own. So
the attacker looks at light users alone, the share ``quantile`` of the visible ones with the fewest
ratings. He trains a surrogate of the victim (:mod:`rvdlib.attacks.surrogate`), finds the k nearest of
each light user among the others there, and clones those whose clones enter most of these lists, in
greedy cover (:func:`rvdlib.attacks.sources.cover`). Of each source there are ``copies``, against a
quorum as many as it asks for, and so as many sources as the fakes suffice for. A clone keeps F random
ratings of its source, ``raised``: that they are higher, not lower as in the vicinity attack
(:mod:`rvdlib.attacks.vicinity`), was found by trial.

Sources are looked for among light users with F + copies − 1 ratings at least, if there are any, so
that copies differ; where a source has fewer than F, random items fill up, at their visible mean: the
attack wants a ``filler_size`` that light users have.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.attacks.base import attack
from rvdlib.attacks.profiles import assemble
from rvdlib.attacks.sources import cover, long_enough
from rvdlib.attacks.surrogate import SurrogateConfig
from rvdlib.attacks.vicinity import clone_sources, neighbors_in
from rvdlib.threat_model import ThreatModel


class LightHubsConfig(SurrogateConfig):
    k: int = Field(
        12, ge=1, description="how many neighbours the attacker believes the defence to take"
    )
    distance: Literal["euclidean", "cosine", "inner_product", "profile_overlap"] = Field(
        "euclidean", description="of the neighbours, as the attacker believes"
    )
    hubness_reduction: Literal["none", "local_scaling", "mutual"] = Field(
        "none", description="of the neighbours, as the attacker believes"
    )
    quantile: float = Field(
        0.45, gt=0, le=1, description="which share of the visible users is light"
    )
    copies: int = Field(
        4,
        ge=1,
        description="clones of each source; as many as the quorum that the attacker believes the "
        "defence to ask for",
    )
    raised: float = Field(
        0.25,
        ge=-1,
        le=1,
        description="by how much, as a share of the scale's range; below 0: lowered",
    )
    sweeps: int = Field(20, ge=1, description="of alternating least squares")


@attack(
    "light hubs",
    "Our own, against neighbours: raised clones of users with short profiles who stand in the "
    "neighbourhoods of the most such users.",
    LightHubsConfig,
    knows_defense=True,
)
def light_hubs(
    threat: ThreatModel, rng: np.random.Generator, config: LightHubsConfig
) -> sp.csr_matrix:
    """Raised clones of light users, ``copies`` of each, in many lists of light users."""
    surrogate = config.train(threat, rng, config.sweeps)
    light = lightest(threat.visible, config.quantile)
    among = replace(
        surrogate,
        ratings=surrogate.ratings[light],
        n_visible=len(light),
        users=surrogate.users[light],
    )
    neighbors = neighbors_in(among, config.k, config.distance, config.hubness_reduction)
    enough = long_enough(
        replace(threat, visible=threat.visible[light]), threat.filler_size + config.copies - 1
    )
    hubs = light[cover(neighbors, enough, -(-threat.n_fakes // config.copies))]
    sources = np.resize(np.repeat(hubs, config.copies), threat.n_fakes)
    rise = config.raised * threat.rating_range
    return assemble(threat, *clone_sources(threat, rng, sources, -rise))


def lightest(visible: sp.csr_matrix, quantile: float) -> np.ndarray:
    """Rows of this share of the users, (users, items), those with the fewest ratings, ties included."""
    lengths = visible.getnnz(axis=1)
    return np.flatnonzero(lengths <= np.quantile(lengths, quantile))
