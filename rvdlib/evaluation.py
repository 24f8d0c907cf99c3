"""From a recommender to numbers: who is evaluated, on what, in bounded memory.

The metrics themselves are specified in :mod:`rvdlib.metrics`.
"""

import warnings
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from rvdlib import metrics
from rvdlib.arguments import as_indices, check_csr
from rvdlib.data import HeldOut, Ratings, Split
from rvdlib.eligibility import eligible_items, only_eligible


class Recommender(Protocol):
    """Anything that scores users against all items. ``predicts_stars = False`` voids its RMSE.

    It may also say which items a list may hold (:mod:`rvdlib.eligibility`); RMSE judges all scores.
    """

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items) of the users with these row numbers, in stars."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured for each evaluated user; the properties sum it up.

    Attributes:
        k: length of the list.
        users: (U,) row numbers, real users only.
        targets: (T,) item indices.
        target_ranks: (U, T) rank of each target in each user's list, inf where the user rated it.
        raters: (U, T) whether the user rated the target in training.
        test_ranks: (U,) rank of the test item, NaN for a user without one.
        squared_errors: (U,) on the test item in stars², NaN for a user without one, and for all on
            a scale of one level (implicit data).
        lists: (U, K) item indices, best first, -1 where a list is shorter.
        n_items: in the catalogue.
    """

    k: int
    users: np.ndarray
    targets: np.ndarray
    target_ranks: np.ndarray
    raters: np.ndarray
    test_ranks: np.ndarray
    squared_errors: np.ndarray
    lists: np.ndarray
    n_items: int

    @property
    def target_hit_ratio(self) -> float:
        """THR@K: the targets' raters excluded; NaN without targets."""
        return metrics.target_hit_ratio(self.target_ranks, self.raters, self.k)

    @property
    def target_hit_ratio_with_raters(self) -> float:
        """THR@K with raters kept in the denominator."""
        return metrics.target_hit_ratio(self.target_ranks, self.raters, self.k, count_raters=True)

    @property
    def hit_ratio(self) -> float:
        return metrics.mean(metrics.hits(self.test_ranks, self.k))

    @property
    def ndcg(self) -> float:
        return metrics.mean(metrics.gains(self.test_ranks, self.k))

    @property
    def rmse(self) -> float:
        """In stars, on the test items."""
        return float(np.sqrt(metrics.mean(self.squared_errors)))

    @property
    def catalogue_share(self) -> float:
        """Of all items, those that stand in anybody's list."""
        return len(np.unique(self.lists[self.lists >= 0])) / self.n_items

    @property
    def list_length(self) -> float:
        """Mean number of items in a list: at most K."""
        return float((self.lists >= 0).sum(axis=1).mean())

    @property
    def target_counts(self) -> dict[str, list[int]]:
        """``target_hits`` and ``target_users``: one number a target (:func:`metrics.target_hits`)."""
        counts = metrics.target_hits(self.target_ranks, self.raters, self.k)
        return dict(
            zip(("target_hits", "target_users"), map(np.ndarray.tolist, counts), strict=True)
        )

    def summary(self) -> dict[str, float]:
        names = ("target_hit_ratio", "target_hit_ratio_with_raters", "hit_ratio", "ndcg", "rmse")
        return {name: getattr(self, name) for name in (*names, "catalogue_share", "list_length")}

    def take(self, rows: np.ndarray) -> "Evaluation":
        """The same for the users at these positions, who may repeat (bootstrap)."""
        per_user = ("users", "target_ranks", "raters", "test_ranks", "squared_errors", "lists")
        return replace(self, **{name: getattr(self, name)[rows] for name in per_user})


