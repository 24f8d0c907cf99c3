"""Votes of a vicinity: how many of a user's neighbours rated each item.

Nobody's vote counts for more than one, whatever the rating, and an item that few neighbours rated
has few votes, whatever its score. With ``max_in_degree`` = B, m fakes have at most m B votes for an
item in all vicinities together.
"""

from typing import Any, ClassVar, Literal

import numba
import numpy as np
from pydantic import Field

from rvdlib.defenses.vicinal_defense import VicinalDefense, VicinityConfig
from rvdlib.threads import for_blocks

_BLOCK_USERS = 64


def _as_many_as_neighbours(chosen: dict[str, Any]) -> int | None:
    near = chosen.get("neighbors") == "nearest" and chosen.get("max_overlap") == 1
    return chosen.get("k") if near else None


class VotesConfig(VicinityConfig):
    """The choice of who votes. Unknown names are refused."""

    k: int = Field(30, ge=1, description="neighbours")
    neighbors: Literal["nearest", "random"] = Field(
        "nearest", description="random: a control, k other users drawn at random for each user"
    )
    hubness_reduction: Literal["none", "local_scaling", "mutual"] = Field(
        "local_scaling",
        description="against users who stand in very many lists, see rvdlib.neighbors",
    )
    max_in_degree: int | None = Field(
        default_factory=_as_many_as_neighbours,
        ge=1,
        description="vicinities that a user may vote in, at least k; k unless said; None: any number",
    )


class VicinityVotes(VicinalDefense):
    """What serves by votes: a victim, or what another defence serves, and each user's vicinity.

    Whatever has ``score(users)``, ``train`` and, unless ``distance`` is ``profile_overlap``,
    ``user_factors()`` can be wrapped.
    """

    Config: ClassVar[type[VotesConfig]] = VotesConfig
    config: VotesConfig
    wraps_any = True

    def votes(self, users: np.ndarray) -> np.ndarray:
        """(B, items) int32: how many of each user's vicinity rated each item.

        Raises:
            ValueError: for ``users`` that are not row numbers of training users.
        """
        rows, train = self.vicinity(users), self.train
        counts = np.zeros((len(rows), train.shape[1]), dtype=np.int32)

        def count(block):
            _count(rows[block], train.indptr, train.indices, counts[block])

        for_blocks(count, len(rows), _BLOCK_USERS)
        return counts

    def reached(self, users: np.ndarray, least: int) -> np.ndarray:
        """(B, items) bool: ``votes(users) >= least``, without the table of counts.

        Raises:
            ValueError: for ``users`` that are not row numbers of training users.
        """
        rows, train = self.vicinity(users), self.train
        reached = np.empty((len(rows), train.shape[1]), dtype=bool)

        def count(block):
            counts = np.empty(train.shape[1], dtype=np.min_scalar_type(rows.shape[1]))
            _reach(rows[block], train.indptr, train.indices, least, counts, reached[block])

        for_blocks(count, len(rows), _BLOCK_USERS)
        return reached


def ordered_by(groups: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Scores (B, items), float64, that order items by ``groups``, the highest first, then by ``scores``.

    An item of group 0 keeps its score. Groups are apart by a power of two that is more than a user's
    scores differ by, and that float64 can tell in the largest of them: within a group, scores that
    differ by less than 2⁻⁴⁵ of the range times the group may come out equal. −inf and NaN stay.
    """
    scores, finite = np.asarray(scores, dtype=np.float64), np.isfinite(scores)
    highest = np.max(scores, axis=1, where=finite, initial=-np.inf, keepdims=True)
    lowest = np.min(scores, axis=1, where=finite, initial=np.inf, keepdims=True)
    size = np.max(np.abs(scores), axis=1, where=finite, initial=0, keepdims=True)
    bits = np.maximum(np.frexp(np.maximum(highest - lowest, 0))[1] + 1, np.frexp(size)[1] - 45)
    apart = np.ldexp(1.0, bits)
    return scores + groups * apart


@numba.njit(cache=True, nogil=True)
def _count(vicinities, indptr, items, counts):
    for row in range(len(vicinities)):
        for v in vicinities[row]:
            if v < 0:
                break
            for item in items[indptr[v] : indptr[v + 1]]:
                counts[row, item] += 1


@numba.njit(cache=True, nogil=True)
def _reach(vicinities, indptr, items, least, counts, reached):
    """``counts`` (items,): one user's at a time stay in the cache."""
    for row in range(len(vicinities)):
        counts[:] = 0
        for v in vicinities[row]:
            if v < 0:
                break
            for item in items[indptr[v] : indptr[v + 1]]:
                counts[item] += 1
        for item in range(len(counts)):
            reached[row, item] = counts[item] >= least
