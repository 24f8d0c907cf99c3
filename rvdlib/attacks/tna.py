"""TNA: which items a fake should rate so that lists change, one fake at a time.

Fang, Gong and Liu 2020, "Influence function based data poisoning attacks to top-N recommender
systems" (WWW). A new fake v gets weights w ∈ [0, 1] over the items that minimise

    G(w) = mean_{u,t,i} g(ŝ_ui − ŝ_ut) + l1_weight · ‖w‖₁ / F,    g(x) = 1 / (1 + e^{−x/width})

over the users u of a set U, the targets t that u has not rated, and the items i of Γ_u, the
``list_length`` best of a surrogate (:mod:`rvdlib.attacks.surrogate`) among those that are neither
rated by u nor targets. g is close to the 0 or 1 of "i ranks above t". The F items of the largest
weights become v's fillers, rated r ~ N(μ_i, σ_i); v joins the data, and the surrogate is refitted
before the next one. U-TNA: U is all visible users. S-TNA: the most influential ones.

**How the surrogate answers to w.** Item i is rated μ_i with weight w_i and unrated with the rest,
targets are rated at the top with weight 1. With real users held fixed, both sides of v's cells are
ridge regressions, x_v over all items at their former factors, then each item with v as one more row,

    x_v = argmin Σ_i [w_i (r_i − ŝ_vi)² + (1 − w_i) ω ŝ_vi²] + reg n_v ‖x_v‖²
    y_i = ỹ_i + P_i x_v (w_i r_i − c_i x_v · ỹ_i) / (1 + c_i x_v · P_i x_v),    c_i = w_i + (1 − w_i) ω

(the latter by Sherman and Morrison, with the intercepts of x_v and y_i as the surrogate has them).
P_i = (A_i + reg)⁻¹ counts v as a rater in every item's regulariser, and ỹ_i is y_i under it. In the
paper w_i are the ratings themselves, so that ∂y_i/∂w_i = P_i x_v, and all are cells that v rates:
weight 0 is then the harshest verdict there is, not silence, and the attack did no better than
ratings of random items. Weights start at F in sum, as many as will be rated.

**Influence.** S is grown one user at a time by what the predictions of the targets would lose if its
users left (:meth:`rvdlib.attacks.surrogate.Surrogate.removal_effect`). To first order the losses
add, so greedy growth takes the users in the order of their own.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field

from rvdlib.attacks.base import attack
from rvdlib.attacks.history import History
from rvdlib.attacks.profiles import assemble, filler_candidates, item_moments
from rvdlib.attacks.surrogate import ITEM, USER, Surrogate, SurrogateConfig
from rvdlib.threat_model import ThreatModel

# Of training, that the removal of a user is followed through: from the user's items to other users, and
# from them to the targets.
INFLUENCE_SWEEPS = 3


class UTNAConfig(SurrogateConfig):
    influential_share: float = Field(1.0, gt=0, le=1, description="U, as a share of visible users")
    list_length: int = Field(
        50, ge=1, description="of Γ_u, or less for a user who has fewer unrated items"
    )
    width: float = Field(0.1, gt=0, description="of g, in shares of the top rating")
    l1_weight: float = Field(0.01, ge=0, description="of the fake's number of ratings in G")
    steps: int = Field(10, ge=0, description="of projected gradient descent on w for each fake")
    step_size: float = Field(
        0.2, gt=0, description="how far the weight of the largest gradient goes in one step"
    )
    sweeps: int = Field(
        1,
        ge=1,
        description="of alternating least squares after each fake; twenty times as many at first",
    )


class STNAConfig(UTNAConfig):
    influential_share: float = Field(0.4, gt=0, le=1, description="U, as a share of visible users")


@attack(
    "U-TNA",
    "One fake at a time: the fillers that let the targets pass what a surrogate lists for all users "
    "(Fang et al. 2020).",
    UTNAConfig,
    optimises=True,
)
def u_tna(
    threat: ThreatModel, rng: np.random.Generator, config: UTNAConfig, history: History
) -> sp.csr_matrix:
    """U-TNA, or with ``influential_share`` below 1 S-TNA.

    The history gets, fake by fake, the ranking term of G after the surrogate has been refitted with
    the fake as it is, rounded and within its budget.
    """
    surrogate = config.train(threat, rng, 20 * config.sweeps)
    chosen = influential_users(surrogate, threat.targets, config.influential_share)
    candidates, size = filler_candidates(threat), threat.filler_size
    means, deviations = item_moments(threat)
    fillers = np.empty((threat.n_fakes, size), dtype=np.intp)
    stars = np.empty((threat.n_fakes, size))
    lists = Lists.of(surrogate, threat, chosen, config.list_length)
    for fake in history.steps(threat.n_fakes if size else 0, "TNA"):
        answer = Answer(surrogate, threat, lists.shown, means)

        def objective(weights, lists=lists, answer=answer):
            ranking = lists.loss(answer.item_vectors(weights), config.width)
            return ranking + config.l1_weight * weights.sum() / size

        start = np.full(threat.n_items, size / len(candidates))
        weights = descend(objective, start, threat.targets, config.steps, config.step_size)
        order = rng.permutation(candidates)
        # Items that nobody is seen to have rated are equal but for rounding: chance decides, not that.
        fillers[fake] = order[np.argsort(-weights[order].round(9), kind="stable")][:size]
        stars[fake] = rng.normal(means[fillers[fake]], deviations[fillers[fake]])
        made = replace(threat, n_fakes=fake + 1)
        fakes = assemble(made, fillers[: fake + 1], stars[: fake + 1])
        surrogate = surrogate.rounded().refit(fakes, config.sweeps)
        lists = Lists.of(surrogate, threat, chosen, config.list_length)
        history.record(
            lists.loss(torch.from_numpy(surrogate.items[lists.shown]), config.width).item()
        )
    return assemble(threat, fillers, stars)


s_tna = replace(
    u_tna,
    name="s_tna",
    label="S-TNA",
    summary="As U-TNA, for the most influential users (Fang et al. 2020).",
    Config=STNAConfig,
)


def influential_users(surrogate: Surrogate, targets: np.ndarray, share: float) -> np.ndarray:
    """The visible users without whom the mean predicted target would fall the most, in row order."""
    size = max(1, round(share * surrogate.n_visible))
    gradient = surrogate.mean_score_gradient(targets)
    effect = surrogate.removal_effect(*gradient, INFLUENCE_SWEEPS)
    return np.sort(np.argsort(effect, kind="stable")[:size])


def descend(objective, start, targets, steps, step_size) -> np.ndarray:
    """Projected gradient descent on weights (items,) in [0, 1]; those of the targets stay 1."""
    weights, targets = torch.from_numpy(start), torch.from_numpy(targets.astype(np.int64))
    weights[targets] = 1
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(objective(weights.requires_grad_()), weights)
        gradient[targets] = 0
        step = step_size * gradient / gradient.abs().max().clamp(min=1e-30)
        weights = (weights.detach() - step).clamp(0, 1)
    return weights.numpy()


@dataclass(frozen=True, eq=False)
class Lists:
    """Γ_u of the users in U, and which of their pairs count.

    Attributes:
        users: (B, d + 2) x_u.
        shown: (S,) the items that stand in a list, and the targets.
        listed: (B, N) the positions of Γ_u in ``shown``.
        targets: (T,) the positions of the targets in ``shown``.
        counted: (B, N, T) whether item n may rank against target t: u has rated neither.
    """

    users: torch.Tensor
    shown: np.ndarray
    listed: torch.Tensor
    targets: torch.Tensor
    counted: torch.Tensor

    @classmethod
    def of(cls, surrogate: Surrogate, threat: ThreatModel, users: np.ndarray, length: int):
        scores = surrogate.scores()[users].round(9)
        rated = threat.visible[users].toarray() > 0
        scores[rated] = -np.inf
        scores[:, threat.targets] = -np.inf
        length = min(length, threat.n_items - len(threat.targets))
        best = np.argpartition(-scores, max(length - 1, 0), axis=1)[:, :length]
        shown = np.union1d(best, threat.targets)
        counted = np.isfinite(np.take_along_axis(scores, best, axis=1))[:, :, None]
        return cls(
            torch.from_numpy(surrogate.users[users]),
            shown,
            torch.from_numpy(np.searchsorted(shown, best)),
            torch.from_numpy(np.searchsorted(shown, threat.targets)),
            torch.from_numpy(counted & ~rated[:, None, threat.targets]),
        )

    def loss(self, items: torch.Tensor, width: float) -> torch.Tensor:
        """The ranking term of G for vectors (S, d + 2) of the items shown."""
        scores = self.users @ items.T
        ahead = scores.gather(1, self.listed)[:, :, None] - scores[:, None, self.targets]
        losses = torch.sigmoid(ahead / width) * self.counted
        return losses.sum() / self.counted.sum().clamp(min=1)


class Answer:
    """What the surrogate makes of one more fake, as a differentiable function of its weights w."""

    def __init__(self, surrogate: Surrogate, threat: ThreatModel, shown: np.ndarray, means):
        self.omega, self.reg = surrogate.unobserved_weight, surrogate.reg
        self.items = torch.from_numpy(surrogate.items)
        ratings = means / surrogate.max_rating - surrogate.baseline
        ratings[threat.targets] = 1 - surrogate.baseline
        self.ratings = torch.from_numpy(ratings).to(self.items.dtype)
        self.shown = torch.from_numpy(shown)
        matrices = torch.from_numpy(surrogate.item_matrices(shown))
        ridge = self.reg * (1 + self.omega) * torch.eye(matrices.shape[1], dtype=matrices.dtype)
        self.inverses = torch.linalg.inv(matrices + ridge)
        self.held = self.items[self.shown].clone()
        sums = torch.einsum("sij,sj->si", matrices, self.held[:, ITEM])
        self.held[:, ITEM] = torch.einsum("sij,sj->si", self.inverses, sums)

    def user_vector(self, weights: torch.Tensor) -> torch.Tensor:
        """x_v (d + 2,) for weights (items,)."""
        known, bias = self.items[:, USER], self.items[:, -1]
        cell = weights + (1 - weights) * self.omega
        count = weights.sum() + self.omega * len(weights)
        ridge = self.reg * count * torch.eye(known.shape[1], dtype=known.dtype)
        matrix = (known.T * cell) @ known + ridge
        solved = torch.linalg.solve(matrix, known.T @ (weights * self.ratings - cell * bias))
        return torch.cat([solved, solved.new_ones(1)])

    def item_vectors(self, weights: torch.Tensor) -> torch.Tensor:
        """y_i (S, d + 2) of the items shown."""
        weights = weights.to(self.items.dtype)
        user = self.user_vector(weights)
        weights = weights[self.shown]
        cell = weights + (1 - weights) * self.omega
        reach = self.inverses @ user[ITEM]
        residual = weights * self.ratings[self.shown] - cell * (self.held @ user)
        step = residual / (1 + cell * (reach @ user[ITEM]))
        return torch.cat([self.held[:, :1], self.held[:, ITEM] + reach * step[:, None]], dim=1)
