"""Whom RVD learns from: the k nearest users, exactly, at the price of a float32 matrix product.

Distances (smaller is nearer): ``euclidean``, ``cosine`` and ``inner_product`` between latent
vectors, ``profile_overlap`` between the sets of rated items (one minus the Jaccard index). A user
is never their own neighbour; ties go to the lower row number.
"""

from functools import cached_property

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices, check_one_of
from rvdlib.neighbors.hubs import MUTUAL_REACH, mutual_first
from rvdlib.neighbors.spaces import Profiles, Vectors, checked_factors, directions

DISTANCES = ("euclidean", "cosine", "inner_product", "profile_overlap")
HUBNESS_REDUCTIONS = ("none", "local_scaling", "mutual")


class NeighborSearch:
    """The k nearest among fixed users: prepared once, then finds those of whomever is asked for.

    Everyone may be a neighbour, fakes included: a defender cannot tell them apart. Whoever has no
    rating in ``ratings`` has nothing to say, and comes after all others.

    Args:
        user_factors: (users, d) latent vectors; not read by ``profile_overlap``.
        k: neighbours of a user.
        distance: one of ``DISTANCES``.
        hubness_reduction: one of ``HUBNESS_REDUCTIONS``; what it needs to know of everybody is
            found at the first call.
        ratings: (users, items) CSR, what is stored is rated; ``profile_overlap`` needs it.

    Raises:
        ValueError: for an unknown choice, k not below the number of users, factors that are not
            finite, ``profile_overlap`` without ratings, or ``local_scaling`` of inner products.
    """

    def __init__(
        self,
        user_factors: np.ndarray | None,
        k: int,
        distance: str = "euclidean",
        *,
        hubness_reduction: str = "none",
        ratings: sp.csr_matrix | None = None,
    ):
        check_one_of("distance", distance, DISTANCES)
        check_one_of("hubness_reduction", hubness_reduction, HUBNESS_REDUCTIONS)
        if (distance, hubness_reduction) == ("inner_product", "local_scaling"):
            raise ValueError(
                "hubness_reduction local_scaling needs a distance, and inner_product is none (it "
                "may be negative); take mutual, or distance cosine"
            )
        absent = None if ratings is None else np.diff(ratings.indptr) == 0
        self._space: Vectors | Profiles
        if distance == "profile_overlap":
            self._space = Profiles(ratings)
        elif distance == "cosine":
            chords = hubness_reduction == "local_scaling"
            unit = directions(checked_factors(user_factors))
            kind = "euclidean" if chords else "inner_product"
            self._space = Vectors(unit, kind, absent=absent)
        else:
            self._space = Vectors(checked_factors(user_factors), distance, absent=absent)
        if not 1 <= k < len(self._space):
            most = len(self._space) - 1
            raise ValueError(f"k must be between 1 and {most} (the other users), got {k}")
        self.k, self.hubness_reduction = k, hubness_reduction

    def __call__(self, users: np.ndarray) -> np.ndarray:
        """(B, k) int64 row numbers of the neighbours of ``users`` (B,), nearest first.

        Raises:
            ValueError: for ``users`` that are not row numbers.
        """
        users = as_indices("users", users, len(self._space))
        if self.hubness_reduction == "mutual":
            return self._mutual[users]
        return self._searched.nearest(users, self.k)[0]

    @cached_property
    def _searched(self) -> "Vectors | Profiles":
        if self.hubness_reduction == "none":
            return self._space
        return self._space.scaled(self._scale)

    @cached_property
    def _scale(self) -> np.ndarray:
        """(users,) the mean distance to the k nearest."""
        distances = np.sqrt(self._space.nearest(np.arange(len(self._space)), self.k)[1])
        finite = np.isfinite(distances)
        total = np.where(finite, distances, 0).sum(axis=1)
        return total / np.maximum(1, finite.sum(axis=1))

    @cached_property
    def _mutual(self) -> np.ndarray:
        n_users = len(self._space)
        reach = min(MUTUAL_REACH * self.k, n_users - 1)
        return mutual_first(self._space.nearest(np.arange(n_users), reach)[0], self.k)
