"""Profiles that a defender makes up: what ratings say of items, and rows of chosen ones."""

import numpy as np
import scipy.sparse as sp

from rvdlib.data import round_to_levels


def item_moments(train: sp.csr_matrix, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (items,) of each item's stars; those of all where it has too few.

    Args:
        train: (users, items) CSR of stars, any who rated, fakes among them.
    """
    items, stars = train.indices, train.data.astype(np.float64)
    counts = np.bincount(items, minlength=train.shape[1])
    everything = stars if len(stars) else np.asarray(levels, dtype=np.float64)
    means = np.full(train.shape[1], everything.mean())
    variances = np.full(train.shape[1], everything.var())
    sums = np.bincount(items, weights=stars, minlength=train.shape[1])
    np.divide(sums, counts, out=means, where=counts > 0)
    squares = np.bincount(items, weights=(stars - means[items]) ** 2, minlength=train.shape[1])
    np.divide(squares, counts - 1, out=variances, where=counts > 1)
    return means, np.sqrt(variances)


def profiles(
    items: np.ndarray, stars: np.ndarray, levels: np.ndarray, n_items: int
) -> sp.csr_matrix:
    """(m, n_items) CSR of stars, float32: ``stars`` (m, F), rounded to the scale, of ``items``
    (m, F), none twice in a row."""
    items = np.asarray(items)
    order = np.argsort(items, axis=1)
    values = np.take_along_axis(round_to_levels(stars, levels), order, axis=1)
    columns = np.take_along_axis(items, order, axis=1)
    starts = np.arange(len(items) + 1) * items.shape[1]
    rows = values.ravel().astype(np.float32), columns.ravel(), starts
    return sp.csr_matrix(rows, shape=(len(items), n_items))
