"""Fraudulent action propagation: how likely each user is fake, from some who are known to be.

Zhang et al. 2015, "Catch the Black Sheep: Unified Framework for Shilling Attack Detection Based on
Fraudulent Action Propagation" (FAP). A user and an item are joined by each rating, with the weight

    w_ui = 1 + |r_ui − m_u| / m_u + |r_ui − m_i| / m_i + |r_ui − m| / m,

m_u, m_i and m the means of the user's, the item's and all ratings. Known fakes are at 1, all others
begin at 0; an item is then at the mean of its raters and a user at that of the items rated, both
weighted by w, again and again. After t rounds a user is at the probability that a walk along the
ratings, item and rater by turns, meets a known fake in t rounds. It stops when nobody's changes any
more by ``tolerance``: for ever, all who are connected would go to 1.

The weights and the walk are the paper's; the stop, and how many are then removed
(:mod:`rvdlib.lab.experiment.seeded_oracle`), are ours. No defence is told who is fake, so this is none.
"""

import numpy as np
import scipy.sparse as sp


def propagated(ratings: sp.csr_matrix, known: np.ndarray, tolerance: float = 0.01) -> np.ndarray:
    """The probability of each user (users,), in [0, 1]: the higher, the likelier fake.

    Args:
        ratings: (users, items) CSR of positive stars.
        known: row numbers of the users who are known to be fake.
        tolerance: change of a probability in a round, above which another round follows.
    """
    weights = ratings.astype(np.float64)
    stars, items = weights.data, weights.indices
    owners = np.repeat(np.arange(ratings.shape[0]), np.diff(weights.indptr))
    weights.data = np.ones_like(stars)
    for mean in (_means(stars, owners)[owners], _means(stars, items)[items], stars.mean()):
        weights.data += np.abs(stars - mean) / mean
    to_items, to_raters = _shares(weights), _shares(weights.T.tocsr())
    found, before = np.zeros(ratings.shape[0]), np.full(ratings.shape[0], -np.inf)
    found[known] = 1
    while (found - before).max() > tolerance:
        before, found = found, to_items @ (to_raters @ found)
        found[known] = 1
    return found


def _means(stars: np.ndarray, of: np.ndarray) -> np.ndarray:
    return np.bincount(of, stars) / np.maximum(np.bincount(of), 1)


def _shares(weights: sp.csr_matrix) -> sp.csr_matrix:
    """Each row as shares of its sum; an empty row stays empty."""
    sums = np.asarray(weights.sum(axis=1)).ravel()
    return sp.diags_array(1 / np.where(sums > 0, sums, 1)) @ weights
