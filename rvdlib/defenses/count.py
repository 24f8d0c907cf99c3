"""Count: items by the number of neighbours who rated them.

With ``max_in_degree=None`` it is the old user-kNN for implicit feedback, and the tables call it so;
by default nobody votes in more than k vicinities.
"""

import numpy as np

from rvdlib.defenses.votes import VicinityVotes, ordered_by
from rvdlib.eligibility import also_eligible


class Count(VicinityVotes):
    """Items by the votes of the user's vicinity; equal ones in the order of the wrapped scores."""

    predicts_stars = False

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items), float64: their order counts, not their unit."""
        return ordered_by(self.votes(users), self.victim.score(users))

    def eligible(self, users: np.ndarray) -> np.ndarray:
        """(B, items) bool: what is wrapped may serve."""
        everything = np.ones((len(users), self.train.shape[1]), dtype=bool)
        return also_eligible(self.victim, users, everything)
