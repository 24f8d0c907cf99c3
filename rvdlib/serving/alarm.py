"""An alarm when fakes appear among the users.

Fakes rate the same item. Its *surge* is the rise of the share of users who rated it above that in a
reference, in standard deviations of chance; the alarm is raised if the largest surge of an item lies
more than ``DEVIATIONS`` standard deviations above what halves of the reference have against each other.

It says that something has changed, and not that it is an attack: a new release, or whatever many users
come to rate at once, is a surge too. How often the alarm is raised for nothing was counted on halves of
one data set, where no item is new and tastes do not move: on ratings that come in over time it may be
more, which was not measured. Hubness, cliques of raters, and the disagreement of latent neighbours with
neighbours by profile were tried as signs: under the study's attacks none raised it where the surge did
not. Fakes who rate nothing but what many rate already may pass it.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp

MOST_USERS, REFERENCES = 400, 30  # of a half; pairs of halves
LEAST_USERS = 20  # of a half, to tell anything
DEVIATIONS = 4.0


@dataclass(frozen=True)
class Alarm:
    """What a reference looks like: ratings that are taken to be without fakes.

    Attributes:
        n_users: of a half; 0: too few to tell anything.
        shares: (items,) of its users, who rated each item.
        mean, spread: of the largest surge, one half of it against another.
    """

    n_users: int
    shares: np.ndarray
    mean: float
    spread: float

    @classmethod
    def calibrated(cls, train: sp.csr_matrix, rng: np.random.Generator) -> Self:
        """From (users, items) CSR ratings without fakes."""
        heard = np.flatnonzero(np.diff(train.indptr))
        n_users = min(MOST_USERS, len(heard) // 2)
        if n_users <= LEAST_USERS:
            return cls(0, np.zeros(train.shape[1]), 0.0, 1.0)
        surges, before = [], []
        for _ in range(REFERENCES):
            halves = np.split(rng.permutation(heard)[: 2 * n_users], 2)
            own, other = (_shares(train[half], n_users) for half in halves)
            before.append(other)
            surges.append(_surge(own, other, n_users))
        spread = max(float(np.std(surges, ddof=1)), 1e-9)
        return cls(n_users, np.mean(before, axis=0), float(np.mean(surges)), spread)

    def surge(self, train: sp.csr_matrix) -> float:
        """The largest now, in standard deviations above the mean; 0 of too few users to tell."""
        heard = int((np.diff(train.indptr) > 0).sum())
        if not self.n_users or heard < self.n_users:
            return 0.0
        return (_surge(_shares(train, heard), self.shares, heard) - self.mean) / self.spread


def _shares(train: sp.csr_matrix, n_users: int) -> np.ndarray:
    return np.bincount(train.indices, minlength=train.shape[1]) / n_users


def _surge(shares: np.ndarray, before: np.ndarray, n_users: int) -> float:
    """An item that nobody had rated has the chance of one rater."""
    chance = np.sqrt(before * (1 - before) / n_users + n_users**-2.0)
    return float(((shares - before) / chance).max())
