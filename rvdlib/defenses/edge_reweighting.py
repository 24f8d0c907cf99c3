"""Edge reweighting: whoever is linked to a user by a fragile edge has less of a vote (Wang, arXiv 2412.10850).

User-kNN serves over a graph of similar users. Which of its edges would a small change of the ratings
move most? SPADE (Cheng et al. 2021) compares the graph of what goes into a model, here of who rated the
same items, with that of what comes out, here of latent vectors: with their Laplacians L_X and L_Y and the
largest generalised eigenvalues ζ_i, L_X v_i = ζ_i L_Y v_i, the fragility of a pair of users is

    f_uv = Σ_i ζ_i (v_i[u] − v_i[v])²

and the vote of a neighbour v of u counts 1 / (1 + s f_uv / f̄), with the mean f̄ over the edges that go in.
The paper shrinks the similarities by which ratings are predicted; here they are votes, as those of
user-kNN, and how they fall with fragility is ours.
"""

from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from scipy.sparse.linalg import eigsh

from rvdlib.defenses.count import Count
from rvdlib.defenses.votes import VotesConfig
from rvdlib.neighbors import NeighborSearch
from rvdlib.seeding import stream
from rvdlib.threads import single_thread

UNITS = 1024  # in a whole vote: in such units sums are exact, and equal on every machine
_GROUND = 0.01  # on the diagonal of L_Y, which has no inverse
_BLOCK_USERS = 512


class EdgeReweightingConfig(VotesConfig):
    """The choices. Unknown names are refused."""

    strength: float = Field(1.0, ge=0, description="s; 0: user-kNN, all votes whole")
    n_eigenvectors: int = Field(10, ge=1, description="of those with the largest eigenvalues")
    graph_k: int = Field(10, ge=1, description="neighbours of a user in either graph")


class EdgeReweighting(Count):
    """Items by the votes of the user's vicinity, those of fragile edges reduced."""

    Config: ClassVar[type[EdgeReweightingConfig]] = EdgeReweightingConfig
    config: EdgeReweightingConfig

    def votes(self, users: np.ndarray) -> np.ndarray:
        """(B, items) int32: the sum of the votes of each user's vicinity, in units of 1/1024 vote.

        Raises:
            ValueError: for ``users`` that are not row numbers of training users.
        """
        rows = self.vicinity(users)
        there = rows >= 0
        whole = UNITS / (1 + self.config.strength * self.fragility(users, rows))
        weights = sp.csr_matrix(
            (
                np.rint(whole[there]).astype(np.int32),
                rows[there],
                np.append(0, there.sum(1).cumsum()),
            ),
            shape=(len(rows), self.train.shape[0]),
        )
        return (weights @ self._rated).toarray()

    def fragility(self, users: np.ndarray, neighbors: np.ndarray) -> np.ndarray:
        """f_uv / f̄ of each user (B,) and each of the ``neighbors`` (B, k): (B, k), 1 on average over edges."""
        near, mean = self._embedding
        found = np.empty(neighbors.shape)
        for start in range(0, len(users), _BLOCK_USERS):
            block = slice(start, start + _BLOCK_USERS)
            away = near[neighbors[block]] - near[np.asarray(users)[block], None]
            found[block] = (away**2).sum(axis=2) / mean
        return found

    @cached_property
    @single_thread()
    def _embedding(self) -> tuple[np.ndarray, float]:
        """√ζ_i v_i (users, n), and f̄; f_uv is a squared distance there."""
        n_users, config = self.train.shape[0], self.config
        into = _graph(
            NeighborSearch(None, config.graph_k, "profile_overlap", ratings=self.train), n_users
        )
        out = _graph(NeighborSearch(self.user_factors(), config.graph_k), n_users)
        ground = _GROUND * sp.identity(n_users, format="csc")
        values, vectors = eigsh(
            _laplacian(into),
            min(config.n_eigenvectors, n_users - 2),
            M=_laplacian(out) + ground,
            v0=stream(0, "edge reweighting").standard_normal(n_users),
        )
        near = np.sqrt(values) * vectors
        one, other = into.nonzero()
        return near, ((near[one] - near[other]) ** 2).sum(axis=1).mean()

    @cached_property
    def _rated(self) -> sp.csr_matrix:
        rated = self.train.astype(np.int32)
        rated.data[:] = 1
        return rated


def _graph(search: NeighborSearch, n_users: int) -> sp.csr_matrix:
    """(users, users) of ones: u and v are linked if either is in the other's list."""
    lists = search(np.arange(n_users))
    links = np.ones(lists.size), (np.repeat(np.arange(n_users), lists.shape[1]), lists.ravel())
    found = sp.csr_matrix(links, shape=(n_users, n_users))
    return found.maximum(found.T)


def _laplacian(graph: sp.csr_matrix) -> sp.csc_matrix:
    return sp.csc_matrix(sp.diags(np.asarray(graph.sum(axis=1)).ravel()) - graph)
