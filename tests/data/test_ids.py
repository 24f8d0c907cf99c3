"""Raw ids to rows: exact, of any type, and a helpful refusal of what is unknown."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvdlib.data import Ratings, load_dataset
from rvdlib.evaluation import recommend, recommend_by_id


def ratings_of(user_ids, item_ids=("a", "b")):
    pairs = [(user, item) for user in user_ids for item in item_ids]
    users, items = zip(*pairs, strict=True)
    return Ratings.from_triples(users, items, [3.0] * len(pairs), name="own")


NUMBERS = ratings_of([3, 10, 7])  # rows by id: 3, 7, 10
TEXTS = ratings_of(["0003", "3", "Ann", "Bob"])


def test_one_id_gives_an_int_and_several_an_array():
    assert NUMBERS.user_index(7) == 1
    assert type(NUMBERS.user_index(np.int32(7))) is int
    assert TEXTS.user_index("0003") == 0
    assert TEXTS.user_index(np.str_("3")) == 1
    assert NUMBERS.item_index("b") == 1
    for several in (
        *([10, 3, 10], (10, 3, 10), np.array([10, 3, 10]), pd.Series([10, 3, 10])),
        *(pd.array([10, 3, 10], dtype="Int64"), pd.Categorical([10, 3, 10]), pa.array([10, 3, 10])),
    ):
        found = NUMBERS.user_index(several)
        assert found.dtype == np.int64
        assert found.tolist() == [2, 0, 2]
    assert NUMBERS.user_index([]).tolist() == []
    assert TEXTS.user_index(np.array(["Bob", "3"])).tolist() == [3, 1]
    assert TEXTS.user_index(pd.Index(["Bob"])).tolist() == [3]


@pytest.mark.parametrize(
    "raw",
    ["3", 3.0, np.float32(3), True, np.bool_(True), b"3", None, np.nan, -3, {3}, [[3]], np.inf],
)
def test_what_is_no_id_of_a_numbered_user_is_refused(raw):
    for asked in (raw, [raw], [7, raw]):
        if isinstance(raw, list) and asked == raw:
            continue
        with pytest.raises(ValueError, match="own has no user "):
            NUMBERS.user_index(asked)


@pytest.mark.parametrize(
    ("ratings", "raw", "hint"),
    [
        (NUMBERS, "3", r"no user '3'; did you mean 3 \(an integer\)\?"),
        (NUMBERS, "0003", r"no user '0003'; did you mean 3 \(an integer\)\?"),
        (NUMBERS, 3.0, r"no user 3.0; did you mean 3 \(an integer\)\?"),
        (NUMBERS, np.float64(7), r"no user 7.0; did you mean 7 \(an integer\)\?"),
        (NUMBERS, 4, r"no user 4; its user ids are like 3, 7, 10 \(each an integer\)"),
        (NUMBERS, "Ann", r"no user 'Ann'; its user ids are like 3, 7, 10 \(each an integer\)"),
        (TEXTS, 3, r"no user 3; did you mean '3' \(a text\)\?"),
        (TEXTS, 3.0, r"no user 3.0; did you mean '0003' \(a text\)\?"),
        (TEXTS, "ann ", r"no user 'ann '; did you mean 'Ann' \(a text\)\?"),
        (TEXTS, "Anne", r"no user 'Anne'; near it are 'Ann'"),
        (TEXTS, "zzz", r"no user 'zzz'; its user ids are like '0003', '3', 'Ann' \(each a text\)"),
        (TEXTS, b"3", r"no user b'3'; its user ids are like"),
    ],
)
def test_the_refusal_says_what_may_have_been_meant(ratings, raw, hint):
    with pytest.raises(ValueError, match=hint):
        ratings.user_index(raw)


@given(st.lists(st.integers(-(10**18), 10**18) | st.text(max_size=4), unique=True, min_size=1))
def test_every_id_is_found_where_it_stands_and_nothing_else_is(ids):
    from rvdlib.data.ids import Ids

    found = Ids("own", "user", np.array(ids, dtype=object))
    assert found.index(ids).tolist() == list(range(len(ids)))
    for raw in ids:
        other = str(raw) if isinstance(raw, int) else raw + "x"
        if other not in ids:
            with pytest.raises(ValueError, match="has no user"):
                found.index(other)


class Fixed:
    def __init__(self, table):
        self.table = table

    def score(self, users):
        return self.table[users]


def test_lists_come_by_raw_id(tmp_path):
    path = tmp_path / "own.csv"
    lines = [("0003", "x"), ("0003", "y"), ("12", "x"), ("12", "z"), ("7", "w")]
    path.write_text("user,item,rating\n" + "".join(f"{u},{i},4\n" for u, i in lines))
    ratings = load_dataset(path)
    assert ratings.item_ids.tolist() == ["w", "x", "y", "z"]
    recommender = Fixed(np.tile(np.array([1.0, 4, 3, 2]), (3, 1)))
    assert recommend_by_id(recommender, "0003", ratings, k=4) == ["z", "w"]
    assert recommend_by_id(recommender, ["7", "0003"], ratings, k=2) == [["x", "y"], ["z", "w"]]
    assert recommend_by_id(recommender, [], ratings, k=2) == []
    nothing = ratings.matrix[:, :].copy()
    nothing.data[:] = 0
    nothing.eliminate_zeros()
    assert recommend_by_id(recommender, "7", ratings, seen=nothing, k=1) == ["x"]
    with pytest.raises(ValueError, match=r"own.csv has no user 3; did you mean '0003'"):
        recommend_by_id(recommender, 3, ratings, k=2)
    with pytest.raises(ValueError, match=r"got '0003'; Ratings.user_index finds those of raw ids"):
        recommend(recommender, ["0003"], ratings.matrix, k=2)
