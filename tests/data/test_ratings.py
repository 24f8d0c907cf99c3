"""Ratings from columns in memory: what is refused, and that nobody can write to them."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from rvdlib.data import Ratings, leave_one_out, synthetic_ratings
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model

NONE = {"users": [], "items": [], "stars": []}
TWO = {"users": [1, 2], "items": [1, 2], "stars": [3, 4]}


@pytest.mark.parametrize("column", ["users", "items"])
@pytest.mark.parametrize(
    "ids",
    [
        [1, None],
        [1, float("nan")],
        ["a", None],
        ["a", np.nan],
        np.array([1, np.nan]),
        np.array(["a", None], dtype=object),
        pd.Series([1, None]),
        pd.Series(["a", None]),
        pd.array([1, pd.NA]),
        np.array(["2020-01-01", "NaT"], dtype="datetime64[s]"),
    ],
)
def test_a_missing_id_is_refused_by_row(column, ids):
    with pytest.raises(ValueError, match=rf"x: {column}: 1 ids are missing, the first in row 1"):
        Ratings.from_triples(**TWO | {column: ids}, name="x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (NONE, "x: one rating or more is needed"),
        ({"users": [1]}, r"a row each, got \{'users': 1, 'items': 2, 'stars': 2\}"),
        ({"users": ["1", 1]}, "users: ids must all be of one type, got int, str"),
        ({"items": [True, 1]}, "items: ids must all be of one type, got bool, int"),
        ({"users": np.ones((2, 2))}, r"users: ids must be one column, got the shape \(2, 2\)"),
        ({"stars": [1, float("nan")]}, "finite and above 0"),
        ({"users": [1, 1], "items": [1, 1]}, "1 .* pairs are repeated"),
        ({"stars": [[3], [4]]}, "ratings must be one column"),
        ({"levels": []}, r"levels must be above 0 and span the ratings, got \[\]"),
        ({"levels": [3]}, "levels must be above 0 and span the ratings"),
        ({"levels": [3.5, 4]}, "levels must be above 0 and span the ratings"),
        ({"levels": [0, 4]}, "levels must be above 0 and span the ratings"),
        ({"levels": [1, float("nan")]}, "levels must be above 0 and span the ratings"),
    ],
)
def test_columns_that_make_no_ratings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Ratings.from_triples(**TWO | changes, name="x")


def test_numpys_integers_are_integers_too():
    ratings = Ratings.from_triples([np.int64(1), 2], [1, 2], [3, 4], name="x")
    assert ratings.user_ids.tolist() == [1, 2]


@pytest.mark.parametrize(
    "ids",
    [
        [2**63, 2**63 + 1, -1],
        [2**64 + 1, 2**64, 0],
        [np.uint64(2**63), np.uint64(2**63 + 1), np.int64(-1)],
        ["a\0", "a", "a\0\0"],
        [b"a\0", b"a", b"\0"],
        [np.str_("b"), "a", "c"],
        [np.float64(1.5), 2.5, 3.5],
    ],
)
def test_different_ids_stay_different_users(ids):
    ratings = Ratings.from_triples(ids, [1, 2, 3], [3, 4, 5], name="x")
    assert set(ratings.user_ids.tolist()) == set(ids)
    for item, raw in enumerate(ids):
        row = ratings.user_index(raw)
        assert ratings.matrix[row].indices.tolist() == [item]


def arrays(value):
    """All arrays that something holds."""
    if isinstance(value, np.ndarray):
        return [value]
    if sp.issparse(value):
        return [value.data, value.indices, value.indptr]
    if isinstance(value, tuple):
        return [array for each in value for array in arrays(each)]
    return (
        [a for each in vars(value).values() for a in arrays(each)]
        if hasattr(value, "__dataclass_fields__")
        else []
    )


@pytest.fixture(scope="module", params=["ratings", "split", "threat model"])
def protected(request):
    ratings = synthetic_ratings(30, 20, 200, rng=stream(0, "ratings"))
    split = leave_one_out(ratings, stream(0, "split"))
    threat = build_threat_model(split, [1, 2], stream(0, "visible"), attack_size=0.1)
    return {"ratings": ratings, "split": split, "threat model": threat}[request.param]


@pytest.mark.parametrize(
    "way",
    [lambda x: x, lambda x: pickle.loads(pickle.dumps(x)), copy.copy, copy.deepcopy],
    ids=["itself", "pickle", "copy", "deepcopy"],
)
def test_nothing_can_be_written_to_nor_to_its_copies(protected, way):
    found = arrays(way(protected))
    assert len(found) >= 5
    assert not any(array.flags.writeable for array in found)
    assert all((a == b).all() for a, b in zip(found, arrays(protected), strict=True))
