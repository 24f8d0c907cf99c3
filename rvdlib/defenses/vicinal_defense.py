"""Whom RVD learns from: what its forms for victims have in common."""

from functools import cached_property, partial
from typing import Literal

import numpy as np
from pydantic import Field

from rvdlib.defenses.protocol import Choices, Served
from rvdlib.neighbors import NeighborSearch
from rvdlib.neighbors.distinct import DistinctSearch


class VicinityConfig(Choices):
    """The choice of the neighbours. Unknown names are refused."""

    k: int = Field(10, ge=1, description="neighbours")
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

    Config = VicinityConfig

    def vicinity(self, users: np.ndarray) -> np.ndarray:
        """(B, k) rows to fine-tune on, or (B, k + 1) where the user's own row joins them.

        Raises:
            ValueError: for ``users`` that are not row numbers of training users.
        """
        rows = self._neighbors(users)
        own = np.asarray(users, dtype=rows.dtype)
        return np.column_stack([rows, own]) if self.config.include_user else rows

    @cached_property
    def _neighbors(self) -> NeighborSearch:
        config = self.config
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
