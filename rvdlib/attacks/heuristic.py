"""The classical heuristics: random, average, bandwagon and segment attack.

Lam and Riedl 2004 (random, average); Mobasher, Burke, Bhaumik and Williams 2007 (bandwagon,
segment). Each returns m profiles of the targets at the top rating and of exactly F fillers, drawn
from all items that are not targets; popular and segment items count as fillers.
"""

from itertools import combinations

import numpy as np
import scipy.sparse as sp

from rvdlib.attacks.options import check_counts
from rvdlib.attacks.profiles import (
    assemble,
    by_popularity,
    draw_fillers,
    filler_candidates,
    global_moments,
    item_moments,
)
from rvdlib.threat_model import ThreatModel


def random(threat: ThreatModel, rng: np.random.Generator) -> sp.csr_matrix:
    """Random fillers rated r ~ N(μ, σ), the moments of all visible ratings."""
    mean, deviation = global_moments(threat)
    fillers = draw_fillers(rng, filler_candidates(threat), threat.n_fakes, threat.filler_size)
    return assemble(threat, fillers, rng.normal(mean, deviation, size=fillers.shape))


def average(threat: ThreatModel, rng: np.random.Generator) -> sp.csr_matrix:
    """Random fillers rated r ~ N(μ_i, σ_i), the moments of the item's own visible ratings.

    Where an item's mean or standard deviation is undefined, the global one stands in.
    """
    means, deviations = item_moments(threat)
    fillers = draw_fillers(rng, filler_candidates(threat), threat.n_fakes, threat.filler_size)
    return assemble(threat, fillers, rng.normal(means[fillers], deviations[fillers]))


def bandwagon(
    threat: ThreatModel, rng: np.random.Generator, *, n_popular: int = 11
) -> sp.csr_matrix:
    """The most popular items at the top rating, the other fillers as in :func:`random`.

    Args:
        n_popular: how many of the F fillers are popular items; all of them if F is smaller.
    """
    check_counts(1, n_popular=n_popular)
    ranked = by_popularity(threat)
    mean, deviation = global_moments(threat)
    popular, others = np.split(ranked, [min(n_popular, threat.filler_size)])
    fillers = draw_fillers(rng, others, threat.n_fakes, threat.filler_size - len(popular))
    stars = rng.normal(mean, deviation, size=fillers.shape)
    return _with_selected(threat, popular, fillers, stars)


def segment(
    threat: ThreatModel, rng: np.random.Generator, *, segment_size: int = 3, pool_size: int = 20
) -> sp.csr_matrix:
    """A set S of co-liked items at the top rating, the other fillers at the lowest.

    S is the set of ``segment_size`` items among the ``pool_size`` most popular ones that has the
    largest audience: visible users who like all of S and have rated no target. Published code asks
    for an audience of 30 users at least; the largest one needs no such constant and so scales to
    whatever share of the users is visible. Ties, and data where nobody likes anything, fall to
    the more popular items. A user likes items rated at least three quarters of the scale's
    range (4 of 1..5).

    Args:
        segment_size: |S|; all of the F fillers if F is smaller.
        pool_size: of how many of the most popular items S is chosen.
    """
    check_counts(1, segment_size=segment_size, pool_size=pool_size)
    if pool_size < segment_size:
        raise ValueError(f"pool_size must be at least segment_size ({segment_size})")
    ranked = by_popularity(threat)
    pool = ranked[:pool_size]
    low, high = float(threat.levels[0]), threat.max_rating
    liked = threat.visible.copy()
    liked.data = (liked.data >= low + 0.75 * (high - low)).astype(np.float32)
    rated = threat.visible.copy()
    rated.data = np.ones_like(rated.data)
    without_target = rated[:, threat.targets].sum(axis=1).A1 == 0
    likes = liked[:, pool].toarray()[without_target] > 0
    size = min(segment_size, threat.filler_size)
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
