"""Memory for the kernels of :mod:`rvdlib.defenses.engine.kernels`, one workspace a thread."""

import math

import numpy as np

from rvdlib.defenses.engine.kernels import (
    Cells,
    Descent,
    Gradients,
    Moving,
    Silence,
    Vicinity,
    Workspace,
)

_BLOCK_NUMBERS = 1024  # parameters whose gradient is formed before they move: for the L1 cache


def block_rows(size: int) -> int:
    """Rows of d = ``size`` numbers whose gradient is formed before they move."""
    return max(_BLOCK_NUMBERS // size, 1)


def workspace(
    dtype: np.dtype, n_items: int, size: int, k: int, n_ratings: int, descent: Descent
) -> Workspace:
    """Memory for vicinities of k users who have up to ``n_ratings`` ratings together."""
    rated, block = min(n_items, n_ratings), block_rows(size)
    everywhere = descent.silent_weight > 0
    rows = n_items if everywhere else rated
    kept = rows if descent.encoder_moves else block
    per_line = 64 // dtype.itemsize

    def numbers(*shape):
        """Zeros from the start of a cache line on, where vectors are loaded fastest."""
        memory = np.zeros(math.prod(shape) + per_line, dtype=dtype)
        start = -memory.ctypes.data % 64 // memory.itemsize
        return memory[start : start + math.prod(shape)].reshape(shape)

    def moving(count):
        return numbers(3, -(-count // per_line) * per_line)

    def indices(count):
        return np.zeros(count, dtype=np.int32)

    power = numbers((k + 1) * size)
    return Workspace(
        Moving(
            decoder_rows=moving(kept * size),
            decoder_bias=moving(kept),
            profile_rows=moving(rated * size),
            own_rows=moving(k * size),
            hidden_bias=moving(size),
            user_bias=moving(k),
        ),
        Vicinity(
            latent=numbers((k + 1) * size),
            hidden=numbers((k + 1) * size),
            offset=numbers(k),
            silence=numbers(k),
            latent_gradient=numbers(k * size),
            offset_gradient=numbers(k),
            rest=numbers((k + 1) * size),
            power=power,
            power_bits=power.view(f"i{dtype.itemsize}"),
        ),
        Cells(
            row_of=np.full(n_items, -1, dtype=np.int32),
            item_of=indices(rows),
            first=indices(k + 1),
            row=indices(n_ratings),
            input=numbers(n_ratings),
            first_of_row=indices(rated + 1),
            cell_of_row=indices(n_ratings),
            neighbour_of_row=indices(n_ratings),
            target=numbers(n_ratings),
        ),
        Silence(
            everyone=np.arange(k, dtype=np.int32),
            surplus=numbers(k),
            of_users=numbers(size + 3, size),
            of_items=numbers(size + 3, size),
        ),
        Gradients(
            rows=numbers(max(block, k) * size),
            numbers=numbers(max(block, k)),
        ),
    )
