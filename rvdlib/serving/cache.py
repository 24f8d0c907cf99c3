"""What was computed is kept, within so many bytes, and computed once however many ask at once."""

import sys
import threading
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from rvdlib.serving.errors import needed

_OVERHEAD = 400  # bytes of a key, its places in two dictionaries, and the tuple around a value


class Cache:
    """The least recently used go first. Safe with threads; a work that raises is not kept.

    Nothing here is ever out of date: in the key is the version of the model from which on it stands.

    Args:
        most_bytes: bound on what is kept, keys and overhead counted; 0: nothing is.
    """

    def __init__(self, most_bytes: int):
        cachetools = needed("cachetools")
        self._kept = cachetools.LRUCache(most_bytes, getsizeof=size_of)
        self._get = cachetools.cached(
            self._kept, key=lambda key, work: key, condition=threading.Condition(), info=True
        )(lambda key, work: work())

    def get(self, key: Hashable, work: Callable[[], Any]) -> Any:
        """What ``work()`` gave for this key, now or before."""
        return self._get(key, work)

    def clear(self) -> None:
        with self._get.cache_condition:
            self._kept.clear()

    @property
    def n_bytes(self) -> int:
        return int(self._kept.currsize)

    @property
    def hits_and_misses(self) -> tuple[int, int]:
        return self._get.cache_info()[:2]


def size_of(value: Any) -> int:
    """Bytes that a value takes beside its key: arrays by their numbers, tuples by their members."""
    if isinstance(value, tuple):
        return _OVERHEAD + sum(map(size_of, value))
    if isinstance(value, np.ndarray):
        return value.nbytes + sys.getsizeof(np.empty(0))
    return sys.getsizeof(value)
