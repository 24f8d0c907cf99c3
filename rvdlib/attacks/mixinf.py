"""MixInf: mixtures of real profiles, those of the greatest influence on a surrogate.

Wu, Lian, Ge, Zhu and Chen 2023, "Influence-driven data poisoning for robust recommender systems"
(IEEE TPAMI 45(10); they call it Infmix). Candidates are mixed of two real profiles (Usermix),

    x = p x_a + (1 − p) x_b + ε,    p ~ Beta(½, ½),    ε ~ U(−0.01, 0.01) top

and rounded to the scale; below half of its lowest value there is no rating. What a candidate is
worth is told without training on it. With ŝ the scores, in stars, of a surrogate trained on the
visible users and on one fake, the probe, and i_u the tenth unrated item in user u's list, the
attacker wants a low

    J = −(1/n) Σ_u Σ_t log σ(ŝ_ut − ŝ_u,i_u)

over the n visible users and, for each, the targets that the user has not rated. Let φ_j = −dJ/dr_j be the
influence of the probe's rating of item j, the surrogate following to its new optimum
(:mod:`rvdlib.attacks.surrogate`), and ω its weight of an unobserved cell. To first order, it lowers J
by φ_j (x_j − (1 − ω) ŝ_j) if a rating x_j takes the place of the probe's unobserved cell, so that a
profile x is worth

    Σ_j φ_j (x_j − (1 − ω) ŝ_j)    over the items that it rates

The authors sum φ_j x_j. Retraining says that the residual is needed if ω is small: nothing can be
learnt from a rating that was expected. Three probes, mixtures themselves, each give a φ, divided by
its largest magnitude, and a worth; these are added. Of 100 candidates for every fake, the one that is
worth most is kept.

The budget is exactly F fillers, to which the authors do not hold themselves. A random F of a
candidate's ratings stay, and candidates compete as they would be submitted. To keep those of most
influence instead looks better and attacks worse: the fakes become copies of each other, and reach
the same few users. Should a mixture of two profiles with F ratings have fewer, random items fill it
up at their visible mean.
"""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from scipy.special import expit, log_expit

from rvdlib.attacks.base import attack
from rvdlib.attacks.history import History
from rvdlib.attacks.profiles import assemble, filler_candidates, item_moments, templates
from rvdlib.attacks.surrogate import Surrogate, SurrogateConfig
from rvdlib.data import round_to_levels
from rvdlib.threat_model import ThreatModel

GRADIENT_SWEEPS = 5  # more change φ, but not which profiles it prefers


class MixInfConfig(SurrogateConfig):
    n_candidates: int = Field(100, ge=1, description="mixtures of which the best becomes a fake")
    n_probes: int = Field(3, ge=1, description="fakes by which influence is measured")
    list_length: int = Field(10, ge=1, description="place in the list that the targets shall reach")
    sweeps: int = Field(
        30, ge=1, description="of alternating least squares, before the probes and with each"
    )


@attack(
    "MixInf",
    "Mixtures of two real users; of a hundred, the one with most influence on a surrogate "
    "(Wu et al. 2023).",
    MixInfConfig,
    optimises=True,
)
def mixinf(
    threat: ThreatModel, rng: np.random.Generator, config: MixInfConfig, history: History
) -> sp.csr_matrix:
    """The mixtures of greatest influence, plus the targets at the top rating.

    The history gets, fake by fake, what the kept candidate is worth, negated.
    """
    surrogate = config.train(threat, rng, config.sweeps)
    size = threat.filler_size
    items = filler_candidates(threat)
    rows = templates(threat, size)[:, items].toarray()
    means = round_to_levels(item_moments(threat)[0][items], threat.levels)

    chosen, stars = within_budget(
        usermix(rows, config.n_probes, threat.levels, rng), means, size, rng
    )
    slope, offset = np.zeros(threat.n_items), np.zeros(threat.n_items)
    for probe in assemble(replace(threat, n_fakes=config.n_probes), items[chosen], stars):
        phi, expected = influence(surrogate.refit(probe, config.sweeps), threat, config.list_length)
        phi = phi / max(np.abs(phi).max(), 1e-30)
        slope += phi
        offset += phi * expected

    fillers = np.empty((threat.n_fakes, size), dtype=np.intp)
    ratings = np.empty((threat.n_fakes, size))
    for fake in history.steps(threat.n_fakes, "MixInf"):
        candidates = usermix(rows, config.n_candidates, threat.levels, rng)
        chosen, stars = within_budget(candidates, means, size, rng)
        chosen = items[chosen]
        worth = (slope[chosen] * stars - offset[chosen]).sum(axis=1)
        best = worth.argmax()
        fillers[fake], ratings[fake] = chosen[best], stars[best]
        history.record(-worth[best])
    return assemble(threat, fillers, ratings)


def usermix(
    rows: np.ndarray, n_mixtures: int, levels: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(mixtures, items) stars of random pairs of ``rows`` (users, items), 0 where there is none."""
    a, b = rows[rng.integers(len(rows), size=(2, n_mixtures))]
    share = rng.beta(0.5, 0.5, size=(n_mixtures, 1))
    noise = rng.uniform(-0.01, 0.01, size=a.shape) * levels[-1]
    return round_to_levels(share * a + (1 - share) * b + noise, np.append(np.float32(0), levels))


def within_budget(
    candidates: np.ndarray, means: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """``size`` random ratings of each of the candidates (B, items): positions and stars (B, size).

    If it has fewer, all of them, and random other items at their ``means`` (items,).
    """
    chosen = np.lexsort([rng.random(candidates.shape), candidates == 0])[:, :size]
    return chosen, np.take_along_axis(np.where(candidates > 0, candidates, means), chosen, axis=1)


def influence(
    surrogate: Surrogate, threat: ThreatModel, list_length: int, sweeps: int = GRADIENT_SWEEPS
) -> tuple[np.ndarray, np.ndarray]:
    """Of the one fake that the surrogate was trained on: φ (items,), and (1 − ω) ŝ (items,) in stars.

    φ is per unit of a rating divided by the top of the scale.
    """
    _, by_user, by_item = objective(surrogate, threat, list_length)
    scores = surrogate.baseline + surrogate.users[-1] @ surrogate.items.T
    expected = (1 - surrogate.unobserved_weight) * surrogate.max_rating * scores
    return -surrogate.rating_gradient(by_user, by_item, sweeps)[0], expected


def objective(
    surrogate: Surrogate, threat: ThreatModel, list_length: int
) -> tuple[float, np.ndarray, np.ndarray]:
    """J, and its gradients by the surrogate's users and items, in their shapes."""
    scores = surrogate.scores()
    n_users, n_items = scores.shape
    rated, everyone = threat.visible.toarray() > 0, np.arange(n_users)
    place = min(list_length, n_items) - 1
    last = np.argpartition(np.where(rated, np.inf, -scores), place, axis=1)[:, place]
    margins = scores[:, threat.targets] - scores[everyone, last][:, None]
    # A user with fewer unrated items than the list is long has the target in it anyway.
    counted = ~rated[:, threat.targets] & ~rated[everyone, last][:, None]
    pull = expit(-margins) * counted * (surrogate.max_rating / n_users)
    by_score = np.zeros_like(scores)
    by_score[everyone, last] = pull.sum(axis=1)
    by_score[:, threat.targets] -= pull
    users = np.zeros_like(surrogate.users)
    users[:n_users] = by_score @ surrogate.items
    value = -(log_expit(margins) * counted).sum() / n_users
    return float(value), users, by_score.T @ surrogate.users[:n_users]
