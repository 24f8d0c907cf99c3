"""RevAdv: fake users improved by the gradient through the training of a surrogate.

Tang, Wen and Wang 2020, "Revisiting adversarially learned injection attacks against recommender
systems" (RecSys). A bilevel problem: choose the fakes X so that a surrogate θ, trained on them,
favours the targets,

    min_X J(θ*(X)),    θ*(X) = argmin_θ L(θ; visible ratings and X)

by the gradient of J through that training (:mod:`rvdlib.attacks.surrogate`: through
``gradient_sweeps`` of its alternating least squares, where the paper unrolls the last epochs of
SGD).

**Objective.** The paper has the mean of −log softmax_t(ŝ_u), in which users count the more the
further a target is from their list. Here a list of K items is what counts,

    J = mean_{u,t} σ((τ_u − ŝ_ut) / width)

over the visible users u and the targets t that u has not rated. τ_u is the K-th best score among the
items that u has not rated and that are no targets, so that J is close to the share of lists that a
target misses.

**Users not seen.** The fakes are meant for a service with more users than are visible. Trained on
the visible users alone, the surrogate would see too large a share of fakes, and promise hits that a
victim does not deliver: each visible user stands in its data ``copies`` times.

**Step.** In the paper a cell of X is 0 or 1. With stars, let a cell of fake v be rated y with weight
c and be silent with the rest, of loss ½ c (y − ŝ)² + ½ (1 − c) ω ŝ². To first order a rating y takes

    dJ/dc = g y − h,    g = dJ/dy if c = 1

from J (:meth:`rvdlib.attacks.surrogate.Surrogate.presence_gradient`). In each fake the k fillers that
lower J the least are given up, and in their place come the k cells that lower it the most, each at
that end of the scale where it does so; a filler given up may come back with another rating. Thus
all profiles on the way are such as could be submitted. An exchange that does not lower J of the
surrogate, refitted, is taken back, and k is halved. The paper descends with momentum on a relaxed X
and cuts off at a threshold, with nothing to say whether what is left still lowers J.
"""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from scipy.special import expit

from rvdlib.attacks.base import attack
from rvdlib.attacks.heuristic import segment
from rvdlib.attacks.history import History
from rvdlib.attacks.profiles import assemble
from rvdlib.attacks.surrogate import Surrogate, SurrogateConfig
from rvdlib.threat_model import ThreatModel


class RevAdvConfig(SurrogateConfig):
    steps: int = Field(30, ge=1, description="exchanges of fillers, at most")
    exchanged_share: float = Field(0.1, gt=0, le=1, description="k at first, as a share of F")
    list_length: int = Field(
        50, ge=1, description="K, or less for a user who has fewer unrated items"
    )
    width: float = Field(0.03, gt=0, description="of σ, in shares of the top rating")
    copies: int = Field(3, ge=1, description="how many users each visible one stands for")
    sweeps: int = Field(
        2,
        ge=1,
        description="of alternating least squares after each step; ten times as many at the start",
    )
    gradient_sweeps: int = Field(
        4, ge=1, description="how many sweeps of training the gradient looks through"
    )


@attack(
    "RevAdv",
    "Segment fakes whose fillers are exchanged by the gradient of the targets' ranking through a "
    "surrogate's training, after Tang et al. 2020, who start from real profiles and relax the ratings.",
    RevAdvConfig,
    optimises=True,
)
def revadv(
    threat: ThreatModel, rng: np.random.Generator, config: RevAdvConfig, history: History
) -> sp.csr_matrix:
    """From the profiles of the segment attack, up to ``steps`` exchanges of fillers.

    The history gets J after each step. It ends early where not even the exchange of a single filler
    in each fake lowers J.
    """
    whole = replace(threat, visible=sp.vstack([threat.visible] * config.copies, format="csr"))
    clean = config.train(whole, rng, 10 * config.sweeps)
    fakes, size = segment.craft(threat, rng), threat.filler_size
    surrogate = clean.refit(fakes, 10 * config.sweeps)
    objective = Objective(whole, config.list_length, config.width)
    reached, by_user, by_item = objective(surrogate)
    worth = surrogate.presence_gradient(by_user, by_item, config.gradient_sweeps)
    n_exchanged = max(1, round(config.exchanged_share * size))
    for _ in history.steps(config.steps if threat.n_fakes and size else 0, "RevAdv"):
        tried = exchange(threat, fakes, *worth, surrogate.baseline, n_exchanged)
        trial = surrogate.rounded().refit(tried, config.sweeps)
        value, by_user, by_item = objective(trial)
        stuck = value >= reached
        if not stuck:
            fakes, surrogate, reached = tried, trial, value
            worth = surrogate.presence_gradient(by_user, by_item, config.gradient_sweeps)
        history.record(reached)
        if stuck and n_exchanged == 1:
            break
        if stuck:
            n_exchanged //= 2
    return fakes


