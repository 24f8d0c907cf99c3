"""AUSH: real profiles in which a generative adversarial network rates a few selected items.

Lin et al. 2020, "Attacking recommender systems with augmented user profiles" (CIKM). A fake starts
from a template, a real user, of whose ratings some are kept: f. A generator G reads f and rates the
selected items S, by which it addresses the users who know S; a discriminator D tells the outcome
from the template. With s the template's own ratings of S and top the highest rating:

    L_D = −log D(f, s) − log(1 − D(f, G(f)))
    L_G = −log D(f, G(f)) + (1/|S|) Σ_S (G(f) − top)² + Σ_S w (G(f) − s)² + reg ‖G‖²

The last three are the shilling loss, the reconstruction loss and weight decay. w is 1 where the
template has rated the item of S; where not, s is 0, and w is 1 with probability ``zero_share``.
Neither network sees a target. Network sizes and constants are those of the authors' program, for a
scale that ends at 5: others are stretched to that. D judges S and the kept ratings alone, since a
template left whole would be known by its length.

The budget is exactly F fillers, and S counts among them: F − |S| ratings of the template are kept.
G's ratings are rounded to the scale, too, which the original omits. The networks are in float64,
and their weights are rounded after each epoch, so that the fakes come out the same on every machine.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field, SkipValidation
from torch.nn.functional import softplus

from rvdlib.arguments import as_indices
from rvdlib.attacks.base import AttackConfig, attack
from rvdlib.attacks.history import History
from rvdlib.attacks.profiles import assemble, by_popularity, templates
from rvdlib.models.fitting import normal
from rvdlib.threat_model import ThreatModel

TOP = 5.0


class AUSHConfig(AttackConfig):
    selected: SkipValidation[Sequence[int] | None] = Field(
        None,
        description="S by item index, or if F is smaller the first F of it (a list of whole "
        "numbers); null: as n_selected and pool_size say",
    )
    n_selected: int = Field(3, ge=1, description="how many items S has, where selected names none")
    pool_size: int = Field(20, ge=1, description="of how many most popular items S is chosen")
    epochs: int = Field(150, ge=1, description="of training the generator and the discriminator")
    batch_size: int = Field(64, ge=1, description="templates in one step of training")
    generator_rate: float = Field(0.01, ge=0, description="learning rate of the generator's Adam")
    discriminator_rate: float = Field(
        1e-4, ge=0, description="learning rate of the discriminator's Adam"
    )
    zero_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="how often a rating that the template lacks counts as 0 in the reconstruction "
        "loss",
    )
    reg: float = Field(1e-4, ge=0, description="weight decay of the generator")


@attack(
    "AUSH",
    "A real user's ratings; a generative adversarial network rates three popular items among them "
    "(Lin et al. 2020).",
    AUSHConfig,
    optimises=True,
)
def aush(
    threat: ThreatModel, rng: np.random.Generator, config: AUSHConfig, history: History
) -> sp.csr_matrix:
    """F − |S| random ratings of a random template, S as the trained generator rates it.

    Templates are drawn among :func:`rvdlib.attacks.profiles.templates`, each once as long as there
    are enough of them. The history gets, epoch by epoch, the shilling plus the reconstruction loss:
    what of L_G does not depend on how good the discriminator is by then.

    Raises:
        ValueError: if ``selected`` are not distinct items other than the targets, or ``n_selected``
            is above ``pool_size``.
    """
    selected = config.selected
    if selected is None:
        selected = select_items(threat, config.n_selected, config.pool_size)
    selected = as_indices("selected", selected, threat.n_items, of="items", distinct=True)
    if np.isin(selected, threat.targets).any():
        raise ValueError(f"selected must be no targets, got {selected.tolist()}")
    selected = selected[: threat.filler_size]
    n_kept = threat.filler_size - len(selected)

    rows = templates(threat, threat.filler_size)
    own = rows[:, selected].toarray().astype(float) * (TOP / threat.max_rating)
    rows.data[np.isin(rows.indices, selected)] = 0
    rows.eliminate_zeros()
    rates = config.generator_rate, config.discriminator_rate
    gan = GAN(threat.n_items, selected, rng, rates=rates, reg=config.reg)
    for _ in history.steps(config.epochs if len(selected) else 0, "AUSH"):
        order = rng.permutation(len(own))
        total = 0.0
        for batch in np.split(order, range(config.batch_size, len(order), config.batch_size)):
            weight = (own[batch] > 0) | (
                rng.random((len(batch), len(selected))) < config.zero_share
            )
            kept = _dense(*keep(rows[batch], n_kept, rng), threat)
            total += len(batch) * gan.step(kept, own[batch], weight)
        history.record(total / len(order))
        gan.round()

    chosen = rng.choice(len(own), threat.n_fakes, replace=len(own) < threat.n_fakes)
    items, stars = keep(rows[chosen], n_kept, rng)
    with torch.no_grad():
        rated = gan.rate(_dense(items, stars, threat)).numpy() * (threat.max_rating / TOP)
    return assemble(
        threat,
        np.hstack([items, np.broadcast_to(selected, rated.shape)]),
        np.hstack([stars, rated]),
    )


def select_items(threat: ThreatModel, n_selected: int, pool_size: int) -> np.ndarray:
    """S: of the ``pool_size`` most popular items those most often rated beside a target.

    Counted are the visible users who have rated a target. Ties, such as between all items where
    nobody is seen to have rated a target, go to the more popular item.

    Raises:
        ValueError: unless 1 ≤ ``n_selected`` ≤ ``pool_size``.
    """
    if not 1 <= n_selected <= pool_size:
        raise ValueError(f"n_selected must be between 1 and pool_size ({pool_size})")
    pool = by_popularity(threat)[:pool_size]
    raters = np.diff(threat.visible[:, threat.targets].indptr) > 0
    counts = np.bincount(threat.visible[raters].indices, minlength=threat.n_items)
    return pool[np.argsort(-counts[pool], kind="stable")][:n_selected]


def keep(rows: sp.csr_matrix, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """``size`` random ratings of each row, which has that many: items and stars, both (rows, size)."""
    owners = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    order = np.lexsort([rng.random(rows.nnz), owners])
    kept = order[np.arange(rows.nnz) - rows.indptr[owners] < size].reshape(rows.shape[0], size)
    return rows.indices[kept], rows.data[kept]


def _dense(items: np.ndarray, stars: np.ndarray, threat: ThreatModel) -> torch.Tensor:
    """(B, items) on a scale that ends at TOP."""
    dense = torch.zeros(len(items), threat.n_items, dtype=torch.float64)
    scaled = torch.from_numpy(stars * (TOP / threat.max_rating)).double()
    return dense.scatter_(1, torch.from_numpy(items.astype(np.int64)), scaled)


class GAN:
    """The generator and the discriminator, multi-layer perceptrons of sigmoids, trained by Adam."""

    def __init__(
        self,
        n_items: int,
        selected: np.ndarray,
        rng: np.random.Generator,
        *,
        rates: tuple[float, float],
        reg: float,
    ):
        self.selected = torch.from_numpy(selected)
        self.reg = reg
        self.generator = _perceptron(rng, n_items, 400, 133, 44, len(selected))
        self.discriminator = _perceptron(rng, n_items, 150, 150, 150, 1)
        networks = self.generator, self.discriminator
        self.generator_optimizer, self.discriminator_optimizer = (
            torch.optim.Adam(network, lr=rate, fused=True)
            for network, rate in zip(networks, rates, strict=True)
        )

    def rate(self, kept: torch.Tensor) -> torch.Tensor:
        """G(f): ratings of S (B, |S|), 0 to TOP, from kept ratings (B, items)."""
        return TOP * torch.sigmoid(_output(self.generator, kept))

    def judge(self, kept: torch.Tensor, ratings: torch.Tensor) -> torch.Tensor:
        """Logit of D (B, 1) on kept ratings (B, items) and ratings of S (B, |S|)."""
        return _output(self.discriminator, kept.index_add(1, self.selected, ratings))

    def round(self) -> None:
        """Weights of five decimals: see :meth:`rvdlib.attacks.surrogate.Surrogate.rounded`."""
        with torch.no_grad():
            for value in self.generator + self.discriminator:
                value.round_(decimals=5)

    def step(self, kept: torch.Tensor, own: np.ndarray, weight: np.ndarray) -> float:
        """One step of D, one of G; shilling plus reconstruction loss before it, a mean over B.

        Args:
            kept: (B, items) f.
            own: (B, |S|) s.
            weight: (B, |S|) w.
        """
        own, weight = torch.from_numpy(own), torch.from_numpy(weight)
        rated = self.rate(kept)
        # D alone must not move G; G's own loss, further down, must.
        genuine, fake = self.judge(kept, own), self.judge(kept, rated.detach())
        loss = (softplus(-genuine) + softplus(fake)).mean()
        _descend(loss, self.discriminator, self.discriminator_optimizer)

        shilling = ((rated - TOP) ** 2).mean()
        reconstruction = (weight * (rated - own) ** 2).sum(1).mean()
        decay = self.reg * sum((value**2).sum() for value in self.generator)
        loss = softplus(-self.judge(kept, rated)).mean() + shilling + reconstruction + decay
        _descend(loss, self.generator, self.generator_optimizer)
        return (shilling + reconstruction).item()


def _descend(
    loss: torch.Tensor, network: list[torch.Tensor], optimizer: torch.optim.Optimizer
) -> None:
    optimizer.zero_grad()
    loss.backward(inputs=network)
    optimizer.step()


def _perceptron(rng: np.random.Generator, *sizes: int) -> list[torch.Tensor]:
    """Weights and biases in turn, after Glorot and Bengio 2010."""
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        weight = normal(rng, fan_in, fan_out, std=(2 / (fan_in + fan_out)) ** 0.5).double()
        layers += [weight.requires_grad_(), weight.new_zeros(fan_out, requires_grad=True)]
    return layers


def _output(network: list[torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    *hidden, weight, bias = network
    for w, b in zip(hidden[::2], hidden[1::2], strict=True):
        inputs = torch.sigmoid(torch.addmm(b, inputs, w))
    return torch.addmm(bias, inputs, weight)
