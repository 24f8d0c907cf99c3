"""Least support: what few have rated is never served. The plain rival for unpopular targets."""

import numpy as np
from pydantic import Field

from rvdlib.defenses.protocol import Choices, Served


class LeastSupportConfig(Choices):
    """The choice. Unknown names are refused."""

    min_ratings: int = Field(50, ge=0, description="training ratings that an item needs")


class LeastSupport(Served):
    """A victim that does not list items with fewer than ``min_ratings`` training ratings.

    Fakes' ratings count as well: nobody knows which they are. An unlisted item is scored −inf
    (:mod:`rvdlib.metrics`), which predicts no stars: what a user is shown of other items is the
    victim's.
    """

    Config = LeastSupportConfig
    config: LeastSupportConfig
    wraps_any = True
    predicts_stars = False

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items), float32; −inf for what is not served."""
        counts = np.bincount(self.train.indices, minlength=self.train.shape[1])
        scores = np.array(self.victim.score(users))
        scores[:, counts < self.config.min_ratings] = -np.inf
        return scores
