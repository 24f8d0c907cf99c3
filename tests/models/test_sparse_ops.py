import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.models.sparse_ops import sampled_product, sparse_product


@st.composite
def problems(draw):
    """A sparse (B, items) matrix, empty rows and columns included, and its dense operands."""
    n_rows, n_columns, size = (draw(st.integers(1, 7)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    density = draw(st.sampled_from([0, 0.3, 1]))
    dense = rng.standard_normal((n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < density)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    left, right = (
        torch.from_numpy(rng.standard_normal((n, size)).astype(dtype)).requires_grad_()
        for n in (n_rows, n_columns)
    )
    return sp.csr_matrix(dense.astype(dtype)), left, right


@settings(max_examples=50, deadline=None)
@given(problem=problems())
def test_products_equal_the_dense_ones(problem):
    matrix, left, right = problem
    rows, columns = matrix.nonzero()
    tolerance = 1e-5 if left.dtype == torch.float32 else 1e-12
    sampled = sampled_product(left, right, matrix)
    assert sampled.dtype == left.dtype
    expected = (left @ right.T)[rows, columns].detach().numpy()
    assert sampled.detach().numpy() == pytest.approx(expected, abs=tolerance)
    product = sparse_product(matrix, right)
    assert product.dtype == right.dtype
    expected = torch.from_numpy(matrix.toarray()) @ right
    assert product.detach().numpy() == pytest.approx(expected.detach().numpy(), abs=tolerance)


@settings(max_examples=50, deadline=None)
@given(problem=problems())
def test_gradients_equal_the_dense_ones(problem):
    matrix, left, right = problem
    rows, columns = matrix.nonzero()
    tolerance = 1e-4 if left.dtype == torch.float32 else 1e-12
    ours = (sampled_product(left, right, matrix) ** 2).sum() + sparse_product(matrix, right).sum()
    dense = torch.from_numpy(matrix.toarray())
    theirs = ((left @ right.T)[rows, columns] ** 2).sum() + (dense @ right).sum()
    gradients = (torch.autograd.grad(loss, (left, right)) for loss in (ours, theirs))
    for mine, reference in zip(*gradients, strict=True):
        assert mine.numpy() == pytest.approx(reference.numpy(), abs=tolerance)


def test_gradients_agree_with_finite_differences():
    rng = np.random.default_rng(0)
    matrix = sp.random(6, 9, 0.4, format="csr", random_state=rng)
    left, right = (torch.from_numpy(rng.standard_normal((n, 3))).requires_grad_() for n in (6, 9))
    assert torch.autograd.gradcheck(lambda *both: sampled_product(*both, matrix), (left, right))
    assert torch.autograd.gradcheck(lambda dense: sparse_product(matrix, dense), (right,))


def test_operands_in_any_memory_order_are_taken():
    rng = np.random.default_rng(0)
    matrix = sp.random(6, 9, 0.4, format="csr", random_state=rng)
    left = torch.from_numpy(rng.standard_normal((3, 6))).T
    right = torch.from_numpy(rng.standard_normal((18, 3)))[::2]
    expected = (left @ right.T)[matrix.nonzero()].numpy()
    assert sampled_product(left, right, matrix).numpy() == pytest.approx(expected)
    assert sparse_product(matrix, right).numpy() == pytest.approx(matrix @ right.numpy())
    # The gradient of a sum is one number repeated with stride 0, that of a transpose is transposed.
    for shape in (lambda product: product.sum(), lambda product: (product.T @ left).sum()):
        given = right.clone().requires_grad_()
        (ours,) = torch.autograd.grad(shape(sparse_product(matrix, given)), given)
        dense = torch.from_numpy(matrix.toarray())
        (theirs,) = torch.autograd.grad(shape(dense @ given), given)
        assert ours.numpy() == pytest.approx(theirs.numpy())
