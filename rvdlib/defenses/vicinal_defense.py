"""Whom RVD learns from: what its forms for victims have in common."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from rvdlib.arguments import as_indices
from rvdlib.defenses.protocol import Choices, Served
from rvdlib.neighbors import NeighborSearch
from rvdlib.neighbors.balanced import BalancedSearch
from rvdlib.neighbors.distinct import DistinctSearch
from rvdlib.seeding import stream

Search = Callable[[np.ndarray], np.ndarray]


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
    max_in_degree: int | None = Field(
        None,
        ge=1,
        description="vicinities that a user may stand in, at least k, u's own aside; None: any "
        "number. Some lists are then shorter than k, see rvdlib.neighbors.balanced",
    )
    include_user: bool = Field(False, description="whether u's own row joins the vicinity")

    @model_validator(mode="after")
    def _the_limit_can_be_kept(self) -> Self:
        if self.max_in_degree is None:
            return self
        if self.max_in_degree < self.k:
            raise ValueError(
                f"max_in_degree must be at least k = {self.k}, or there are not enough places for "
                f"everybody; got {self.max_in_degree}"
            )
        if self.neighbors != "nearest" or self.max_overlap < 1:
            raise ValueError(
                "max_in_degree limits the nearest neighbours: it goes with neighbors='nearest' and "
                "max_overlap=1 alone"
            )
        return self


class VicinalDefense(Served):
    """A victim as it is trained now, and the vicinity of each of its users."""

    Config: ClassVar[type[VicinityConfig]] = VicinityConfig
    config: VicinityConfig

    def vicinity(self, users: np.ndarray) -> np.ndarray:
        """(B, k) rows to fine-tune on, or (B, k + 1) where the user's own row joins them.

        With ``max_in_degree`` a row may be shorter, and then ends in −1.

        Raises:
            ValueError: for ``users`` that are not row numbers of training users.
        """
        users = as_indices("users", users, self.train.shape[0])
        rows = self._neighbors(users)
        if not self.config.include_user:
            return rows
        rows = np.column_stack([rows, users])
        last = np.argsort(rows < 0, axis=1, kind="stable")
        return np.take_along_axis(rows, last, axis=1)

    def by_vicinity(
        self, users: np.ndarray, score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """``score(users, vicinities)`` (B, items), called for the users of each length by themselves."""
        rows = self.vicinity(users)
        lengths = (rows >= 0).sum(axis=1)
        if (lengths == rows.shape[1]).all():
            return score(users, rows)
        scores = np.empty((0, 0))
        for length in np.unique(lengths):
            at = np.flatnonzero(lengths == length)
            found = score(users[at], rows[at, :length])
            if not scores.size:
                scores = np.empty((len(users), found.shape[1]), dtype=found.dtype)
            scores[at] = found
        return scores

    @property
    def search(self) -> Search:
        """Users (B,) → their neighbours (B, k), row numbers; one that is assigned takes its place."""
        return self._neighbors

    @search.setter
    def search(self, search: Search) -> None:
        self._neighbors = search

    @cached_property
    def _neighbors(self) -> Search:
        config = self.config
        if config.neighbors != "nearest":
            k = config.k if config.neighbors == "random" else 0
            return RandomUsers(self.train.shape[0], k)
        search = NeighborSearch
        if config.max_overlap < 1:
            search = partial(DistinctSearch, max_overlap=config.max_overlap)
        elif config.max_in_degree is not None:
            search = partial(BalancedSearch, max_in_degree=config.max_in_degree)
        return search(
            None if config.distance == "profile_overlap" else self.user_factors(),
            config.k,
            config.distance,
            hubness_reduction=config.hubness_reduction,
            ratings=self.train,
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
