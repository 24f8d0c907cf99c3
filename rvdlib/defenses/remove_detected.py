"""The users whom a detector suspects most are left out of training."""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.defenses.detection import pca_suspicion
from rvdlib.defenses.protocol import Choices, Defense


class RemoveDetectedConfig(Choices):
    """The choice. Unknown names are refused."""

    share: float = Field(0.05, ge=0, lt=1, description="of the users with ratings; removed at most")


class RemoveDetected(Defense):
    """Empties the rows of those whom :func:`~rvdlib.defenses.detection.pca_suspicion` ranks first.

    Of users who are equally suspicious all go or none does: their order tells nothing.
    """

    Config = RemoveDetectedConfig

    def clean(self, train, levels, rng):
        rated = np.diff(train.indptr) > 0
        suspicion = np.where(rated, pca_suspicion(train), -np.inf)
        innocent = len(suspicion) - int(self.config.share * rated.sum()) - 1
        removed = suspicion > np.sort(suspicion)[innocent]
        return without_users(train, removed)


def without_users(train: sp.csr_matrix, removed: np.ndarray) -> sp.csr_matrix:
    """A copy in which the rows of ``removed``, (users,) bool, are empty."""
    kept = train.copy()
    kept.data[np.repeat(removed, np.diff(train.indptr))] = 0
    kept.eliminate_zeros()
    return kept
