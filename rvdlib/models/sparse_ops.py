"""The two sparse products that training needs, differentiable and compiled.

Ratings fill 0.4 to 6 % of the matrix, so a loss on them should cost what they cost: scores are
computed at the observed cells only, and a profile is encoded by its own items only. The pattern is
the batch's CSR matrix; the dense operands carry the gradients.
"""

import numba
import numpy as np
import scipy.sparse as sp
import torch


@numba.njit(cache=True, fastmath=True)
def sampled_values(indptr, indices, left, right):
    """(nnz,): left_u · right_i for every stored cell (u, i) of a CSR pattern; arrays."""
    out = np.empty(len(indices), dtype=left.dtype)
    for row in range(len(indptr) - 1):
        for position in range(indptr[row], indptr[row + 1]):
            other = right[indices[position]]
            total = left.dtype.type(0)
            for f in range(left.shape[1]):
                total += left[row, f] * other[f]
            out[position] = total
    return out


@numba.njit(cache=True, fastmath=True)
def _product(indptr, indices, values, right):
    out = np.zeros((len(indptr) - 1, right.shape[1]), dtype=right.dtype)
    for row in range(len(indptr) - 1):
        for position in range(indptr[row], indptr[row + 1]):
            column, value = indices[position], values[position]
            for f in range(right.shape[1]):
                out[row, f] += value * right[column, f]
    return out


@numba.njit(cache=True, fastmath=True)
def _transposed_product(indptr, indices, values, left, n_columns):
    out = np.zeros((n_columns, left.shape[1]), dtype=left.dtype)
    for row in range(len(indptr) - 1):
        for position in range(indptr[row], indptr[row + 1]):
            column, value = indices[position], values[position]
            for f in range(left.shape[1]):
                out[column, f] += value * left[row, f]
    return out


class _SampledProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, left, right, pattern):
        ctx.save_for_backward(left, right)
        ctx.pattern = pattern
        values = sampled_values(
            pattern.indptr, pattern.indices, left.detach().numpy(), right.detach().numpy()
        )
        return torch.from_numpy(values)

    @staticmethod
    def backward(ctx, gradient):
        left, right = (operand.detach().numpy() for operand in ctx.saved_tensors)
        indptr, indices = ctx.pattern.indptr, ctx.pattern.indices
        values = gradient.numpy()
        return (
            torch.from_numpy(_product(indptr, indices, values, right)),
            torch.from_numpy(_transposed_product(indptr, indices, values, left, len(right))),
            None,
        )


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dense, matrix):
        ctx.matrix = matrix
        out = _product(matrix.indptr, matrix.indices, matrix.data, dense.detach().numpy())
        return torch.from_numpy(out)

    @staticmethod
    def backward(ctx, gradient):
        matrix = ctx.matrix
        out = _transposed_product(
            matrix.indptr,
            matrix.indices,
            matrix.data,
            gradient.contiguous().numpy(),
            matrix.shape[1],
        )
        return torch.from_numpy(out), None


def sampled_product(
    left: torch.Tensor, right: torch.Tensor, pattern: sp.csr_matrix
) -> torch.Tensor:
    """(nnz,): left_u · right_i for every stored cell (u, i) of ``pattern``, in its order."""
    return _SampledProduct.apply(left, right, pattern)


def sparse_product(matrix: sp.csr_matrix, dense: torch.Tensor) -> torch.Tensor:
    """``matrix @ dense``, differentiable in ``dense``."""
    return _SparseProduct.apply(dense, matrix)
