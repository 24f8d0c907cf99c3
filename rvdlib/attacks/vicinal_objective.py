"""What closed-form RVD would score the targets in an attacker's surrogate, and which way is up.

The surrogate (:mod:`rvdlib.attacks.surrogate`) is trained on the fakes too. There the k nearest of
each visible user are found among visible users and fakes, and the user's score for target t is corrected by
them, as a ridge regression of the target's decoder row on what they have left unexplained:

    s_ut = ŝ_ut + z_u (Zᵀ C Z + λ I)⁻¹ Zᵀ C (y_t − ŝ_t)

Z holds the neighbours' latent vectors, each with a 1 for the bias, and C = diag(c_vt); the weights c
and the goals y are those of :mod:`rvdlib.defenses.regression`. The loss is the mean, over
visible users and the targets that they have not rated, of

    log(1 + exp((τ_u − s_ut) / TEMPERATURE)),

τ_u being the defended score that is best but ``list_length`` − 1 of the items that u has not rated
and that are no targets. Who is a neighbour, and τ_u, are constants in the gradient.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import softplus

from rvdlib.attacks.surrogate import Surrogate
from rvdlib.defenses.regression import VicinalRegression
from rvdlib.neighbors import NeighborSearch
from rvdlib.threat_model import ThreatModel

TEMPERATURE = 0.05  # of ratings divided by the top of the scale
_BLOCK_USERS = 256


@dataclass(frozen=True)
class Defense:
    """What the attacker believes closed-form RVD to be; as in ``ClosedFormConfig``."""

    k: int
    distance: str
    hubness_reduction: str
    unobserved_weight: float
    proximal_weight: float
    list_length: int

    def neighbors(self, surrogate: Surrogate) -> np.ndarray:
        """Whom each visible user has as neighbours, nearest first: (visible users, k)."""
        n_users = len(surrogate.users)
        if n_users == 1:
            return np.empty((1, 0), dtype=np.intp)
        search = NeighborSearch(
            surrogate.users[:, 1:-1],
            min(self.k, n_users - 1),
            self.distance,
            hubness_reduction=self.hubness_reduction,
            ratings=surrogate.ratings,
        )
        return search(np.arange(surrogate.n_visible))


class VicinalObjective:
    """The loss of a surrogate that was trained on fakes, and its gradient by the factors."""

    def __init__(self, threat: ThreatModel, defense: Defense):
        self.defense, self.targets = defense, torch.tensor(threat.targets)
        self.rated = threat.visible.nonzero()
        self.unrated = torch.from_numpy(threat.visible[:, threat.targets].toarray() == 0)

    def value_and_gradient(self, surrogate: Surrogate) -> tuple[float, np.ndarray, np.ndarray]:
        """The loss, and ∇ of it by x, (users, d + 2), and by y, (items, d + 2)."""
        neighbors = self.defense.neighbors(surrogate)
        thresholds = torch.from_numpy(self.thresholds(surrogate, neighbors))
        users, items = (
            torch.from_numpy(factors.astype(np.float64)).requires_grad_()
            for factors in (surrogate.users, surrogate.items)
        )
        value = 0.0
        # The gradient block by block, so that memory does not grow with the users.
        for block in torch.arange(surrogate.n_visible).split(_BLOCK_USERS):
            scores = self.scores(surrogate, users, items, neighbors, block)
            lost = softplus((thresholds[block, None] - scores) / TEMPERATURE)
            loss = lost[self.unrated[block]].sum() / max(1, int(self.unrated.sum()))
            loss.backward()
            value += loss.item()
        return value, users.grad.numpy(), items.grad.numpy()

    def scores(
        self,
        surrogate: Surrogate,
        users: torch.Tensor,
        items: torch.Tensor,
        neighbors: np.ndarray,
        block: torch.Tensor,
    ) -> torch.Tensor:
        """Defended scores s (B, T) of the targets for the visible users in ``block``.

        ``users`` and ``items`` are x and y of ``surrogate``; differentiable in both.
        """
        defense, members = self.defense, torch.from_numpy(neighbors)[block]
        columns = surrogate.ratings[:, self.targets.numpy()]
        truth = torch.from_numpy(columns.toarray())[members].double()
        columns.data = np.ones_like(columns.data)
        observed = torch.from_numpy(columns.toarray())[members] > 0
        silence = users[:, 0] if not surrogate.unobserved_weight else 0 * users[:, 0]
        truth = torch.where(observed, truth, silence[members][..., None])
        rows, among, own = items[self.targets], users[members], users[block]
        weights = torch.where(observed, 1.0, defense.unobserved_weight).double()  # (B, k, T)
        residuals = truth - among @ rows.T
        latent, size = among[..., 1:], users.shape[1] - 1
        gram = torch.einsum("bkd,bkt,bke->btde", latent, weights, latent)
        pull = torch.einsum("bkd,bkt->btd", latent, weights * residuals)
        gram = gram + defense.proximal_weight * torch.eye(size)
        moved = torch.linalg.solve(gram, pull)
        return own @ rows.T + (moved @ own[:, 1:, None])[..., 0]

    def thresholds(self, surrogate: Surrogate, neighbors: np.ndarray) -> np.ndarray:
        """τ (visible users,), measured from the surrogate's baseline."""
        users, items = surrogate.users.astype(np.float64), surrogate.items.astype(np.float64)
        silence = np.zeros(len(users)) if surrogate.unobserved_weight else users[:, 0]
        regression = VicinalRegression(
            user_factors=users[:, 1:-1],
            offsets=users[:, 0],
            item_factors=items[:, 1:-1],
            item_bias=items[:, -1],
            ratings=surrogate.ratings,
            unobserved_target=silence,
            unobserved_weight=self.defense.unobserved_weight,
            proximal_weight=self.defense.proximal_weight,
        )
        scores = regression.score(np.arange(surrogate.n_visible), neighbors)
        scores[self.rated] = -np.inf
        scores[:, self.targets] = -np.inf
        kth = max(0, scores.shape[1] - self.defense.list_length)
        return np.partition(scores, kth)[:, kth]
