"""DP: fillers that a model would recommend to the fake if it recommended the targets to everybody.

Huang, Mu, Gong, Li, Liu and Xu 2021, "Data poisoning attacks to deep learning based recommender
systems" (NDSS). Fakes are made one after the other. A *poison model* is trained on the visible users,
the fakes so far and a new one that has rated the targets alone; then for a few rounds on a loss that
also wants the targets in everybody's list. The new fake's fillers are the F items of the largest

    p_i ŝ_vi

ŝ_v what the poison model predicts for the fake, and p the selection probabilities: all 1 at first, p_i
falls by a factor each time that i becomes a filler, and when all are below 1 they are 1 again.

What is different here:

- The poison model is the surrogate of the other attacks (:mod:`rvdlib.attacks.surrogate`) in place of
  a neural network. A round is one step of its item vectors down the gradient of J and one sweep of
  alternating least squares on its own loss, in place of descent on the sum of both.
- J is the smooth objective of :mod:`rvdlib.attacks.mixinf`, in place of a hinge at the last place of
  the list; it pushes hardest where a target is far from the list, and never stops.
- Theirs are probabilities of an interaction; here scores are first stretched to 0..1 over the items.
- They have no stars: fillers are rated r ~ N(μ_i, σ_i), as in the average attack.
"""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.attacks.base import attack
from rvdlib.attacks.history import History
from rvdlib.attacks.mixinf import objective
from rvdlib.attacks.profiles import assemble, filler_candidates, item_moments
from rvdlib.attacks.surrogate import ITEM, Surrogate, SurrogateConfig
from rvdlib.threat_model import ThreatModel


class DPConfig(SurrogateConfig):
    rounds: int = Field(5, ge=0, description="of poison training for each fake")
    step_size: float = Field(
        0.3,
        gt=0,
        description="how far the item vector of the largest gradient goes in a round, as a share of "
        "the vectors' root mean square length",
    )
    decay: float = Field(
        0.9, gt=0, le=1, description="of an item's selection probability when it becomes a filler"
    )
    list_length: int = Field(10, ge=1, description="place in the list that the targets shall reach")
    fakes_at_once: int = Field(
        1, ge=1, description="how many fakes take their fillers from one poison model"
    )
    sweeps: int = Field(
        5,
        ge=1,
        description="of alternating least squares for each fake; four times as many at the start",
    )


@attack(
    "DP",
    "One fake at a time: the items that a model poisoned for the targets would recommend to it "
    "(Huang et al. 2021).",
    DPConfig,
    optimises=True,
)
def dp(
    threat: ThreatModel, rng: np.random.Generator, config: DPConfig, history: History
) -> sp.csr_matrix:
    """Fillers by the predictions of a poison model, which are to differ from fake to fake.

    The history gets J in the surrogate with the fakes so far, before each model and at the end.
    """
    candidates, (means, deviations) = filler_candidates(threat), item_moments(threat)
    chances = np.ones(len(candidates))
    fillers = np.empty((threat.n_fakes, threat.filler_size), dtype=np.intp)
    stars = np.empty(fillers.shape)
    surrogate = config.train(threat, rng, 4 * config.sweeps)

    def fakes(done: int, bare: int) -> sp.csr_matrix:
        """The first ``done`` fakes, and so many that have rated the targets alone."""
        made = assemble(replace(threat, n_fakes=done), fillers[:done], stars[:done])
        begun = assemble(replace(threat, n_fakes=bare), fillers[:bare, :0], stars[:bare, :0])
        return sp.vstack([made, begun], format="csr")

    starts = range(0, threat.n_fakes if threat.filler_size else 0, config.fakes_at_once)
    for block in history.steps(len(starts), "DP"):
        done = starts[block]
        new = slice(done, min(done + config.fakes_at_once, threat.n_fakes))
        profiles = fakes(done, new.stop - done)
        surrogate = surrogate.rounded().refit(profiles, config.sweeps)
        history.record(objective(surrogate, threat, config.list_length)[0])
        model = poisoned(surrogate, profiles, threat, config)
        for fake in range(new.start, new.stop):
            scores = model.users[model.n_visible + fake] @ model.items[candidates].T
            fillers[fake] = candidates[select(scores, chances, threat.filler_size, config.decay)]
        stars[new] = rng.normal(means[fillers[new]], deviations[fillers[new]])
    if len(starts):
        surrogate = surrogate.rounded().refit(fakes(threat.n_fakes, 0), config.sweeps)
        history.record(objective(surrogate, threat, config.list_length)[0])
    return assemble(threat, fillers, stars)


def poisoned(
    surrogate: Surrogate, fakes: sp.csr_matrix, threat: ThreatModel, config: DPConfig
) -> Surrogate:
    """The surrogate of these ``fakes``, trained on so that all visible users are listed the targets."""
    for _ in range(config.rounds):
        _, _, gradient = objective(surrogate, threat, config.list_length)
        gradient, vectors = gradient[:, ITEM], surrogate.items[:, ITEM]
        length = np.sqrt((vectors**2).sum(axis=1).mean())
        steepest = np.sqrt((gradient**2).sum(axis=1).max())
        items = surrogate.items.copy()
        items[:, ITEM] -= config.step_size * length / max(steepest, 1e-30) * gradient
        surrogate = replace(surrogate, items=items).refit(fakes, 1)
    return surrogate


def select(scores: np.ndarray, chances: np.ndarray, size: int, decay: float) -> np.ndarray:
    """``size`` positions of the largest ``chances`` × stretched ``scores``, both (items,).

    Those selected have a smaller chance from then on; ``chances`` are changed in place.
    """
    scores = scores.round(6)
    lowest, highest = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    worth = (scores - lowest) / (highest - lowest) if highest > lowest else np.ones(len(scores))
    chosen = np.argsort(-worth * chances, kind="stable")[:size]
    chances[chosen] *= decay
    if (chances < 1).all():
        chances[:] = 1
    return chosen
