"""Reference recommenders: what a victim must beat (popularity) and what a good one reaches (EASE).

Neither predicts ratings, so neither has an RMSE; there, biases are to be beaten. :func:`simplest`
says what either reaches on validation.
"""

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from rvdlib import metrics
from rvdlib.arguments import as_indices, check_csr
from rvdlib.data import HeldOut
from rvdlib.models.biases import Biases
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


class BeatenByReferenceWarning(UserWarning):
    """A victim has learned less than the simplest recommender of its regime."""


class Comparison(NamedTuple):
    """A victim beside the simplest recommender of its regime, on the same validation.

    Attributes:
        victim, reference: what each is called.
        measure: ``RMSE`` in stars (rating regime) or ``NDCG@50`` (ranking regime).
        error, reference_error: RMSE, or −NDCG@50: less is better.
    """

    victim: str
    reference: str
    measure: str
    error: float
    reference_error: float

    @property
    def beaten(self) -> bool:
        """Whether the reference is better."""
        return bool(self.reference_error < self.error)

    def __str__(self) -> str:
        error, other = abs(self.error), abs(self.reference_error)
        return (
            f"{self.victim} is beaten on validation by {self.reference}: {self.measure} {error:.4f} "
            f"against {other:.4f}"
        )


def ndcg_error(
    score: Callable[[np.ndarray], np.ndarray], train: sp.csr_matrix, validation: HeldOut
) -> float:
    """−NDCG@50 on ``validation`` of what gives users (B,) scores (B, items); ``train``: what is seen."""
    users, items, _ = validation
    gained = 0.0
    for block in np.array_split(np.arange(len(users)), 1 + len(users) // 1024):
        ranks = metrics.ranks(score(users[block]), train[users[block]], items[block, None])
        gained += metrics.gains(ranks, 50).sum()
    return float(-gained / len(users))


def simplest(
    train: sp.csr_matrix, validation: HeldOut, levels: np.ndarray, *, ranking: bool
) -> tuple[str, str, float]:
    """Name, measure and error of the recommender that any victim of this regime should beat.

    Biases and RMSE in stars (rating regime), or popularity and −NDCG@50 (ranking regime), trained
    on (users, items) CSR stars.
    """
    users, items, stars = validation
    if ranking:
        popularity = Popularity().fit(train)
        return popularity.name, "NDCG@50", ndcg_error(popularity.score, train, validation)
    predicted = Biases().fit(train).predict(users, items)
    error = np.sqrt(metrics.squared_errors(predicted, stars, levels).mean())
    return Biases.name, "RMSE", float(error)
