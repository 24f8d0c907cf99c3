"""How visible an attack is to a detector that has never seen one."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds
from sklearn.metrics import roc_auc_score

N_COMPONENTS = 3


def pca_suspicion(ratings: sp.csr_matrix) -> np.ndarray:
    """How suspicious each profile is (users,): the higher, the more. Unsupervised.

    Mehta and Nejdl 2009, "Unsupervised strategies for shilling detection" (PCA-VarSelect): profiles
    made by one recipe agree with each other so well, and vary so little, that they hardly load on
    the main components of what users have in common. Rows are standardised over what they rate (a
    cell that is not rated is 0, the mean), and suspicion is − Σ_j p_uj² over the first three
    principal components p_j of the users' covariance.

    Args:
        ratings: (users, items) CSR, what is stored is rated.

    Raises:
        ValueError: unless there are more than three users and more than three items.
    """
    if min(ratings.shape) <= N_COMPONENTS:
        raise ValueError(
            f"{N_COMPONENTS} components need more than {N_COMPONENTS} users and items, "
            f"got {ratings.shape}"
        )
    counts = np.diff(ratings.indptr)
    rows = np.repeat(np.arange(len(counts)), counts)
    values = ratings.data.astype(np.float64)

    def row_means(of):
        sums = np.bincount(rows, weights=of, minlength=len(counts))
        return sums / np.maximum(counts, 1)

    values = values - row_means(values)[rows]
    deviations = np.sqrt(row_means(values**2))[rows]
    np.divide(values, deviations, out=values, where=deviations > 0)
    standardised = sp.csr_matrix((values, ratings.indices, ratings.indptr), shape=ratings.shape)
    start = np.full(min(ratings.shape), 1 / np.sqrt(min(ratings.shape)))
    loadings = svds(standardised, k=N_COMPONENTS, v0=start, return_singular_vectors="u")[0]
    return -(loadings**2).sum(axis=1)


def detection_auc(suspicion: np.ndarray, n_real: int) -> float:
    """Area under the ROC curve of telling fakes from real users: 0.5 is chance, 1 finds all.

    Args:
        suspicion: (users,), the ``n_real`` real users first.
    """
    return float(roc_auc_score(np.arange(len(suspicion)) >= n_real, suspicion))
