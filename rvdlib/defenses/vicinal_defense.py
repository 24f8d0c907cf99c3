"""Whom RVD learns from: what its forms for victims have in common."""

from functools import cached_property, partial
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from rvdlib.arguments import as_indices
from rvdlib.defenses.protocol import Choices, Served
from rvdlib.neighbors import NeighborSearch
from rvdlib.neighbors.distinct import DistinctSearch
from rvdlib.seeding import stream


class VicinityConfig(Choices):
    """The choice of the neighbours. Unknown names are refused."""

    k: int = Field(10, ge=1, description="neighbours")
    neighbors: Literal["nearest", "random", "none"] = Field(
        "nearest",
        description="random, none: controls; the k rows of other users drawn at random, or no row",
    )
    distance: Literal["euclidean", "cosine", "inner_product", "profile_overlap"] = "euclidean"
    hubness_reduction: Literal["none", "local_scaling", "mutual"] = Field(
        "none", description="against users who stand in very many lists, see rvdlib.neighbors"
    )
    max_overlap: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Jaccard index of the items that two neighbours rated; of two above it, the "
        "nearer stays, see rvdlib.neighbors.distinct; 1: everybody stays",
    )
    include_user: bool = Field(False, description="whether u's own row joins the vicinity")


class VicinalDefense(Served):
    """A victim as it is trained now, and the vicinity of each of its users."""

    Config: ClassVar[type[VicinityConfig]] = VicinityConfig
    config: VicinityConfig

    def vicinity(self, users: np.ndarray) -> np.ndarray:
        """(B, k) rows to fine-tune on, or (B, k + 1) where the user's own row joins them.

        Raises:
            ValueError: for ``users`` that are not row numbers of training users.
        """
        users = self.victim.rows(users)
        rows = self._neighbors(users)
        own = np.asarray(users, dtype=rows.dtype)
        return np.column_stack([rows, own]) if self.config.include_user else rows

    @cached_property
    def _neighbors(self) -> "NeighborSearch | RandomUsers":
        config = self.config
        if config.neighbors != "nearest":
            k = config.k if config.neighbors == "random" else 0
            return RandomUsers(self.victim.train.shape[0], k)
        search = NeighborSearch
        if config.max_overlap < 1:
            search = partial(DistinctSearch, max_overlap=config.max_overlap)
        return search(
            self.victim.user_factors(),
            config.k,
            config.distance,
            hubness_reduction=config.hubness_reduction,
            ratings=self.victim.train,
        )


class RandomUsers:
    """k other users for each user, drawn from a stream of the user's own: the same at every call.

    Raises:
        ValueError: for a k that is not below the number of users.
    """

    def __init__(self, n_users: int, k: int):
        if not 0 <= k < n_users:
            raise ValueError(f"k must be between 0 and {n_users - 1} (the other users), got {k}")
        self._n_users, self._k = n_users, k

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """(B, k) int64 row numbers."""
        users = as_indices("users", users, self._n_users)
        rows = np.empty((len(users), self._k), dtype=np.int64)
        for row, user in zip(rows, users, strict=True):
            rng = stream(0, "neighbors", int(user))
            row[:] = rng.choice(self._n_users - 1, self._k, replace=False)
        return rows + (rows >= users[:, None])
