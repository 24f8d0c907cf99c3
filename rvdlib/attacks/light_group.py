"""One profile for all fakes, of what users with short profiles share. Our own, made against overlap.

Who rated little has few neighbours with much in common, and a target enters such a list easily. All
fakes rate the same F items, those of the most raters in a group of light visible users: all the light
ones, or the ``size`` most alike. Overlap ignores stars: ``level`` matters to learned vectors alone.
"""

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from sklearn.neighbors import NearestNeighbors

from rvdlib.attacks.base import AttackConfig, attack
from rvdlib.attacks.groups import most_rated, tally
from rvdlib.attacks.light_hubs import lightest
from rvdlib.attacks.profiles import assemble
from rvdlib.threat_model import ThreatModel

SMOOTHING = 10  # ratings, added to an item's visible ones


class LightGroupConfig(AttackConfig):
    quantile: float = Field(
        0.5, gt=0, le=1, description="which share of the visible users is light"
    )
    size: int | None = Field(
        None, ge=2, description="users in the group; unset, or above their number: all light ones"
    )
    power: float = Field(
        0.0, ge=0, description="how much an item's visible popularity counts against it"
    )
    level: float = Field(
        0.0, ge=0, le=1, description="rating of the fillers, from 0, the lowest, to 1, the highest"
    )


@attack(
    "light group",
    "Our own, against profile overlap: one profile for all fakes, of the items that users with short "
    "profiles share.",
    LightGroupConfig,
    knows_defense=True,
)
def light_group(
    threat: ThreatModel, rng: np.random.Generator, config: LightGroupConfig
) -> sp.csr_matrix:
    """The F items of most raters in the group over (n + 10)^power, n visible ratings."""
    members = lightest(threat.visible, config.quantile)
    popularity = np.bincount(threat.visible.indices, minlength=threat.n_items)
    if config.size and config.size < len(members):
        members = _most_alike(threat, members, popularity, config.size)
    counts, _ = tally(threat, members)
    shared = counts / (popularity + SMOOTHING) ** config.power
    items = most_rated(threat, shared, rng)[: threat.filler_size]
    fillers = np.tile(items, (threat.n_fakes, 1))
    stars = threat.levels[0] + config.level * threat.rating_range
    return assemble(threat, fillers, np.full(fillers.shape, stars))


def _most_alike(
    threat: ThreatModel, members: np.ndarray, popularity: np.ndarray, size: int
) -> np.ndarray:
    """The (size,) of ``members`` who are nearest, on average, to one of them.

    By cosine of the items rated, each weighted by 1/√(n + 1), so that what everybody rated counts less.
    """
    weights = 1 / np.sqrt(popularity + 1)
    weights[threat.targets] = 0
    rows = threat.visible[members].astype(np.float64)
    rows.data = weights[rows.indices]
    nearest = NearestNeighbors(n_neighbors=size, metric="cosine", algorithm="brute").fit(rows)
    distances, lists = nearest.kneighbors(rows)
    return members[lists[np.argmin(distances.mean(axis=1))]]
