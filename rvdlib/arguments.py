"""Arguments, checked before they are used: a mistake is an error, never another argument."""

import difflib
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

_MEANING = {
    "users": ("row numbers", "Ratings.user_index"),
    "items": ("item indices", "Ratings.item_index"),
}


def as_indices(
    name: str,
    given: ArrayLike,
    size: int,
    *,
    of: str = "users",
    ndim: int | None = 1,
    distinct: bool = False,
) -> np.ndarray:
    """``given`` as int64: row numbers of ``users``, or item indices, of which there are ``size``.

    Integers alone pass. "3", 1.9 and True are no row numbers, though a cast would make them some,
    and −1 is nobody, though NumPy would take it for the last one. A contiguous int64 array is not copied.

    Args:
        name: what the error calls it.
        of: ``users`` or ``items``.
        ndim: how many dimensions it must have; None: any, at least one.
        distinct: whether none may stand there twice.

    Raises:
        ValueError: for anything else; the message names the first value at fault.
    """
    what, finder = _MEANING[of]
    try:
        found = np.asarray(given)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} must be an array of {what}: {error}") from None
    if found.ndim != (ndim or max(found.ndim, 1)):
        shape = f"the shape {found.shape}" if found.ndim else f"{given!r} (of one: [{given!r}])"
        dimensions = f"{ndim} dimensions" if (ndim or 1) > 1 else "one dimension"
        raise ValueError(f"{name} must be {what} in {dimensions}, got {shape}")
    if not found.size:
        return np.empty(found.shape, dtype=np.int64)
    if found.dtype.kind not in "iu" or _hides_a_bool(given):
        values = np.asarray(given, dtype=object).ravel().tolist()
        good = [_is_integer(value) and 0 <= value < size for value in values]
        if not all(good) or found.dtype != object:
            wrong = values[0 if all(good) else good.index(False)]
            raise ValueError(
                f"{name} must be {what}, integers from 0 to {size - 1}, got {wrong!r}; {finder} "
                "finds those of raw ids"
            )
    found = np.ascontiguousarray(found, dtype=np.int64)  # PyTorch takes no reversed views
    # Seen as unsigned, negative ones are large: one look at each is enough.
    if found.view(np.uint64).max() >= size:
        wrong = np.asarray(given)[(found < 0) | (found >= size)].flat[0]
        raise ValueError(f"{name} must be {what} from 0 to {size - 1}, got {wrong}")
    if distinct and len(np.unique(found)) < found.size:
        values, counts = np.unique(found, return_counts=True)
        raise ValueError(f"{name} repeat: {values[counts.argmax()]} stands there twice or more")
    return found


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _hides_a_bool(given: ArrayLike) -> bool:
    """Among numbers, NumPy takes True for 1."""
    if not isinstance(given, list | tuple):
        return False
    types = set(map(type, given))
    if types & {list, tuple}:
        return any(map(_hides_a_bool, given))
    return not types.isdisjoint({bool, np.bool_})


def check_csr(name: str, given: object) -> None:
    """Raise ``ValueError`` unless it is a CSR matrix: read as one, a CSC matrix is another one."""
    if getattr(given, "format", "dense") != "csr":
        raise ValueError(f"{name} must be a CSR matrix, see scipy.sparse.csr_matrix")


def check_one_of(name: str, given: object, known: Iterable[str]) -> None:
    """Raise ``ValueError``, with what may have been meant, unless ``given`` is one of ``known``."""
    known = list(known)
    if not isinstance(given, str) or given not in known:
        raise ValueError(
            f"{name} must be one of {', '.join(known)}, got {given!r}{did_you_mean(given, known)}"
        )


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """The end of a message: the nearest of ``known``, if any is near, whatever the case."""
    if not isinstance(given, str):
        return ""
    spelled = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(given.strip().casefold(), spelled, n=1)
    return f"; did you mean {spelled[near[0]]!r}?" if near else ""
