"""Least squares of every row of a matrix at once, observed and unobserved cells apart."""

import numba
import numpy as np


@numba.njit(cache=True, fastmath=True)
def solve_rows(indptr, indices, values, fixed, fixed_bias, omega, reg, solved):
    """Ridge regression of every row on the ``fixed`` factors, over observed and unobserved cells.

    Minimises Σ_R (y − b − x·f)² + ω Σ_{not R} (b + x·f)² + reg (|R| + ω·columns) ‖x‖².
    """
    n_columns, size = fixed.shape
    rest = np.float32(1) - omega
    gram = omega * (fixed.T @ fixed)
    silence = -omega * (fixed.T @ fixed_bias)
    for row in range(len(indptr) - 1):
        first, last = indptr[row], indptr[row + 1]
        chosen = fixed[indices[first:last]]
        matrix = gram + rest * (chosen.T @ chosen)
        for f in range(size):
            matrix[f, f] += reg * (np.float32(last - first) + omega * np.float32(n_columns))
        target = values[first:last] - rest * fixed_bias[indices[first:last]]
        solved[row] = np.linalg.solve(matrix, silence + chosen.T @ target)
