"""Fingerprints of fakes among the users, and an alarm when they appear.

Fakes that want a say in many vicinities, and rate the same items, leave marks:

- ``hubness``: skewness of the k-occurrences; they stand in very many lists.
- ``cliques``: how far the support of some item has drawn together. Of an item that m of n sampled
  users rated, the share of its raters' neighbours who rated it, less the share of all, as a deviation
  √(m k) (found − m/n) / √(m/n (1 − m/n)): high where its raters are each other's neighbours. The sign
  is the largest rise of an item's above its own mean in the reference, for some items have always
  been a matter of taste.
- ``surge``: the largest rise of an item's raters above its share in the reference, in standard
  deviations of chance.
- ``disagreement``: 1 − the agreement of neighbours in latent space with neighbours by profile, chance
  taken off; it rises where latent vectors say less of what users rated.

All but the surge, which is of all users, are of samples of one size, so that a data set that grows
changes nothing by that. The alarm is raised if a sign lies more than so many standard deviations above
its mean in samples of a reference, ratings that are taken to be without fakes.

It says that something has changed, and not that it is an attack. In our measurements of fakes the surge
alone raised it; the other signs are shown, and have not been seen to add anything. A new release, or
whatever many users come to rate at once, is a surge too. How often the alarm is raised for nothing was
counted on halves of one data set, where no item is new and tastes do not move: on ratings that come in
over time it may be more, which was not measured.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from rvdlib.neighbors import NeighborSearch, hubness_skewness
from rvdlib.neighbors.agreement import neighbor_agreement

SIGNS = ("hubness", "cliques", "surge", "disagreement")
K, MOST_USERS, REFERENCES, SAMPLES = 10, 400, 30, 5
LEAST_RATERS = 5  # of an item, in a sample
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
    """What samples of ``n_users`` users of the reference look like.

    Attributes:
        means, spreads: of each sign, mean and standard deviation.
        usual: (items,) mean concentration of each item, and the share of users who rated it.
    """

    n_users: int
    means: np.ndarray
    spreads: np.ndarray
    usual: tuple[np.ndarray, np.ndarray]

    @classmethod
    def calibrated(
        cls, factors: np.ndarray, train: sp.csr_matrix, rng: np.random.Generator
    ) -> Self:
        """From (users, d) vectors and (users, items) CSR ratings without fakes."""
        n_users = min(MOST_USERS, int((np.diff(train.indptr) > 0).sum()) // 2)
        if n_users <= 2 * K:
            nothing = np.zeros(train.shape[1])
            return cls(0, np.zeros(len(SIGNS)), np.ones(len(SIGNS)), (nothing, nothing))
        signs, usual = [], []
        for _ in range(REFERENCES):  # one half of a sample is held against the other, as if it came
            halves = rng.permutation(np.flatnonzero(np.diff(train.indptr)))[: 2 * n_users]
            own, other = (_sample(factors, train, half) for half in np.split(halves, 2))
            usual.append((other.items, other.shares))
            signs.append(own.signs(usual[-1], own.shares, n_users))
        signs = np.array(signs)
        usual = tuple(np.mean(each, axis=0) for each in zip(*usual, strict=True))
        return cls(n_users, signs.mean(0), np.maximum(signs.std(0, ddof=1), 1e-9), usual)

    def look(self, factors: np.ndarray, train: sp.csr_matrix, rng: np.random.Generator) -> Found:
        """The signs now. Of too few users to tell, all are as in the reference."""
        heard = int((np.diff(train.indptr) > 0).sum())
        if not self.n_users or heard < self.n_users:
            return Found(
                dict(zip(SIGNS, self.means.tolist(), strict=True)), dict.fromkeys(SIGNS, 0.0)
            )
        users = np.flatnonzero(np.diff(train.indptr))
        drawn = [rng.choice(users, self.n_users, replace=False) for _ in range(SAMPLES)]
        shares = np.bincount(train.indices, minlength=train.shape[1]) / heard
        samples = [_sample(factors, train, rows) for rows in drawn]
        found = np.mean([each.signs(self.usual, shares, heard) for each in samples], axis=0)
        above = (found - self.means) / self.spreads
        return Found(*(dict(zip(SIGNS, row.tolist(), strict=True)) for row in (found, above)))


class _Sample(NamedTuple):
    """Of some users alone, who are each other's neighbours."""

    hubness: float
    items: np.ndarray  # concentration of each
    shares: np.ndarray  # of the users, who rated it
    disagreement: float

    def signs(
        self, usual: tuple[np.ndarray, np.ndarray], shares: np.ndarray, n_users: int
    ) -> list[float]:
        """``shares``: of ``n_users`` users, of whom these may be a sample."""
        items, before = usual
        surges = (shares - before) / np.sqrt(before * (1 - before) / n_users + n_users**-2.0)
        return [self.hubness, (self.items - items).max(), surges.max(), self.disagreement]


def _sample(factors: np.ndarray, train: sp.csr_matrix, rows: np.ndarray) -> _Sample:
    rows = np.sort(rows)
    factors, train, everyone = factors[rows], train[rows], np.arange(len(rows))
    lists = NeighborSearch(factors, K, ratings=train)(everyone)
    profiles = NeighborSearch(None, K, "profile_overlap", ratings=train)(everyone)
    return _Sample(
        hubness_skewness(lists, len(rows)),
        concentration(lists, train),
        np.bincount(train.indices, minlength=train.shape[1]) / len(rows),
        1 - neighbor_agreement(lists, profiles).above_chance,
    )


def concentration(lists: np.ndarray, train: sp.csr_matrix) -> np.ndarray:
    """(items,) deviations; 0 of items that fewer than ``LEAST_RATERS`` rated, or all."""
    n_users, k = lists.shape
    rated = sp.csr_matrix((np.ones(train.nnz), train.indices, train.indptr), train.shape)
    edges = sp.csr_matrix(
        (np.ones(lists.size), lists.ravel(), np.arange(0, lists.size + 1, k)), (n_users, n_users)
    )
    raters = np.asarray(rated.sum(0)).ravel()
    common = np.asarray(rated.multiply(edges @ rated).sum(0)).ravel()
    counted = (raters >= LEAST_RATERS) & (raters < n_users)
    share, m = raters[counted] / n_users, raters[counted]
    deviations = np.zeros(len(raters))
    spread = np.sqrt(share * (1 - share) / (m * k))
    deviations[counted] = (common[counted] / (m * k) - share) / spread
    return deviations
