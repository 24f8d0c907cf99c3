"""How visible an attack is to a detector that has never seen one."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator, svds
from sklearn.metrics import roc_auc_score

from rvdlib.threads import single_thread

N_COMPONENTS = 3


@single_thread()
def pca_suspicion(ratings: sp.csr_matrix) -> np.ndarray:
    """How suspicious each profile is (users,): the higher, the more. Unsupervised.

    Mehta and Nejdl 2009, "Unsupervised strategies for shilling detection" (PCA-VarSelect): profiles
    made by one recipe agree with each other so well, and vary so little, that they hardly load on
    the main components of what users have in common. Rows are standardised (z-scores, an unrated
    cell is a 0 like any other), and suspicion is − Σ_j p_uj² over the first three principal
    components p_j of the users' covariance.

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
    ratings = ratings.astype(np.float64)
    means = np.asarray(ratings.mean(axis=1)).ravel()
    squares = np.asarray(ratings.power(2).mean(axis=1)).ravel()
    deviations = np.sqrt(squares - means**2)
    scales = np.divide(1, deviations, out=np.zeros_like(means), where=deviations > 0)
    everywhere = aslinearoperator((means * scales)[:, None]) @ aslinearoperator(
        np.ones((1, ratings.shape[1]))
    )
    standardised = aslinearoperator(sp.diags_array(scales) @ ratings) - everywhere
    start = np.full(min(ratings.shape), 1 / np.sqrt(min(ratings.shape)))
    loadings = svds(standardised, k=N_COMPONENTS, v0=start, return_singular_vectors="u")[0]
    return -(loadings**2).sum(axis=1)


def detection_auc(suspicion: np.ndarray, n_real: int) -> float:
    """Area under the ROC curve of telling fakes from real users: 0.5 is chance, 1 finds all.

    Args:
        suspicion: (users,), the ``n_real`` real users first.
    """
    return float(roc_auc_score(np.arange(len(suspicion)) >= n_real, suspicion))
