"""AutoRec, user-based (Sedhain et al. 2015): an autoencoder of a user's ratings, one hidden layer.

    h_u = sigmoid(V x_u + c)        s_ui = a_u + h_u · w_i + b_i

Rating regime: x_u holds the ratings less the user's mean, a_u is that mean (μ for a user without
ratings). Ranking regime: x_u is the profile scaled to unit norm, a_u = 0.
"""

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.models.fitting import EncoderVictim, normal, shrunken_item_means
from rvdlib.models.sparse_ops import sparse_product


def row_means(rows: sp.csr_matrix, empty: float) -> np.ndarray:
    """(B,) mean of the stored values of each row; ``empty`` for a row without any. float32."""
    sums, counts = np.asarray(rows.sum(axis=1)).ravel(), np.diff(rows.indptr)
    return np.where(counts, sums / np.maximum(counts, 1), empty).astype(np.float32)


class AutoRec(EncoderVictim):
    name = "AutoRec"

    def read_profiles(self):
        rows, per_rating = self.train.copy(), np.diff(self.train.indptr)
        self.user_means = np.zeros(len(per_rating), dtype=np.float32)
        if self.ranking:
            norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
            rows.data /= np.repeat(np.maximum(norms, 1e-12), per_rating).astype(np.float32)
        else:
            self.user_means = row_means(rows, self.mean_rating)
            rows.data -= np.repeat(self.user_means, per_rating)
        return rows

    def initial_parameters(self, rng):
        n_items, size = self.train.shape[1], self.config.embedding_size
        first_bias = torch.zeros(n_items) if self.ranking else shrunken_item_means(self.inputs)
        return {
            "encoder_factors": normal(rng, n_items, size, std=self.config.initial_std),
            "encoder_bias": torch.zeros(size),
            "item_factors": normal(rng, n_items, size, std=0.02),
            "item_bias": first_bias,
        }

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
