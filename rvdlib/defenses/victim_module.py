"""A victim of this library as a torch module, for the form of RVD that takes anybody's.

Its encoder is read from :data:`rvdlib.defenses.engine.ENCODERS`. The products of
:mod:`rvdlib.models.sparse_ops` cannot be mapped by ``torch.func.vmap``, so profiles, targets and
weights are dense buffers: up to 3 × users × items numbers.
"""

import numpy as np
import torch

from rvdlib.defenses.engine import ENCODERS
from rvdlib.models.base import DECODER, Victim, decode


class VictimModule(torch.nn.Module):
    """A copy of a trained victim, its parameters by their names; ``forward`` scores in stars.

    ``row_loss`` is ℓ_v = Σ_i c_vi (y_vi − s_vi)², of which the victim's ``objective`` is the mean.

    Args:
        unobserved_weight: ω in [0, 1] of the loss; 0 is the paper's.

    Raises:
        ValueError: for a victim whose encoder is not described, or a weight out of range.
    """

    def __init__(self, victim: Victim, unobserved_weight: float = 0.0):
        if type(victim) not in ENCODERS:
            raise ValueError(
                f"the encoder of {type(victim).__name__} is not described: do so in "
                "rvdlib.defenses.engine.ENCODERS, or write a torch.nn.Module with latent, row_loss "
                "and forward, see rvdlib.defenses.functional"
            )
        if not 0 <= unobserved_weight <= 1:
            raise ValueError(f"unobserved_weight must be between 0 and 1, got {unobserved_weight}")
        super().__init__()
        self.encoder, self.max_rating = ENCODERS[type(victim)], victim.max_rating
        for name, value in victim.parameters.items():
            self.register_parameter(name, torch.nn.Parameter(value.clone()))
        pattern = victim.train.copy()
        pattern.data = np.ones_like(pattern.data)
        observed = torch.from_numpy(pattern.toarray()) > 0
        ratings = torch.from_numpy(victim.train.toarray())
        silence = victim.unobserved_target(np.arange(len(ratings)))[:, None]
        offset = torch.from_numpy(self.encoder.constants(victim)).to(silence.dtype)
        self.register_buffer("target", torch.where(observed, ratings, silence))
        self.register_buffer("weight", torch.where(observed, 1.0, unobserved_weight))
        self.register_buffer("offset", offset)
        if self.encoder.profile_factors:
            self.register_buffer("inputs", torch.from_numpy(victim.inputs.toarray()))

    def latent(self, users: torch.Tensor) -> torch.Tensor:
        of, terms = self.encoder, []
        if of.profile_factors:
            terms.append(self.inputs[users] @ getattr(self, of.profile_factors))
        if of.own_factors:
            terms.append(getattr(self, of.own_factors)[users])
        if of.hidden_bias:
            terms.append(getattr(self, of.hidden_bias))
        return torch.sigmoid(sum(terms)) if of.sigmoid else sum(terms)

    def row_loss(self, users: torch.Tensor) -> torch.Tensor:
        return (self.weight[users] * (self.target[users] - self._scaled(users)) ** 2).sum(1)

    def forward(self, users: torch.Tensor) -> torch.Tensor:
        return self._scaled(users) * self.max_rating

    def _scaled(self, users: torch.Tensor) -> torch.Tensor:
        offset = self.offset[users]
        if self.encoder.user_bias in self._parameters:  # the ranking regime has none
            offset = offset + getattr(self, self.encoder.user_bias)[users]
        return decode({name: getattr(self, name) for name in DECODER}, offset, self.latent(users))
