"""Blending: what a user is shown is drawn towards what the neighbours are shown.

    s_ui = (1 − β) ŝ_ui + β mean_{v ∈ N_k(u)} ŝ_vi

with the victim's scores ŝ. Nothing is learnt: the plainest thing that a vicinity can be asked for, and
the rival that tells whether fine-tuning on it is worth its time. The decoder is linear, so that a mean
of scores is the score of a mean.
"""

from functools import cached_property

import numpy as np
import torch
from pydantic import Field

from rvdlib.defenses.vicinal_defense import VicinalDefense, VicinityConfig
from rvdlib.models.base import decode
from rvdlib.threads import single_thread


class BlendingConfig(VicinityConfig):
    """The choices. Unknown names are refused."""

    k: int = Field(30, ge=1, description="neighbours")
    weight: float = Field(0.1, ge=0, le=1, description="β, of the neighbours' mean score")


class Blending(VicinalDefense):
    """A victim whose scores are blended with the mean of those of the user's vicinity."""

    Config = BlendingConfig
    config: BlendingConfig

    def score(self, users: np.ndarray) -> np.ndarray:
        """Blended scores (B, items) in stars, float32."""
        return self.by_vicinity(self.victim.rows(users), self._score)

    @single_thread()
    def _score(self, users: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if not rows.shape[1]:  # neighbors="none"
            return self.victim.score(users)
        own, theirs = torch.tensor(users), torch.tensor(rows)
        weight = self.config.weight
        offset, factors = (
            (1 - weight) * each[own] + weight * each[theirs].mean(dim=1) for each in self._encoded
        )
        with torch.no_grad():
            scores = decode(self.victim.parameters, offset, factors)
        return (scores * self.victim.max_rating).numpy()

    @cached_property
    def _encoded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Offsets (users,) and latent vectors (users, d)."""
        with torch.no_grad():
            everyone = np.arange(self.victim.train.shape[0])
            return self.victim.encode(self.victim.parameters, everyone)
