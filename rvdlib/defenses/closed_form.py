"""Closed-form RVD: the vicinal fine-tuning of the decoder, run to convergence without a step.

With the user side frozen, the vicinal loss with a proximal term is a ridge regression per item.
Its minimiser is what :class:`~rvdlib.defenses.vicinal.RVD` with ``scope="decoder"`` and the same
``unobserved_weight`` and ``proximal_weight`` descends to; the pull λ plays the part of early
stopping, λ ≈ k / (2 × learning rate × steps) of plain gradient descent on RVD's loss, a mean over k
rows.

The pull is to where training left the decoder, its regulariser included. With
``regularizer="coupled"`` the victim's regulariser stands in the vicinal loss besides, as in RVD's:

    λ ‖w − ŵ‖² + k reg ‖w‖² = (λ + k reg) ‖w − ŵ λ/(λ + k reg)‖² + a constant

which is a stronger pull to a smaller decoder row (k as chosen, also where ``max_in_degree`` leaves a
vicinity shorter). The algebra is in :mod:`rvdlib.defenses.regression`.
"""

from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from rvdlib.defenses.regression import VicinalRegression
from rvdlib.defenses.vicinal_defense import VicinalDefense, VicinityConfig
from rvdlib.models.base import Victim


class ClosedFormConfig(VicinityConfig):
    """The choices that are left when nothing iterates. Unknown names are refused."""

    k: int = Field(30, ge=1, description="neighbours")
    neighbors: Literal["nearest", "random"] = Field(
        "nearest", description="random: a control, k other users drawn at random for each user"
    )
    unobserved_weight: float = Field(0.1, ge=0, le=1, description="ω of the vicinal loss")
    proximal_weight: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="λ, the pull back to the trained victim"
    )
    regularizer: Literal["coupled", "none"] = Field(
        "none", description="coupled: the victim's own stands in the vicinal loss, beside λ"
    )
    rating_bound: float | None = Field(
        None,
        gt=0,
        description="stars that a neighbour's rating counts as off, at most, from what is expected of "
        "the neighbour; None: any",
    )
    groups: int = Field(
        1, ge=1, description="into which neighbours are dealt; the median of their scores is served"
    )

    @model_validator(mode="after")
    def _everybody_has_a_group(self) -> Self:
        if self.groups > self.k:
            raise ValueError(f"groups must be at most k = {self.k}, got {self.groups}")
        return self


class ClosedFormRVD(VicinalDefense):
    """A victim defended by closed-form RVD, as it is trained now: scores like one, never changes it.

    With several ``groups`` no neighbour has the last word: neighbours are dealt in turn, nearest
    first, each group has its own regression with its share of λ, and an item's score is the median
    of theirs (the median of means of Nemirovsky and Yudin 1983). Fakes shift it within what the
    other groups say, and carry it arbitrarily far only if they are in half of the groups.

    Raises:
        ValueError: for ``regularizer="coupled"`` of a victim whose regulariser counts cells: there
            is one pull for all items, and its would differ from item to item.
    """

    Config = ClosedFormConfig
    config: ClosedFormConfig

    def __init__(self, victim: Victim, **choices):
        super().__init__(victim, **choices)
        if self.config.regularizer == "coupled" and victim.loss.per_cell:
            raise ValueError(
                f"regularizer must be none: that of {victim.name} grows with an item's ratings, and "
                "the closed form has one pull for all items; RVD with scope='decoder' descends on it"
            )

    def score(self, users: np.ndarray) -> np.ndarray:
        """Defended scores (B, items) in stars, float32."""
        return self.by_vicinity(self.victim.rows(users), self._score)

    def _score(self, users: np.ndarray, rows: np.ndarray) -> np.ndarray:
        groups = self.config.groups
        dealt = [rows[:, first::groups] for first in range(groups)]
        scores = [self._regression.score(users, group) for group in dealt]
        return scores[0] if groups == 1 else np.median(scores, axis=0).astype(scores[0].dtype)

    @cached_property
    def _regression(self) -> VicinalRegression:
        """Of what is linear in the unit of ratings, in stars: scores are then served as they are."""
        victim, stars = self.victim, self.victim.max_rating
        everyone = np.arange(victim.train.shape[0])
        with torch.no_grad():
            offsets, factors = victim.encode(victim.parameters, everyone)
            silence = victim.unobserved_target(everyone)
        config, pull, kept = self.config, self.config.proximal_weight, 1.0
        if config.regularizer == "coupled":
            pull += (config.k + config.include_user) * victim.loss.reg
            kept = config.proximal_weight / pull
        bias = stars * kept * victim.parameters["item_bias"].numpy()
        if "item_bias" in victim.constants:
            bias = None
        return VicinalRegression(
            user_factors=factors.numpy(),
            offsets=stars * offsets.numpy(),
            item_factors=stars * kept * victim.parameters["item_factors"].numpy(),
            item_bias=bias,
            ratings=victim.train * np.float32(stars),
            unobserved_target=stars * silence.numpy(),
            unobserved_weight=config.unobserved_weight,
            proximal_weight=pull / config.groups,
            rating_bound=config.rating_bound,
        )
