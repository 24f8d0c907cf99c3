"""From the raw ids of users and items to their rows and columns."""

import difflib
import math
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np

_MOST_COMPARED = 10_000  # ids that are held against an unknown one


class Ids:
    """Raw ids and where they stand: a row a user, a column an item.

    Args:
        owner: the name of the data set.
        kind: ``user`` or ``item``.
        ids: raw ids, in order.
    """

    def __init__(self, owner: str, kind: str, ids: np.ndarray):
        self._owner, self._kind = owner, kind
        self._ids = ids.tolist()
        self._places = {raw: place for place, raw in enumerate(self._ids)}

    def index(self, raw: object) -> int | np.ndarray:
        """Where the id stands; of a list, tuple, array or Series of ids an int64 array (B,).

        Raises:
            ValueError: for what is not among the ids. The text "3" is not the number 3, nor are 3.0
                and True.
        """
        if hasattr(raw, "tolist"):  # arrays of NumPy, pandas, PyArrow, and NumPy's scalars
            raw = raw.tolist()
        if not isinstance(raw, Sequence) or isinstance(raw, str | bytes):
            return self._place(raw)
        return np.array([self._place(each) for each in raw], dtype=np.int64)

    def _place(self, raw: object) -> int:
        try:
            place = self._places.get(raw)
        except TypeError:  # it cannot be hashed
            place = None
        # For Python, 1 is 1.0 and True.
        if place is None or _type_of(raw) != _type_of(self._ids[place]):
            raise ValueError(self._unknown(raw))
        return place

    def _unknown(self, raw: object) -> str:
        # As they are shown, not as NumPy's scalars are.
        raw = raw.item() if isinstance(raw, np.generic) else raw
        problem = f"{self._owner} has no {self._kind} {raw!r}"
        text, compared = _plain(raw), self._ids[:_MOST_COMPARED]
        same = [each for each in self._ids if _plain(each) == text]
        if same:
            best = next((each for each in same if str(each) == str(raw)), same[0])
            return f"{problem}; did you mean {best!r} ({_type_of(best)})?"
        texts = {str(each): each for each in compared}
        near = [repr(texts[name]) for name in difflib.get_close_matches(str(raw), texts)]
        if near and _type_of(raw) == "a text":
            return f"{problem}; near it are {', '.join(near)}"
        examples = ", ".join(repr(each) for each in self._ids[:3])
        kinds = " or ".join(sorted({_type_of(each) for each in compared}))
        return f"{problem}; its {self._kind} ids are like {examples} (each {kinds})"


def _type_of(raw: object) -> str:
    for types, name in (
        (str, "a text"),
        (bool | np.bool_, "a truth value"),
        (Integral, "an integer"),
        (Real, "a decimal number"),
    ):
        if isinstance(raw, types):
            return name
    return type(raw).__name__


def _plain(raw: object) -> str:
    """What ids that are easily taken for each other share: 3, 3.0, "3", " 3" and "0003"."""
    if isinstance(raw, Real) and not isinstance(raw, bool | np.bool_) and raw == raw // 1:
        raw = math.floor(raw)
    text = str(raw).strip().casefold()
    return text.lstrip("0") or text
