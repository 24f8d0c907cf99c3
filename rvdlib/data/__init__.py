"""Ratings: loading, checking, splitting, and making them up."""

from rvdlib.data.ratings import HeldOut, Ratings, round_to_levels
from rvdlib.data.splits import Split, leave_one_out, random_holdout

__all__ = ["HeldOut", "Ratings", "Split", "leave_one_out", "random_holdout", "round_to_levels"]