def exchange(
    threat: ThreatModel,
    fakes: sp.csr_matrix,
    slope: np.ndarray,
    offset: np.ndarray,
    baseline: float,
    n_exchanged: int,
) -> sp.csr_matrix:
    """The fakes with ``n_exchanged`` fillers of each replaced, by the first order.

    Args:
        slope, offset: (m, items) g and h, of ratings divided by the top of the scale, less
            ``baseline``.
    """
    filling, shape = ~np.isin(fakes.indices, threat.targets), (threat.n_fakes, threat.filler_size)
    fillers, stars = fakes.indices[filling].reshape(shape), fakes.data[filling].reshape(shape)

    def of(matrix, items):
        return np.take_along_axis(matrix, items, axis=1)

    def effect(stars, slope, offset):
        return slope * (stars / threat.max_rating - baseline) - offset

    best = np.where(slope < 0, *threat.levels[[-1, 0]])
    effects = effect(best, slope, offset)
    effects[:, threat.targets] = np.inf
    present, renewed = effect(stars, of(slope, fillers), of(offset, fillers)), of(effects, fillers)
    silent = effects.copy()
    np.put_along_axis(silent, fillers, np.inf, axis=1)
    replaced = np.partition(silent, n_exchanged - 1, axis=1)[:, n_exchanged - 1 : n_exchanged]
    gain = present - np.minimum(renewed, replaced)
    kept = np.argsort(gain, axis=1, kind="stable")[:, : threat.filler_size - n_exchanged]
    fillers, stars = of(fillers, kept), of(stars, kept)
    np.put_along_axis(effects, fillers, np.inf, axis=1)
    added = np.argsort(effects, axis=1, kind="stable")[:, :n_exchanged]
    return assemble(threat, np.hstack([fillers, added]), np.hstack([stars, of(best, added)]))


class Objective:
    """J of a surrogate, and its gradient by the factors."""

    def __init__(self, threat: ThreatModel, list_length: int, width: float):
        self.rated, self.targets = threat.visible.toarray() > 0, threat.targets
        self.out_of_list = self.rated.copy()
        self.out_of_list[:, threat.targets] = True
        self.list_length, self.width = list_length, width

    def __call__(self, surrogate: Surrogate) -> tuple[float, np.ndarray, np.ndarray]:
        """J; ∇J by x, (users, d + 2), and by y, (items, d + 2)."""
        scores = surrogate.scores() / surrogate.max_rating
        n_users, n_items = scores.shape
        everyone = np.arange(n_users)
        ranked = np.where(self.out_of_list, np.inf, -scores)
        place = min(self.list_length, n_items) - 1
        last = np.argpartition(ranked, place, axis=1)[:, place]
        # Whoever has fewer items left than the list is long has the target in it anyway.
        full = np.isfinite(ranked[everyone, last])
        counted = ~self.rated[:, self.targets] & full[:, None]
        total = max(1, int(np.count_nonzero(counted)))
        behind = scores[everyone, last][:, None] - scores[:, self.targets]
        missed = expit(behind / self.width) * counted
        pull = missed * (1 - missed) / (self.width * total)
        by_score = np.zeros_like(scores)
        by_score[everyone, last] = pull.sum(axis=1)
        by_score[:, self.targets] -= pull
        users = np.zeros_like(surrogate.users)
        users[:n_users] = by_score @ surrogate.items
        return float(missed.sum() / total), users, by_score.T @ surrogate.users[:n_users]