def evaluate(
    recommender: Recommender,
    split: Split,
    targets: ArrayLike,
    *,
    k: int = 50,
    users: ArrayLike | None = None,
    block_size: int = 512,
) -> Evaluation:
    """Evaluate on the real users of a leave-one-out split: target hits and the test item.

    Args:
        recommender: may have been trained with fakes below the real rows; they are never scored.
        targets: (T,) item indices (``split.ratings.item_index`` finds those of raw ids); may be
            empty.
        k: length of the list, below the number of items that a user has left to rank.
        users: evaluate these real users only; by default all.
        block_size: users scored at once; memory is about block_size × items scores.

    Raises:
        ValueError: for users or targets that are none or repeat, a list that holds all that anybody
            has left to rank, several test items for one user (see :func:`rmse` for those splits),
            scores of a wrong shape or with NaN, or ``eligible`` of a wrong shape or type.

    Warns:
        UserWarning: if some users, not all, have no more than ``k`` items left to rank.
    """
    n_users, n_items = split.train.shape
    targets = as_indices("targets", targets, n_items, of="items", distinct=True)
    users = np.arange(n_users) if users is None else users
    users = as_indices("users", users, n_users, distinct=True)
    if not len(users):
        raise ValueError("users must be one real user or more, got none")
    _check_left_to_rank(split.train, users, k)
    blocks = _blocks(len(users), block_size)
    if len(np.unique(split.test.users)) != len(split.test.users):
        raise ValueError("a user has several test items: evaluate needs a leave-one-out split")

    test_items, stars = np.full(n_users, -1), np.full(n_users, np.nan)
    test_items[split.test.users] = split.test.items
    stars[split.test.users] = split.test.stars
    # Clipped to a scale of one level, every prediction would be right.
    predicts_stars = getattr(recommender, "predicts_stars", True) and len(split.ratings.levels) > 1

    all_ranks = np.empty((len(users), 1 + len(targets)))
    errors = np.full(len(users), np.nan)
    lists = np.empty((len(users), k), dtype=np.int64)
    for here in blocks:
        block = users[here]
        scores = _score(recommender, block, n_items)
        served = only_eligible(recommender, block, scores)
        lists[here] = metrics.top_k(served, split.train[block], k)
        # Whoever has no test item ranks item 0 in its place, to be voided below.
        tests = np.maximum(test_items[block], 0)
        items = np.column_stack([tests, np.broadcast_to(targets, (len(block), len(targets)))])
        all_ranks[here] = metrics.ranks(served, split.train[block], items)
        if predicts_stars:
            predictions = scores[np.arange(len(block)), tests]
            errors[here] = metrics.squared_errors(predictions, stars[block], split.ratings.levels)
    all_ranks[test_items[users] < 0, 0] = np.nan
    rated = split.train[users][:, targets].tocoo()
    raters = np.zeros((len(users), len(targets)), dtype=bool)
    raters[rated.row, rated.col] = True
    ranks = all_ranks[:, 1:], raters, all_ranks[:, 0]
    return Evaluation(k, users, targets, *ranks, errors, lists, n_items)


def _check_left_to_rank(train: sp.csr_matrix, users: np.ndarray, k: int) -> None:
    """Refuse a k with which all of anybody's unseen items are hits, whatever their scores."""
    metrics.check_list_length(k, train.shape[1])
    left = train.shape[1] - np.diff(train.indptr)
    if k >= left.max():
        raise ValueError(
            f"k = {k} of {train.shape[1]} items: nobody has more than {left.max()} left to rank, so "
            "that every item would be a hit, whatever its score; take a smaller k"
        )
    n_whole, least = int((left[users] <= k).sum()), left[users].min()
    if n_whole:
        remedy = f"a k below {least} avoids it" if least > 1 else "leave them out by users="
        warnings.warn(
            f"k = {k} of {train.shape[1]} items: {n_whole} of {len(users)} users have no more than "
            f"that left to rank, so that every item is a hit for them, whatever its score; {remedy}",
            stacklevel=3,
        )


