"""The most popular items for everybody, whatever the victim. The plain rival that has no taste."""

import numpy as np

from rvdlib.defenses.protocol import Served
from rvdlib.models.reference import Popularity


class MostPopular(Served):
    """Serves :class:`~rvdlib.models.reference.Popularity` on the victim's training rows."""

    wraps_any = True
    predicts_stars = False

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items), float32: training ratings of each item, fakes' among them."""
        return Popularity().fit(self.train).score(users)
