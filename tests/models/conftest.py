"""A small training set with every awkward thing in it, and each victim trained on it."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.data import HeldOut, leave_one_out, synthetic_ratings
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream

UNOBSERVED_WEIGHT = {"rating": 0.0, "ranking": 0.2}
KINDS = list(itertools.product(VICTIMS, UNOBSERVED_WEIGHT))
QUICK = {"embedding_size": 4, "epochs": 3, "reg": 0.01}


class Small(NamedTuple):
    train: sp.csr_matrix
    validation: HeldOut
    levels: np.ndarray
    lonely_user: int
    lonely_item: int


@pytest.fixture(scope="session")
def small() -> Small:
    """Real users, one of them without a rating, then three fakes; an item without a rating."""
    ratings = synthetic_ratings(60, 40, 700, rng=stream(0, "ratings"))
    split = leave_one_out(ratings, stream(0, "split"))
    lonely_user, lonely_item = 7, 11
    dense = split.train.toarray()
    fakes = np.zeros((3, 40), dtype=np.float32)
    fakes[:, [2, 5]] = 5
    dense = np.vstack([dense, fakes])
    dense[lonely_user] = dense[:, lonely_item] = 0
    train = sp.csr_matrix(dense)
    for array in (train.data, train.indices, train.indptr, *split.validation):
        array.setflags(write=False)
    return Small(train, split.validation, ratings.levels, lonely_user, lonely_item)


@pytest.fixture(scope="session")
def fit(small):
    """A function (name, regime, seed, **hyper-parameters) -> a victim trained on ``small``."""

    def run(name, regime, seed=0, **hyperparameters):
        hyperparameters = {
            "unobserved_weight": UNOBSERVED_WEIGHT[regime],
            **QUICK,
            **hyperparameters,
        }
        victim = VICTIMS[name](**hyperparameters)
        return victim.fit(small.train, small.validation, small.levels, stream(seed, "model"))

    return run


@pytest.fixture(scope="session", params=KINDS, ids="-".join)
def kind(request):
    """Name and regime of every victim."""
    return request.param


@pytest.fixture(scope="session")
def victim(kind, fit):
    return fit(*kind)
