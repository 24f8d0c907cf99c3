"""Biases alone: what is left of a rating model when nobody's taste is known."""

from typing import Self

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices


class Biases:
    """s_ui = μ + b_i + b_u, damped means (Koren, Bell and Volinsky 2009, eq. 3, fitted in turn).

    b_i is the mean of r − μ over the ratings of the item, then b_u the mean of r − μ − b_i over
    those of the user, each with ``damping`` further ratings of zero.

    Args:
        damping: 0 for plain means.
    """

    name = "biases"

    def __init__(self, damping: float = 5.0):
        if not damping >= 0:
            raise ValueError(f"damping must not be negative, got {damping}")
        self.damping = damping

    def fit(self, train: sp.csr_matrix) -> Self:
        """Learn from (users, items) CSR stars."""
        users, items = train.tocoo().coords
        self.mean = float(train.data.mean(dtype=np.float64))
        residuals = train.data - self.mean
        self.item_bias = self._damped_means(residuals, items, train.shape[1])
        self.user_bias = self._damped_means(
            residuals - self.item_bias[items], users, train.shape[0]
        )
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items) in stars, float32; ValueError for what are not row numbers."""
        users = as_indices("users", users, len(self.user_bias))
        scores = self.mean + self.user_bias[users, None] + self.item_bias
        return scores.astype(np.float32)

    def predict(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Scores (n,) in stars of users (n,) and items (n,), pair by pair, float64."""
        return self.mean + self.user_bias[users] + self.item_bias[items]

    def _damped_means(self, values: np.ndarray, groups: np.ndarray, n_groups: int) -> np.ndarray:
        counts = np.bincount(groups, minlength=n_groups) + self.damping
        sums = np.bincount(groups, weights=values, minlength=n_groups)
        return np.divide(sums, counts, out=np.zeros(n_groups), where=counts > 0)
