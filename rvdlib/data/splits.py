"""Train, validation and test: leave-one-out for ranking, random or by time; a random share for RMSE."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from rvdlib.data.ratings import HeldOut, Ratings, WriteProtected
from rvdlib.seeding import check_generator


@dataclass(frozen=True, eq=False)
class Split(WriteProtected):
    """One data set, divided.

    Attributes:
        ratings: what was divided.
        train: (users, items) CSR of stars.
        validation: for early stopping and for choosing hyper-parameters, never reported.
        test: for the reported metrics, never looked at before.
    """

    ratings: Ratings
    train: sp.csr_matrix
    validation: HeldOut
    test: HeldOut


def leave_one_out(ratings: Ratings, rng: np.random.Generator, min_ratings: int = 5) -> Split:
    """One random test and one random validation item of every user with ``min_ratings`` or more.

    Users with fewer ratings stay in training whole and are not evaluated.

    Raises:
        ValueError: if ``min_ratings`` is below 3 (a user would have nothing left to learn from),
            or no user has that many.
    """
    _, starts, lengths = _with_enough(ratings, rng, min_ratings)
    first = rng.integers(lengths)
    second = (first + rng.integers(1, lengths)) % lengths
    return _divide(ratings, test=starts + first, validation=starts + second)


def leave_last_out(ratings: Ratings, rng: np.random.Generator, min_ratings: int = 5) -> Split:
    """As :func:`leave_one_out`, by time: the last item of a user is the test, the last but one the
    validation item. Of several at one time, ``rng`` draws.

    Raises:
        ValueError: as :func:`leave_one_out`, and for ratings without times.
    """
    if ratings.times is None:
        raise ValueError(
            f"{ratings.name} has no times: read it with time_column (--time-column), or take "
            "leave_one_out"
        )
    _, starts, lengths = _with_enough(ratings, rng, min_ratings)
    owners = np.repeat(np.arange(ratings.n_users), np.diff(ratings.matrix.indptr))
    order = np.lexsort([rng.random(ratings.n_ratings), ratings.times, owners])
    last = starts + lengths - 1
    return _divide(ratings, test=order[last], validation=order[last - 1])


def _with_enough(
    ratings: Ratings, rng: np.random.Generator, min_ratings: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users with ``min_ratings`` or more, where their ratings start, and how many they are."""
    check_generator(rng)
    if min_ratings < 3:
        raise ValueError(
            f"min_ratings must be at least 3, got {min_ratings}: a user needs a test item, "
            "a validation item and something left in training"
        )
    start, stop = ratings.matrix.indptr[:-1], ratings.matrix.indptr[1:]
    users = np.flatnonzero(stop - start >= min_ratings)
    if not len(users):
        raise ValueError(
            f"{ratings.name}: no user has {min_ratings} ratings or more, so nothing could be "
            f"tested: bring more ratings of a user, the most are {(stop - start).max()} now "
            "(or, in Python, lower min_ratings of leave_one_out)"
        )
    return users, start[users], (stop - start)[users]


def random_holdout(
    ratings: Ratings,
    rng: np.random.Generator,
    test_share: float = 0.2,
    validation_share: float = 0.03,
) -> Split:
    """A random share of all ratings as test, and a share of what remains as validation.

    Raises:
        ValueError: if a share is not inside (0, 1).
    """
    check_generator(rng)
    for name, share in (("test_share", test_share), ("validation_share", validation_share)):
        if not 0 < share < 1:
            raise ValueError(f"{name} must be between 0 and 1, got {share}")
    order = rng.permutation(ratings.n_ratings)
    n_test = round(test_share * len(order))
    n_validation = round(validation_share * (len(order) - n_test))
    return _divide(ratings, test=order[:n_test], validation=order[n_test : n_test + n_validation])


def _divide(ratings: Ratings, *, test: np.ndarray, validation: np.ndarray) -> Split:
    """Split by positions in the CSR arrays."""
    matrix = ratings.matrix.tocoo()
    keep = np.ones(ratings.n_ratings, dtype=bool)
    keep[test] = keep[validation] = False
    train = sp.csr_matrix(
        (matrix.data[keep], (matrix.row[keep], matrix.col[keep])), shape=matrix.shape
    )
    train.sort_indices()

    def held_out(positions: np.ndarray) -> HeldOut:
        positions = np.sort(positions)
        return HeldOut(matrix.row[positions], matrix.col[positions], matrix.data[positions])

    return Split(ratings, train, held_out(validation), held_out(test))
