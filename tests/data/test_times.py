"""Times of ratings, and the split that goes by them."""

import numpy as np
import pandas as pd
import pytest

from rvdlib.data import DataError, leave_last_out, leave_one_out, read_ratings
from rvdlib.seeding import stream

ROWS = [(u, i, 1 + (u + i) % 5, 1000 * u + (7 * i) % 11) for u in range(6) for i in range(8)]
FRAME = pd.DataFrame(ROWS, columns=["user", "item", "rating", "timestamp"])


def test_times_are_read_only_where_they_are_asked_for():
    assert read_ratings(FRAME).times is None
    times = read_ratings(FRAME, time_column="found").times
    assert times.tolist() == FRAME.sort_values(["user", "item"])["timestamp"].tolist()
    named = FRAME.rename(columns={"timestamp": "when"})
    assert read_ratings(named, time_column="found").times is None
    assert (read_ratings(named, time_column="when").times == times).all()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "data"])
def test_files_and_dates_have_the_same_times(suffix, tmp_path):
    path = tmp_path / f"r.{suffix}"
    dates = pd.to_datetime(FRAME["timestamp"], unit="s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    separator = "," if suffix == "csv" else "\t"
    dated = FRAME.assign(timestamp=dates)
    dated.to_csv(path, index=False, sep=separator, header=suffix != "data")
    expected = read_ratings(FRAME, time_column="found").times
    assert (read_ratings(path, time_column="found").times == expected).all()


def test_the_last_item_is_the_test_and_the_last_but_one_the_validation():
    ratings = read_ratings(FRAME.sample(frac=1, random_state=0), time_column="found")
    split = leave_last_out(ratings, stream(0, "split"))
    in_time = FRAME.sort_values(["user", "timestamp"]).groupby("user")["item"]
    assert split.test.items.tolist() == in_time.nth(-1).tolist()
    assert split.validation.items.tolist() == in_time.nth(-2).tolist()
    assert split.train.nnz == len(FRAME) - 2 * 6


def test_a_split_by_time_needs_times():
    with pytest.raises(ValueError, match="has no times"):
        leave_last_out(read_ratings(FRAME), stream(0, "split"))


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        (["1", "soon"], "row 2: the time 'soon' is not a number"),
        (["x", "y"], "row 1: the time 'x' is neither"),
    ],
)
def test_a_time_that_is_none_is_named(times, problem):
    with pytest.raises(DataError, match=problem):
        read_ratings(FRAME[:2].assign(timestamp=times), time_column="found")


def test_a_column_that_there_is_not_is_named():
    with pytest.raises(DataError, match="'when' is not among"):
        read_ratings(FRAME, time_column="when")


def test_times_change_no_other_split():
    one, other = (
        leave_one_out(read_ratings(FRAME, **asked), stream(0, "split"))
        for asked in ({}, {"time_column": "found"})
    )
    assert (one.test.items == other.test.items).all()
    assert np.array_equal(one.train.data, other.train.data)
