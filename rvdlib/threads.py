"""Blocks of users on several threads, for compiled kernels that release the GIL."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def for_blocks(work: Callable[[slice], None], length: int, block_size: int) -> None:
    """``work(slice)`` for consecutive blocks of ``length`` rows, on as many threads as torch uses.

    What it writes must not overlap between blocks; then no number depends on the thread count.
    """
    blocks = [slice(start, start + block_size) for start in range(0, length, block_size)]
    threads = min(torch.get_num_threads(), len(blocks))
    if threads <= 1:
        for block in blocks:
            work(block)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, blocks):
            pass
