"""One rule for threads: no number depends on how many there are.

Floating-point sums depend on their order, and BLAS splits a product by the threads that it has. So
whatever is one computation (training a victim, crafting fakes, fine-tuning for a user, a product)
runs on one thread, and what runs in parallel are blocks of users, who do not depend on each other:
as many blocks at once as torch has threads (``torch.set_num_threads``), each on one thread, and the
same blocks however many there are.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from threadpoolctl import OpenBLASController, ThreadpoolController


class _OneBlasThread:
    """A limit on BLAS, whose threads serve all callers: the first to enter sets it, the last to leave
    lifts it."""

    def __init__(self):
        self._lock, self._inside = threading.Lock(), 0
        # A process forked while another thread holds the lock would wait for that thread for ever.
        os.register_at_fork(
            before=self._lock.acquire,
            after_in_parent=self._lock.release,
            after_in_child=self._lock.release,
        )

    def __enter__(self):
        with self._lock:
            if not self._inside:
                self._limit = None
                if any(blas.get_num_threads() != 1 for blas in _blas().lib_controllers):
                    with _anybody_may_set_limits():
                        self._limit = _blas().limit(limits=1)
            self._inside += 1

    def __exit__(self, *_):
        with self._lock:
            self._inside -= 1
            if not self._inside and self._limit:
                with _anybody_may_set_limits():
                    self._limit.restore_original_limits()


class _OneTorchThread(threading.local):
    """The same for torch, which counts threads for each thread of Python's; callers may overlap there
    too, as coroutines do, and leave in any order."""

    _inside = 0

    def __enter__(self):
        if not self._inside:
            self._before = torch.get_num_threads()
            torch.set_num_threads(1)
        self._inside += 1

    def __exit__(self, *_):
        self._inside -= 1
        if not self._inside:
            torch.set_num_threads(self._before)


@contextmanager
def _anybody_may_set_limits() -> Iterator[None]:
    """threadpoolctl obeys the thread that set a limit first, and silently no other."""
    OpenBLASController.clear_controlling_thread(force=True)
    yield
    OpenBLASController.clear_controlling_thread(force=True)


_ONE_BLAS_THREAD, _ONE_TORCH_THREAD = _OneBlasThread(), _OneTorchThread()


@functools.cache
def _blas() -> ThreadpoolController:
    """Finding the libraries takes milliseconds, limiting them microseconds."""
    import scipy.linalg  # noqa: F401  brings a library of its own, which must be among those found

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def single_thread() -> Iterator[None]:
    """torch and BLAS on one thread, within a ``with`` or, as ``@single_thread()``, in a function."""
    with _ONE_TORCH_THREAD, _ONE_BLAS_THREAD:
        yield


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """torch and BLAS on so many threads, for measuring; not to be used within :func:`single_thread`."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with _blas().limit(limits=threads):
            yield
    finally:
        torch.set_num_threads(before)


def for_blocks(work: Callable[[slice], None], length: int, block_size: int) -> None:
    """``work(slice)`` for consecutive blocks of ``length`` rows, on as many threads as torch uses.

    What it writes must not overlap between blocks. Within ``work``, torch and BLAS have one thread.
    """
    blocks = [slice(start, start + block_size) for start in range(0, length, block_size)]
    threads = min(torch.get_num_threads(), len(blocks))
    with single_thread():
        if threads <= 1:
            for block in blocks:
                work(block)
            return
        # torch counts threads for each thread: without the initializer a new one has the default.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(work, blocks):
                pass
