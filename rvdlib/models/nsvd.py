"""NSVD (Paterek 2007): factorisation in which a user is the sum of what he rated.

    h_u = |R(u)|^-1/2 Σ_{j ∈ R(u)} y_j        s_ui = a_u + h_u · w_i + b_i

Rating regime: a_u = μ + b_u, and training starts from :class:`rvdlib.models.biases.Biases`.
Ranking regime: a_u = 0.
"""

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.models.biases import Biases
from rvdlib.models.fitting import EncoderVictim, normal
from rvdlib.models.sparse_ops import sparse_product


class NSVD(EncoderVictim):
    name = "NSVD"

    def read_profiles(self):
        per_rating = np.diff(self.train.indptr)
        values = np.repeat(1 / np.sqrt(np.maximum(per_rating, 1)), per_rating).astype(np.float32)
        shape = self.train.shape
        return sp.csr_matrix((values, self.train.indices, self.train.indptr), shape=shape)

    def initial_parameters(self, rng):
        n_items = self.train.shape[1]
        size = self.config.embedding_size
        parameters = {
            "implicit_factors": normal(rng, n_items, size, std=self.config.initial_std),
            "item_factors": normal(rng, n_items, size, std=0.02),
            "item_bias": torch.zeros(n_items),
        }
        if not self.ranking:
            biases = Biases().fit(self.train)
            parameters["item_bias"] = torch.from_numpy(biases.item_bias.astype(np.float32))
            parameters["user_bias"] = torch.from_numpy(biases.user_bias.astype(np.float32))
        return parameters

    def parameter_shapes(self):
        n_users, n_items = self.train.shape
        shapes = {"implicit_factors": (n_items, self.config.embedding_size)}
        if not self.ranking:
            shapes["user_bias"] = (n_users,)
        return super().parameter_shapes() | shapes

    def offsets(self, parameters, users):
        if self.ranking:
            return torch.zeros(len(users))
        return self.mean_rating + parameters["user_bias"][torch.tensor(users)]

    def latent(self, parameters, inputs, users):
        return sparse_product(inputs, parameters["implicit_factors"])
