"""Biased matrix factorisation, each regime trained by the method that fits it.

    s_ui = a_u + p_u · w_i + b_i

Rating regime: a_u = μ + b_u, stochastic gradient descent over the observed ratings (Koren et al.
2009). Ranking regime: a_u = 0, alternating least squares over all cells, the unobserved ones as
zeros of weight ω (Hu et al. 2008), the regulariser scaled by how many cells a row has (Rendle et
al. 2022).
"""

from collections.abc import Iterator

import numba
import numpy as np
import torch
from pydantic import Field

from rvdlib.models.base import Victim, VictimConfig
from rvdlib.models.fitting import EarlyStopping
from rvdlib.models.least_squares import solve_rows
from rvdlib.models.loss import Loss


class MFConfig(VictimConfig):
    reg: float = Field(0.01, ge=0, allow_inf_nan=False, description="of the squared norms")
    initial_std: float = Field(0.1, gt=0, description="of the first user and item factors")
    learning_rate_decay: float = Field(
        0.95, gt=0, le=1, description="of learning_rate per epoch (rating regime)"
    )


class MF(Victim):
    name = "MF"
    Config = MFConfig

    def parameter_shapes(self):
        n_users = self.train.shape[0]
        shapes = {"user_factors": (n_users, self.config.embedding_size)}
        if not self.ranking:
            shapes["user_bias"] = (n_users,)
        return super().parameter_shapes() | shapes

    @property
    def loss(self):
        """Each cell regularises its user's and its item's row; see :mod:`rvdlib.models.loss`."""
        return Loss(self.config.unobserved_weight, self.config.reg, per_cell=True)

    def regularizer_weights(self, users, loss):
        (n_users, n_items), cells, omega = (
            self.train.shape,
            self.train[users],
            loss.unobserved_weight,
        )
        scale = loss.reg / max(len(users), 1)
        by_user, by_item = np.zeros(n_users), np.bincount(cells.indices, minlength=n_items)
        np.add.at(by_user, users, np.diff(cells.indptr) + omega * n_items)
        by_user, by_item = (
            torch.from_numpy(scale * each) for each in (by_user, by_item + omega * len(users))
        )
        weights = {
            "user_factors": by_user[:, None],
            "user_bias": by_user,
            "item_factors": by_item[:, None],
            "item_bias": by_item,
        }
        moving = super().regularizer_weights(users, loss)
        return {name: weights[name].to(self.parameters[name].dtype) for name in moving}

    def encoder(self, users):
        users = torch.tensor(users)

        def encode(parameters):
            factors = parameters["user_factors"][users]
            if self.ranking:
                return torch.zeros(len(users)), factors
            return self.mean_rating + parameters["user_bias"][users], factors

        return encode

    def first_arrays(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Parameters before training, float32."""
        n_users, n_items = self.train.shape
        size, std = self.config.embedding_size, np.float32(self.config.initial_std)
        arrays = {
            "user_factors": std * rng.standard_normal((n_users, size), dtype=np.float32),
            "item_factors": std * rng.standard_normal((n_items, size), dtype=np.float32),
            "item_bias": np.zeros(n_items, dtype=np.float32),
        }
        if not self.ranking:
            arrays["user_bias"] = np.zeros(n_users, dtype=np.float32)
        return arrays

    def _fit(self, validation, rng):
        arrays = self.first_arrays(rng)
        stopping = EarlyStopping(self, validation)
        epochs = self.least_squares(arrays) if self.ranking else self.gradient_descent(arrays, rng)
        for _ in epochs:
            if stopping.update({name: torch.from_numpy(array) for name, array in arrays.items()}):
                break
        return stopping.best, stopping.best_error

    def gradient_descent(
        self, arrays: dict[str, np.ndarray], rng: np.random.Generator
    ) -> Iterator[None]:
        """One epoch of SGD a step, in a fresh random order of the ratings; ``arrays``, which are as
        :meth:`first_arrays` gives them, change in place."""
        coo = self.train.tocoo()
        values = coo.data - np.float32(self.mean_rating)
        reg = np.float32(self.loss.reg)
        rate = self.config.learning_rate
        for _ in range(self.config.epochs):
            order = rng.permutation(len(values))
            _sgd_epoch(
                coo.row,
                coo.col,
                values,
                order,
                arrays["user_factors"],
                arrays["item_factors"],
                arrays["user_bias"],
                arrays["item_bias"],
                np.float32(rate),
                reg,
            )
            rate *= self.config.learning_rate_decay
            yield

    def least_squares(self, arrays: dict[str, np.ndarray]) -> Iterator[None]:
        """One sweep over users, then items, a step; ``arrays`` change in place.

        The bias is a factor whose user side is 1.
        """
        users, items, bias = arrays["user_factors"], arrays["item_factors"], arrays["item_bias"]
        by_user, by_item = self.train, self.train.T.tocsr()
        omega, reg = np.float32(self.loss.unobserved_weight), np.float32(self.loss.reg)
        ones = np.ones((len(users), 1), dtype=np.float32)
        zeros = np.zeros(len(users), dtype=np.float32)
        for _ in range(self.config.epochs):
            solve_rows(
                by_user.indptr, by_user.indices, by_user.data, items, bias, omega, reg, users
            )
            solved = np.concatenate([items, bias[:, None]], axis=1)
            solve_rows(
                by_item.indptr,
                by_item.indices,
                by_item.data,
                np.concatenate([users, ones], axis=1),
                zeros,
                omega,
                reg,
                solved,
            )
            items[:], bias[:] = solved[:, :-1], solved[:, -1]
            yield


@numba.njit(cache=True, fastmath=True)
def _sgd_epoch(rows, columns, values, order, p, q, user_bias, item_bias, rate, reg):
    for position in order:
        u, i = rows[position], columns[position]
        prediction = user_bias[u] + item_bias[i]
        for f in range(p.shape[1]):
            prediction += p[u, f] * q[i, f]
        error = values[position] - prediction
        user_bias[u] += rate * (error - reg * user_bias[u])
        item_bias[i] += rate * (error - reg * item_bias[i])
        for f in range(p.shape[1]):
            p_uf = p[u, f]
            p[u, f] += rate * (error * q[i, f] - reg * p_uf)
            q[i, f] += rate * (error * p_uf - reg * q[i, f])
