"""Reference recommenders: what a victim must beat (popularity) and what a good one reaches (EASE).

Neither predicts ratings, so neither has an RMSE.
"""

from typing import Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from rvdlib.arguments import as_indices, check_csr
from rvdlib.threads import single_thread


class Popularity:
    """The most popular items: s_ui is the number of training ratings of i, for every user."""

    name = "popularity"
    predicts_stars = False

    def fit(self, train: sp.csr_matrix) -> Self:
        check_csr("train", train)
        self.n_users = train.shape[0]
        self.counts = np.bincount(train.indices, minlength=train.shape[1]).astype(np.float32)
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items), float32: the same row for everybody; ValueError for anybody else."""
        users = as_indices("users", users, self.n_users)
        return np.tile(self.counts, (len(users), 1))


class EASE:
    """Embarrassingly shallow autoencoder (Steck 2019, eq. 8), on who rated what.

    B minimises ‖X − XB‖² + reg · ‖B‖² with diag(B) = 0, X the binary (users, items) matrix:
    B_ij = −P_ij / P_jj for i ≠ j, with P = (XᵀX + reg · I)⁻¹. Scores are the rows of XB. Takes
    O(items²) memory and O(items³) time.

    Args:
        reg: weight of the ridge penalty, above 0.
    """

    name = "EASE"
    predicts_stars = False

    def __init__(self, reg: float = 300.0):
        if not reg > 0:
            raise ValueError(f"reg must be above 0, got {reg}")
        self.reg = reg

    @single_thread()
    def fit(self, train: sp.csr_matrix) -> Self:
        check_csr("train", train)
        ones = np.ones(train.nnz)
        self.rated = sp.csr_matrix((ones, train.indices, train.indptr), shape=train.shape)
        gram = (self.rated.T @ self.rated).toarray()
        gram[np.diag_indices_from(gram)] += self.reg
        weights = scipy.linalg.inv(gram, overwrite_a=True)
        weights /= -np.diag(weights).copy()
        np.fill_diagonal(weights, 0)
        self.weights = weights
        return self

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items), float32; ValueError for what are not row numbers."""
        users = as_indices("users", users, self.rated.shape[0])
        return (self.rated[users] @ self.weights).astype(np.float32)
