"""AutoRec, user-based (Sedhain et al. 2015): an autoencoder of a user's ratings, one hidden layer.

    h_u = sigmoid(V x_u + c)        s_ui = a_u + h_u · w_i + b_i

Rating regime: a_u = μ + b_u, x_u holds what the biases leave of the ratings (r − μ − b_u − b_i, by
:class:`rvdlib.models.biases.Biases`), and training starts from their item biases. Ranking regime:
x_u is the profile scaled to unit norm, a_u = 0.
"""

import numpy as np
import torch

from rvdlib.models.biases import Biases
from rvdlib.models.fitting import EncoderVictim, normal
from rvdlib.models.sparse_ops import sparse_product


class AutoRec(EncoderVictim):
    name = "AutoRec"

    def read_profiles(self):
        rows, per_rating = self.train.copy(), np.diff(self.train.indptr)
        self.user_means = np.zeros(len(per_rating), dtype=np.float32)
        if self.ranking:
            norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
            rows.data /= np.repeat(np.maximum(norms, 1e-12), per_rating).astype(np.float32)
        else:
            biases = Biases().fit(self.train)
            self.user_means = (biases.mean + biases.user_bias).astype(np.float32)
            expected = np.repeat(self.user_means, per_rating) + biases.item_bias[rows.indices]
            rows.data -= expected.astype(np.float32)
        return rows

    def initial_parameters(self, rng):
        n_items, size = self.train.shape[1], self.config.embedding_size
        parameters = {
            "encoder_factors": normal(rng, n_items, size, std=self.config.initial_std),
            "encoder_bias": torch.zeros(size),
            "item_factors": normal(rng, n_items, size, std=0.02),
            "item_bias": torch.zeros(n_items),
        }
        if not self.ranking:  # less what the first h, about 1/2 everywhere, adds
            item_bias = torch.from_numpy(Biases().fit(self.train).item_bias.astype(np.float32))
            parameters["item_bias"] = item_bias - parameters["item_factors"].sum(1) / 2
        return parameters

    def parameter_shapes(self):
        n_items, size = self.train.shape[1], self.config.embedding_size
        shapes = {"encoder_factors": (n_items, size), "encoder_bias": (size,)}
        return super().parameter_shapes() | shapes

    def offsets(self, parameters, users):
        return torch.from_numpy(self.user_means[users])

    def latent(self, parameters, inputs, users):
        return torch.sigmoid(self.hidden(parameters, inputs, users))

    def hidden(self, parameters, inputs, users):
        """(B, d) input of the sigmoid."""
        return sparse_product(inputs, parameters["encoder_factors"]) + parameters["encoder_bias"]
