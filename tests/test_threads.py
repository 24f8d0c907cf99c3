"""Blocks on threads: every row once, whatever the thread count, and errors come through."""

import numpy as np
import pytest
import torch

from rvdlib.threads import for_blocks


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("length", "block_size"), [(0, 4), (1, 4), (8, 4), (9, 4), (3, 100)])
def test_each_row_is_worked_on_once(threads, length, block_size):
    seen = np.zeros(length, dtype=int)

    def work(block):
        seen[block] += 1

    for_blocks(work, length, block_size)
    assert (seen == 1).all()


def test_an_error_in_a_block_is_not_lost(threads):
    def work(block):
        if block.start == 4:
            raise ValueError("the second block")

    with pytest.raises(ValueError, match="the second block"):
        for_blocks(work, 12, 4)
