"""The classical heuristics: random, average, bandwagon and segment attack.

Lam and Riedl 2004 (random, average); Mobasher, Burke, Bhaumik and Williams 2007 (bandwagon,
segment). Each returns m profiles of the targets at the top rating and of exactly F fillers, drawn
from all items that are not targets; popular and segment items count as fillers.
"""

from itertools import combinations

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.attacks.base import AttackConfig, attack
from rvdlib.attacks.profiles import (
    assemble,
    by_popularity,
    draw_fillers,
    filler_candidates,
    global_moments,
    item_moments,
)
from rvdlib.threat_model import ThreatModel


@attack("random", "Fillers at random, rated by the mean and deviation of all ratings.")
def random(threat: ThreatModel, rng: np.random.Generator, config: AttackConfig) -> sp.csr_matrix:
    """Random fillers rated r ~ N(μ, σ), the moments of all visible ratings."""
    mean, deviation = global_moments(threat)
    fillers = draw_fillers(rng, filler_candidates(threat), threat.n_fakes, threat.filler_size)
    return assemble(threat, fillers, rng.normal(mean, deviation, size=fillers.shape))


@attack("average", "Fillers at random, each rated by its own mean and deviation.")
def average(threat: ThreatModel, rng: np.random.Generator, config: AttackConfig) -> sp.csr_matrix:
    """Random fillers rated r ~ N(μ_i, σ_i), the moments of the item's own visible ratings.

    Where an item's mean or standard deviation is undefined, the global one stands in.
    """
    means, deviations = item_moments(threat)
    fillers = draw_fillers(rng, filler_candidates(threat), threat.n_fakes, threat.filler_size)
    return assemble(threat, fillers, rng.normal(means[fillers], deviations[fillers]))


class BandwagonConfig(AttackConfig):
    n_popular: int = Field(
        11, ge=1, description="how many of the F fillers are popular items; all if F is smaller"
    )


@attack(
    "bandwagon", "The most popular items at the top rating, the rest as random.", BandwagonConfig
)
def bandwagon(
    threat: ThreatModel, rng: np.random.Generator, config: BandwagonConfig
) -> sp.csr_matrix:
    """The most popular items at the top rating, the other fillers as in :func:`random`."""
    ranked = by_popularity(threat)
    mean, deviation = global_moments(threat)
    popular, others = np.split(ranked, [min(config.n_popular, threat.filler_size)])
    fillers = draw_fillers(rng, others, threat.n_fakes, threat.filler_size - len(popular))
    stars = rng.normal(mean, deviation, size=fillers.shape)
    return _with_selected(threat, popular, fillers, stars)


class SegmentConfig(AttackConfig):
    segment_size: int = Field(3, ge=1, description="|S|; all of the F fillers if F is smaller")
    pool_size: int = Field(20, ge=1, description="of how many most popular items S is chosen")


@attack(
    "segment",
    "Items liked together by users who may like the target, at the top; the rest at the bottom.",
    SegmentConfig,
)
def segment(threat: ThreatModel, rng: np.random.Generator, config: SegmentConfig) -> sp.csr_matrix:
    """A set S of co-liked items at the top rating, the other fillers at the lowest.

    S is the set of ``segment_size`` items among the ``pool_size`` most popular ones that has the
    largest audience: visible users who like all of S and have rated no target. Published code asks
    for an audience of 30 users at least; the largest one needs no such constant and so scales to
    whatever share of the users is visible. Ties, and data where nobody likes anything, fall to
    the more popular items. A user likes items rated at least three quarters of the scale's
    range (4 of 1..5).

    Raises:
        ValueError: if ``pool_size`` is below ``segment_size``.
    """
    if config.pool_size < config.segment_size:
        raise ValueError(f"pool_size must be at least segment_size ({config.segment_size})")
    ranked = by_popularity(threat)
    pool = ranked[: config.pool_size]
    low, high = float(threat.levels[0]), threat.max_rating
    liked = threat.visible.copy()
    liked.data = (liked.data >= low + 0.75 * (high - low)).astype(np.float32)
    rated = threat.visible.copy()
    rated.data = np.ones_like(rated.data)
    without_target = rated[:, threat.targets].sum(axis=1).A1 == 0
    likes = liked[:, pool].toarray()[without_target] > 0
    size = min(config.segment_size, threat.filler_size)
    best = max(
        combinations(range(len(pool)), size),
        key=lambda chosen: np.count_nonzero(likes[:, chosen].all(axis=1)),
    )
    selected = pool[list(best)]
    others = np.setdiff1d(ranked, selected)
    fillers = draw_fillers(rng, others, threat.n_fakes, threat.filler_size - size)
    return _with_selected(threat, selected, fillers, np.full(fillers.shape, low))


def _with_selected(
    threat: ThreatModel, selected: np.ndarray, fillers: np.ndarray, stars: np.ndarray
) -> sp.csr_matrix:
    """Assemble with the same ``selected`` items at the top rating in every profile."""
    selected = np.broadcast_to(selected, (threat.n_fakes, len(selected)))
    return assemble(
        threat,
        np.hstack([selected, fillers]),
        np.hstack([np.full(selected.shape, threat.max_rating), stars]),
    )