def recommend(
    recommender: Recommender,
    users: ArrayLike,
    seen: sp.csr_matrix,
    *,
    k: int = 50,
    block_size: int = 512,
) -> np.ndarray:
    """Each user's list: (U, k) item indices, best first, -1 where a list is shorter.

    Args:
        users: (U,) row numbers; who stands there twice is served twice. Raw ids:
            :func:`recommend_by_id`.
        seen: (users, items) CSR; what is stored in a user's row is not in the user's list.
        k: length of the list.
        block_size: users scored at once; memory is about block_size × items scores.

    Raises:
        ValueError: for what are not rows of ``seen``, k out of range, scores of a wrong shape or
            with NaN, or ``eligible`` of a wrong shape or type.
    """
    check_csr("seen", seen)
    n_rows, n_items = seen.shape
    users = as_indices("users", users, n_rows)
    metrics.check_list_length(k, n_items)
    lists = np.empty((len(users), k), dtype=np.int64)
    for here in _blocks(len(users), block_size):
        block = users[here]
        scores = _score(recommender, block, n_items)
        eligible = eligible_items(recommender, block, scores.shape)
        lists[here] = metrics.top_k(scores, seen[block], k, eligible)
    return lists


def recommend_by_id(
    recommender: Recommender,
    user_ids: object,
    ratings: Ratings,
    *,
    seen: sp.csr_matrix | None = None,
    k: int = 50,
    block_size: int = 512,
) -> list:
    """The raw ids of the items in a user's list, best first; of several users a list of lists.

    A list is shorter than ``k`` where less is left to recommend.

    Args:
        user_ids: one raw id, or a list, tuple, array or Series of them.
        ratings: whose ids these are, and whose rows the recommender was trained on (fakes may
            follow below).
        seen: as of :func:`recommend`; by default all of ``ratings``.

    Raises:
        ValueError: for an unknown id (:meth:`rvdlib.data.Ratings.user_index`), and as
            :func:`recommend` does.
    """
    users = ratings.user_index(user_ids)
    seen = ratings.matrix if seen is None else seen
    lists = recommend(recommender, np.atleast_1d(users), seen, k=k, block_size=block_size)
    named = [ratings.item_ids[items[items >= 0]].tolist() for items in lists]
    return named if np.ndim(users) else named[0]


def rmse(
    recommender: Recommender, held_out: HeldOut, levels: np.ndarray, *, block_size: int = 512
) -> float:
    """RMSE in stars on any held-out ratings, several per user too; NaN if there are none.

    NaN also on a scale of one level, where there is nothing to predict.

    Raises:
        ValueError: if a prediction is NaN, or there is none for an item of ``held_out``.
    """
    if len(levels) == 1:
        return float("nan")
    order = np.argsort(held_out.users, kind="stable")
    users, items, stars = (column[order] for column in held_out)
    distinct, first = np.unique(users, return_index=True)
    bounds = np.append(first, len(users))
    errors = np.empty(len(users))
    for served in _blocks(len(distinct), block_size):
        block = distinct[served]
        here = slice(bounds[served.start], bounds[served.stop])
        scores = np.asarray(recommender.score(block))
        columns = as_indices("held_out.items", items[here], scores.shape[1], of="items")
        predictions = scores[np.searchsorted(block, users[here]), columns]
        errors[here] = metrics.squared_errors(predictions, stars[here], levels)
    return float(np.sqrt(metrics.mean(errors)))


def _blocks(length: int, size: int) -> list[slice]:
    """The positions below ``length``, ``size`` at once."""
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise ValueError(f"block_size must be a whole number of users, 1 or more, got {size!r}")
    return [slice(n, min(n + size, length)) for n in range(0, length, int(size))]


def _score(recommender: Recommender, users: np.ndarray, n_items: int) -> np.ndarray:
    scores = np.asarray(recommender.score(users))
    if scores.shape != (len(users), n_items):
        raise ValueError(
            f"{type(recommender).__name__}.score gave the shape {scores.shape}, "
            f"expected {(len(users), n_items)} (users, items)"
        )
    return scores
