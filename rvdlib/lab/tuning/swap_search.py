"""Better fakes without a gradient: exchange fillers, and keep what helps.

Whoever can measure the system that is attacked can refine the fakes of any attack on it. The search
asks nothing of the objective, which may be a victim trained anew behind a defence. If it beats an
attack that follows a gradient, that gradient was masked (Carlini et al. 2019).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from rvdlib.attacks.profiles import assemble, check_profiles, filler_candidates
from rvdlib.threat_model import ThreatModel

ITEMS, STARS, BOTH = range(3)  # what an exchange changes


def swap_fillers(
    profiles: sp.csr_matrix,
    threat: ThreatModel,
    rng: np.random.Generator,
    objective: Callable[[sp.csr_matrix], float],
    steps: int,
    fakes_at_once: int = 1,
) -> tuple[sp.csr_matrix, list[float]]:
    """Profiles that are at least as good, of the same budget: targets, F fillers, scale.

    A step takes random fakes, and of each one a random number of fillers, few as often as many. They
    become other items, or get other stars, or both. Unless the objective rises, all is taken back.

    Args:
        profiles: (any number, items) CSR of stars, of the threat model's budget.
        objective: of profiles of this shape; higher is better for the attacker. It is asked once for
            these profiles and once a step.
        fakes_at_once: how many fakes a step takes.

    Returns:
        The profiles, and the best objective so far: at the start, and after each step.

    Raises:
        ValueError: if profiles break the budget, ``fakes_at_once`` is not between 1 and their
            number, ``steps`` is negative, or the objective is no number.
    """
    check_profiles(threat, profiles)
    n_fakes, size = profiles.shape[0], threat.filler_size
    if not 1 <= fakes_at_once <= n_fakes:
        raise ValueError(f"fakes_at_once must be between 1 and {n_fakes}, got {fakes_at_once}")
    if steps < 0:
        raise ValueError(f"steps must not be negative, got {steps}")
    budget, candidates = replace(threat, n_fakes=n_fakes), filler_candidates(threat)
    dense = profiles.toarray()[:, candidates]
    items = candidates[np.nonzero(dense)[1]].reshape(n_fakes, size)
    stars = dense[dense > 0].reshape(n_fakes, size)
    best = assemble(budget, items, stars)
    history = [_measured(objective, best)]
    for _ in range(steps):
        tried_items, tried_stars = items.copy(), stars.copy()
        for fake in rng.choice(n_fakes, fakes_at_once, replace=False):
            _exchange(rng, tried_items[fake], tried_stars[fake], candidates, threat.levels)
        tried = assemble(budget, tried_items, tried_stars)
        value = _measured(objective, tried)
        if value > history[-1]:
            items, stars, best = tried_items, tried_stars, tried
        history.append(max(value, history[-1]))
    return best, history


def _exchange(
    rng: np.random.Generator,
    items: np.ndarray,
    stars: np.ndarray,
    candidates: np.ndarray,
    levels: np.ndarray,
) -> None:
    """Change some of one fake's fillers (F,), in place."""
    kind, n = rng.integers(3), int(len(items) ** rng.random()) if len(items) else 0
    places = rng.permutation(len(items))[:n]
    if kind != STARS:
        others = rng.permutation(np.setdiff1d(candidates, items))[:n]
        items[places[: len(others)]] = others
    if kind != ITEMS:
        stars[places] = rng.choice(levels, n)


def _measured(objective: Callable[[sp.csr_matrix], float], profiles: sp.csr_matrix) -> float:
    value = float(objective(profiles))
    if np.isnan(value):
        raise ValueError("the objective must be a number, got nan")
    return value
