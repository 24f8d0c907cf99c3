"""NSVD (Paterek 2007): factorisation in which a user is the sum of what he rated.

    h_u = |R(u)|^-1/2 Σ_{j ∈ R(u)} y_j        s_ui = a_u + h_u · w_i + b_i

Rating regime: a_u = μ + b_u. Ranking regime: a_u = 0.
"""

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.models.fitting import EncoderVictim, normal, shrunken_item_means
from rvdlib.models.sparse_ops import sparse_product


class NSVD(EncoderVictim):
    name = "NSVD"

    def initial_parameters(self, rng):
        n_users, n_items = self.train.shape
        size = self.config.embedding_size
        parameters = {
            "implicit_factors": normal(rng, n_items, size, std=self.config.initial_std),
            "item_factors": normal(rng, n_items, size, std=0.02),
            "item_bias": torch.zeros(n_items),
        }
        if not self.ranking:
            residuals = self.train.copy()
            residuals.data -= self.global_mean
            parameters["item_bias"] = shrunken_item_means(residuals)
            parameters["user_bias"] = torch.zeros(n_users)
        return parameters

    @property
    def global_mean(self) -> float:
        """μ, of the training ratings over the top of the scale."""
        return float(self.train.data.mean())

    def inputs(self, users):
        rows = self.train[users]
        per_rating = np.diff(rows.indptr)
        values = np.repeat(1 / np.sqrt(np.maximum(per_rating, 1)), per_rating).astype(np.float32)
        return sp.csr_matrix((values, rows.indices, rows.indptr), shape=rows.shape)

    def encode_inputs(self, parameters, inputs, users):
        factors = sparse_product(inputs, parameters["implicit_factors"])
        if self.ranking:
            return torch.zeros(len(users)), factors
        return self.global_mean + parameters["user_bias"][users], factors
