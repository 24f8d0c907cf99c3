"""Serving: a defended recommender in front of users (:class:`RealTimeDefender`)."""

from rvdlib.serving.arrays import Arrays
from rvdlib.serving.defender import RealTimeDefender
from rvdlib.serving.errors import (
    CannotFoldIn,
    ListLength,
    ServingError,
    TooFewUsers,
    UnknownUser,
    UnusableForm,
    UnusableModel,
    UnusableRating,
)
from rvdlib.serving.evidence import Answer, Evidence
from rvdlib.serving.forms import UNDEFENDED, default_form
from rvdlib.serving.storing import load, save

__all__ = [
    "UNDEFENDED",
    "Answer",
    "Arrays",
    "CannotFoldIn",
    "Evidence",
    "ListLength",
    "RealTimeDefender",
    "ServingError",
    "TooFewUsers",
    "UnknownUser",
    "UnusableForm",
    "UnusableModel",
    "UnusableRating",
    "default_form",
    "load",
    "save",
]
