"""Matrix factorisation as the paper's group has it in its public code: no biases, no mean.

    s_ui = p_u · w_i

The rest is as in :class:`rvdlib.models.MF`: stochastic gradient descent over the observed ratings
in the rating regime (the group takes Adagrad, and hardly any regulariser), alternating least squares
over all cells in the ranking regime (Hu et al. 2008, as published).
"""

import numba
import numpy as np
import torch
from pydantic import Field

from rvdlib.models.least_squares import solve_rows
from rvdlib.models.mf import MF, MFConfig


class PlainMFConfig(MFConfig):
    learning_rate: float = Field(0.05, gt=0, allow_inf_nan=False)  # p · w starts from a saddle


class PlainMF(MF):
    name = "PlainMF"
    Config = PlainMFConfig
    constants = frozenset({"item_bias"})  # zero: the decoder that all victims share has one

    def parameter_shapes(self):
        return {n: shape for n, shape in super().parameter_shapes().items() if n != "user_bias"}

    def encoder(self, users):
        users = torch.tensor(users)
        return lambda parameters: (torch.zeros(len(users)), parameters["user_factors"][users])

    def first_arrays(self, rng):
        arrays = super().first_arrays(rng)
        arrays.pop("user_bias", None)
        return arrays

    def gradient_descent(self, arrays, rng):
        coo, rate = self.train.tocoo(), self.config.learning_rate
        for _ in range(self.config.epochs):
            order = rng.permutation(coo.nnz)
            p, q = arrays["user_factors"], arrays["item_factors"]
            steps = np.float32(rate), np.float32(self.loss.reg)
            _sgd_epoch(coo.row, coo.col, coo.data, order, p, q, *steps)
            rate *= self.config.learning_rate_decay
            yield

    def least_squares(self, arrays):
        omega, reg = np.float32(self.loss.unobserved_weight), np.float32(self.loss.reg)
        factors = arrays["user_factors"], arrays["item_factors"]
        cells = self.train, self.train.T.tocsr()
        for _ in range(self.config.epochs):
            for rows, solved, fixed in zip(cells, factors, factors[::-1], strict=True):
                zeros = np.zeros(len(fixed), dtype=np.float32)
                solve_rows(rows.indptr, rows.indices, rows.data, fixed, zeros, omega, reg, solved)
            yield


@numba.njit(cache=True, fastmath=True)
def _sgd_epoch(rows, columns, values, order, p, q, rate, reg):
    for position in order:
        u, i = rows[position], columns[position]
        error = values[position]
        for f in range(p.shape[1]):
            error -= p[u, f] * q[i, f]
        for f in range(p.shape[1]):
            p_uf = p[u, f]
            p[u, f] += rate * (error * q[i, f] - reg * p_uf)
            q[i, f] += rate * (error * p_uf - reg * q[i, f])
