"""Fingerprints of fakes among the users, and an alarm when they appear.

Fakes that want a say in many vicinities, and rate the same items, leave marks:

- ``hubness``: skewness of the k-occurrences; they stand in very many lists.
- ``cliques``: the largest concentration of an item's support. Of an item that m of n sampled users
  rated, the share of its raters' neighbours who rated it, less the share of all, as a deviation
  √(m k) (found − m/n) / √(m/n (1 − m/n)): high where those who rated it are each other's neighbours.
- ``disagreement``: 1 − the agreement of neighbours in latent space with neighbours by profile, chance
  taken off; it rises where latent vectors say less of what users rated.

Each is of samples of users of one size, so that a data set that grows changes nothing by that. The
alarm is raised if a sign lies more than so many standard deviations above its mean in samples of a
reference, ratings that are taken to be without fakes. It says that something has changed, and not that
it is an attack; how often it is raised for nothing is measured in the study.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse as sp

from rvdlib.neighbors import NeighborSearch, hubness_skewness
from rvdlib.neighbors.agreement import neighbor_agreement

SIGNS = ("hubness", "cliques", "disagreement")
K, MOST_USERS, REFERENCES, SAMPLES = 10, 400, 30, 5
DEVIATIONS = 4.0  # above the reference's mean, from which on it is an alarm


@dataclass(frozen=True)
class Found:
    """What a look found.

    Attributes:
        numbers: sign → mean over samples.
        deviations: sign → how many standard deviations that is above the reference.
    """

    numbers: dict[str, float]
    deviations: dict[str, float]

    @property
    def raised(self) -> bool:
        return max(self.deviations.values()) > DEVIATIONS


@dataclass(frozen=True)
class Alarm:
    """Mean and standard deviation of each sign in samples of ``n_users`` users of the reference."""

    n_users: int
    means: np.ndarray
    spreads: np.ndarray

    @classmethod
    def calibrated(
        cls, factors: np.ndarray, train: sp.csr_matrix, rng: np.random.Generator
    ) -> Self:
        """From (users, d) vectors and (users, items) CSR ratings without fakes."""
        n_users = min(MOST_USERS, int((np.diff(train.indptr) > 0).sum()) // 2)
        if n_users <= 2 * K:
            return cls(0, np.zeros(len(SIGNS)), np.ones(len(SIGNS)))
        found = np.array([_sample(factors, train, n_users, rng) for _ in range(REFERENCES)])
        return cls(n_users, found.mean(0), np.maximum(found.std(0, ddof=1), 1e-9))

    def look(self, factors: np.ndarray, train: sp.csr_matrix, rng: np.random.Generator) -> Found:
        """The signs now. Of too few users to tell, all are as in the reference."""
        heard = int((np.diff(train.indptr) > 0).sum())
        if not self.n_users or heard < self.n_users:
            return Found(
                dict(zip(SIGNS, self.means.tolist(), strict=True)), dict.fromkeys(SIGNS, 0.0)
            )
        found = np.mean(
            [_sample(factors, train, self.n_users, rng) for _ in range(SAMPLES)], axis=0
        )
        above = (found - self.means) / self.spreads
        return Found(*(dict(zip(SIGNS, row.tolist(), strict=True)) for row in (found, above)))


def _sample(
    factors: np.ndarray, train: sp.csr_matrix, n_users: int, rng: np.random.Generator
) -> list[float]:
    heard = np.flatnonzero(np.diff(train.indptr))
    rows = np.sort(rng.choice(heard, n_users, replace=False))
    return fingerprints(factors[rows], train[rows])


def fingerprints(factors: np.ndarray, train: sp.csr_matrix) -> list[float]:
    """The signs of these users alone, in the order of ``SIGNS``."""
    everyone = np.arange(len(factors))
    lists = NeighborSearch(factors, K, ratings=train)(everyone)
    profiles = NeighborSearch(None, K, "profile_overlap", ratings=train)(everyone)
    return [
        hubness_skewness(lists, len(lists)),
        concentration(lists, train),
        1 - neighbor_agreement(lists, profiles).above_chance,
    ]


def concentration(lists: np.ndarray, train: sp.csr_matrix) -> float:
    """The largest deviation over items that at least K users rated, and not all."""
    n_users, k = lists.shape
    rated = sp.csr_matrix((np.ones(train.nnz), train.indices, train.indptr), train.shape)
    edges = sp.csr_matrix(
        (np.ones(lists.size), lists.ravel(), np.arange(0, lists.size + 1, k)), (n_users, n_users)
    )
    raters = np.asarray(rated.sum(0)).ravel()
    common = np.asarray(rated.multiply(edges @ rated).sum(0)).ravel()
    counted = (raters >= K) & (raters < n_users)
    share, m = raters[counted] / n_users, raters[counted]
    found = common[counted] / (m * k)
    return float((np.sqrt(m * k) * (found - share) / np.sqrt(share * (1 - share))).max(initial=0.0))
