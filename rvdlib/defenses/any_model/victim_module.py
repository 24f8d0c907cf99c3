"""A victim of this library as a torch module, for the form of RVD that takes anybody's.

Its encoder is read from :data:`rvdlib.defenses.engine.ENCODERS`. The products of
:mod:`rvdlib.models.sparse_ops` cannot be mapped by ``torch.func.vmap``, so profiles, targets and
weights are dense buffers: up to 3 × users × items numbers.
"""

from typing import Any, Literal

import numpy as np
import torch

from rvdlib.arguments import check_one_of
from rvdlib.defenses.engine import ENCODERS
from rvdlib.models.base import DECODER, Victim, decode

Cells = dict[str, torch.Tensor]


class VictimModule(torch.nn.Module):
    """A copy of a trained victim, its parameters by their names; ``forward`` scores in stars.

    ``row_loss`` is ℓ_v = Σ_i c_vi (y_vi − s_vi)², and the regulariser of the row where that counts
    cells. One that counts every parameter is ``weight_decay``, for :class:`FunctionalRVD` or an
    optimiser to take. So the mean of ``row_loss`` and weight_decay/2 ‖θ‖² are the victim's loss.

    Args:
        unobserved_weight: ω in [0, 1] of the loss; None: the victim's own.
        regularizer: ``coupled`` or ``none`` (the data term alone). A decoupled one is the same
            module as a coupled one, and a choice of ``FunctionalRVD``.

    Raises:
        ValueError: for a victim whose encoder is not described, or a choice out of range.
    """

    predicts_stars = True
    weight: torch.Tensor
    offset: torch.Tensor

    def __init__(
        self,
        victim: Victim,
        unobserved_weight: float | None = None,
        regularizer: Literal["coupled", "none"] = "coupled",
    ):
        if type(victim) not in ENCODERS:
            raise ValueError(
                f"the encoder of {type(victim).__name__} is not described: do so in "
                "rvdlib.defenses.engine.ENCODERS, or write a torch.nn.Module with latent, row_loss "
                "and forward, see rvdlib.defenses.any_model.functional"
            )
        check_one_of("regularizer", regularizer, ("coupled", "none"))
        loss = victim.loss.variant(unobserved_weight, regularizer)
        if not 0 <= loss.unobserved_weight <= 1:
            raise ValueError(f"unobserved_weight must be between 0 and 1, got {unobserved_weight}")
        super().__init__()
        self.weight_decay = loss.weight_decay
        per_cell = loss.per_cell and loss.regularizer != "none"
        self.cell_reg, self.omega = loss.reg * per_cell, loss.unobserved_weight
        self.encoder, self.max_rating = ENCODERS[type(victim)], victim.max_rating
        for name, value in victim.parameters.items():
            moves = name not in victim.constants
            self.register_parameter(name, torch.nn.Parameter(value.clone(), requires_grad=moves))
        pattern = victim.train.copy()
        pattern.data = np.ones_like(pattern.data)
        observed = torch.from_numpy(pattern.toarray()) > 0
        ratings = torch.from_numpy(victim.train.toarray())
        silence = victim.unobserved_target(np.arange(len(ratings)))[:, None]
        offset = torch.from_numpy(self.encoder.constants(victim)).to(silence.dtype)
        self.register_buffer("target", torch.where(observed, ratings, silence))
        self.register_buffer("weight", torch.where(observed, 1.0, loss.unobserved_weight))
        self.register_buffer("observed", observed)
        self.register_buffer("offset", offset)
        if self.encoder.profile_factors:
            self.register_buffer("inputs", torch.from_numpy(victim.inputs.toarray()))

    def latent(self, users: torch.Tensor) -> torch.Tensor:
        return self._latent(self._profiles(users))

    def row_loss(self, rows: torch.Tensor | Cells) -> torch.Tensor:
        """ℓ (B,) of users, or of what :meth:`touched` has of them."""
        rows = rows if isinstance(rows, dict) else self._profiles(rows)
        data = (rows["weight"] * (rows["target"] - self._scaled(rows)) ** 2).sum(1)
        return data + self._cell_regularizer(rows) if self.cell_reg else data

    def _cell_regularizer(self, rows: Cells) -> torch.Tensor:
        """(B,) reg Σ_i (1 if v rated i, and ω) (‖p_v‖² + β_v² + ‖w_i‖² + b_i²)."""
        of = self.encoder
        known: dict[str | None, Any] = {name: getattr(self, name) for name in self._parameters}
        items = (known["item_factors"] ** 2).sum(1) + known["item_bias"] ** 2
        users = (known[of.own_factors][rows["users"]] ** 2).sum(1)
        if of.user_bias in known:
            users = users + known[of.user_bias][rows["users"]] ** 2
        cells = rows["observed"].to(items.dtype)
        # Of items left out by ``touched`` there are no cells, and ω is 0.
        n_cells = cells.sum(1) + self.omega * len(items)
        return self.cell_reg * (n_cells * users + cells @ items + self.omega * items.sum())

    def forward(self, users: torch.Tensor) -> torch.Tensor:
        return self._scaled(self._profiles(users)) * self.max_rating

    def touched(self, vicinities: torch.Tensor) -> tuple[Cells, Cells]:
        """The users' own parameters, and those of items with a weight in one of their losses.

        Lists of items are filled up to the longest with others, whose gradient is 0.
        """
        counted = (self.weight[vicinities] > 0).any(1)
        items = counted.byte().topk(int(counted.sum(1).max()), sorted=False).indices
        at = vicinities[:, :, None], items[:, None]
        data = self._profiles(vicinities, at)
        data["users"] = torch.arange(vicinities.shape[1], device=vicinities.device).expand_as(
            vicinities
        )
        of = self.encoder
        places = dict.fromkeys([*DECODER, of.profile_factors], items)
        places |= dict.fromkeys([of.own_factors, of.user_bias], vicinities)
        return {name: rows for name, rows in places.items() if name in self._parameters}, data

    def _profiles(self, users, at=None) -> Cells:
        """What is known of users and no training changes: all of it, or the cells ``at``."""
        known = ["target", "weight", "observed"] + ["inputs"] * bool(self.encoder.profile_factors)
        cells = {name: getattr(self, name)[users if at is None else at] for name in known}
        return cells | {"users": users, "offset": self.offset[users]}

    def _latent(self, rows: Cells) -> torch.Tensor:
        of, terms = self.encoder, []
        if of.profile_factors:
            terms.append(rows["inputs"] @ getattr(self, of.profile_factors))
        if of.own_factors:
            terms.append(getattr(self, of.own_factors)[rows["users"]])
        if of.hidden_bias:
            terms.append(getattr(self, of.hidden_bias))
        return torch.sigmoid(sum(terms)) if of.sigmoid else sum(terms)

    def _scaled(self, rows: Cells) -> torch.Tensor:
        offset = rows["offset"]
        if self.encoder.user_bias in self._parameters:  # the ranking regime has none
            offset = offset + getattr(self, self.encoder.user_bias)[rows["users"]]
        return decode({name: getattr(self, name) for name in DECODER}, offset, self._latent(rows))
