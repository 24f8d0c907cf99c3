"""The split of a seed: what tables test on, and what may be chosen on, which is none of that."""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import check_one_of
from rvdlib.data import HeldOut, Ratings, Split, leave_one_out, load_dataset
from rvdlib.seeding import stream

TABLE_SEEDS = range(10)  # no table has another
EVALUATED_ON = ("test", "validation")


def split_of_seed(dataset: str | Ratings, seed: int, evaluated_on: str = "test") -> Split:
    """Leave-one-out, drawn from the seed's own stream.

    With ``evaluated_on="validation"``, to choose by, the validation items stand in place of the
    test items: those that no table tests on.

    Raises:
        ValueError: for an unknown data set, or what is neither ``test`` nor ``validation``.
    """
    check_one_of("evaluated_on", evaluated_on, EVALUATED_ON)
    ratings = load_dataset(dataset)
    split = leave_one_out(ratings, stream(seed, "split"))
    if evaluated_on == "test":
        return split
    users, items, _ = held_out = split.validation
    unseen = ~np.asarray(tested_in_tables(ratings)[users, items]).ravel()
    return replace(split, test=HeldOut(*(column[unseen] for column in held_out)))


def without_test_ratings(ratings: Ratings) -> Ratings:
    """What is left when nobody may see the test items of any table's leave-one-out split."""
    tested = tested_in_tables(ratings)
    kept = sp.csr_matrix(ratings.matrix - ratings.matrix.multiply(tested), dtype=np.float32)
    kept.eliminate_zeros()
    return replace(ratings, matrix=kept)


def tested_in_tables(ratings: Ratings) -> sp.csr_matrix:
    """(users, items) bool: the test items of every table's leave-one-out split."""
    tests = [leave_one_out(ratings, stream(seed, "split")).test for seed in TABLE_SEEDS]
    users, items = (
        np.concatenate([getattr(test, of) for test in tests]) for of in ("users", "items")
    )
    return sp.csr_matrix((np.ones(len(users)), (users, items)), shape=ratings.matrix.shape) > 0
