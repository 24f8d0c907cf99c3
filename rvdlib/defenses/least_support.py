"""Least support: what few have rated is never served. The plain rival for unpopular targets."""

from functools import cached_property

import numpy as np
from pydantic import Field

from rvdlib.arguments import as_indices
from rvdlib.defenses.protocol import Choices, Served
from rvdlib.eligibility import also_eligible


class LeastSupportConfig(Choices):
    """The choice. Unknown names are refused."""

    min_ratings: int = Field(50, ge=0, description="training ratings that an item needs")


class LeastSupport(Served):
    """A victim that does not list items with fewer than ``min_ratings`` training ratings.

    Fakes' ratings count as well: nobody knows which they are. Scores are the victim's, and so is
    what a user is shown of other items.
    """

    Config = LeastSupportConfig
    config: LeastSupportConfig
    wraps_any = True
    predicts_stars = False  # it changes lists alone: an RMSE would be the victim's

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items) of the victim, or of what another defence serves."""
        return self.victim.score(users)

    def eligible(self, users: np.ndarray) -> np.ndarray:
        """(B, items) bool: whether so many rated it, and the victim may serve it."""
        users = as_indices("users", users, self.train.shape[0])
        supported = np.broadcast_to(self._supported, (len(users), len(self._supported)))
        return also_eligible(self.victim, users, supported)

    @cached_property
    def _supported(self) -> np.ndarray:
        counts = np.bincount(self.train.indices, minlength=self.train.shape[1])
        return counts >= self.config.min_ratings
