"""What can be wrong with a request, an update or a model: a type for each, which names the value."""

import importlib
from typing import Any


class ServingError(ValueError):
    """Something that was asked for, or given, cannot be used."""


def shortened(value: object, most: int = 60) -> str:
    """``repr``, or its beginning."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of lists in lists
        text = f"a {type(value).__name__} that is too long or too deep to write"
    return text if len(text) <= most else text[:most] + "…"


class UnknownUser(ServingError):
    """There is no user of this id."""

    def __init__(self, user: object, kind: str):
        super().__init__(f"there is no user {shortened(user)}; ids are {kind}")


class ListLength(ServingError):
    """``n`` is no number of items that a list can have."""

    def __init__(self, n: object, n_items: int):
        super().__init__(
            f"n must be a whole number from 1 to {n_items} (the items), got {shortened(n)}"
        )


class TooFewUsers(ServingError):
    """A vicinity of k neighbours needs more than k users."""

    def __init__(self, k: int, n_users: int):
        super().__init__(
            f"k = {k} neighbours need more than {k} users, and there are {n_users}: serve by a form "
            "with a smaller k"
        )


class UnusableModel(ServingError):
    """A model or its file: numbers that are not finite, or content that is not what it should be."""


class UnusableForm(ServingError):
    """A defence that cannot be served, or choices that it does not have."""


class UnusableRating(ServingError):
    """A rating of an update: its user, item or stars."""


class CannotFoldIn(ServingError):
    """The model has no vector for a user whom it was not trained with; the message says why."""


def needed(module: str) -> Any:
    """A module of the optional extra; ImportError says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImportError(
            f"serving needs {module}, which is not installed: pip install 'rvdlib[serving]' (in a "
            "clone: pip install -e '.[serving]')"
        ) from None
