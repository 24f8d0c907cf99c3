"""Ratings: loading, checking, splitting, and making them up."""

from rvdlib.data.layout import DataError
from rvdlib.data.ratings import HeldOut, Ratings, round_to_levels
from rvdlib.data.readers import read_ratings
from rvdlib.data.sources import available, load_dataset
from rvdlib.data.splits import Split, leave_last_out, leave_one_out, random_holdout
from rvdlib.data.synthetic import synthetic_ratings

__all__ = [
    "DataError",
    "HeldOut",
    "Ratings",
    "Split",
    "available",
    "leave_last_out",
    "leave_one_out",
    "load_dataset",
    "random_holdout",
    "read_ratings",
    "round_to_levels",
    "synthetic_ratings",
]
