"""NSVD as the notes of the paper's first author have it: no mean, and no |R|^-1/2.

    h_u = Σ_{j ∈ R(u)} y_j        s_ui = b_u + h_u · w_i + b_i

A user's latent vector grows with the profile. The rest is as in :class:`rvdlib.models.NSVD`; the
ranking regime has no b_u.
"""

import scipy.sparse as sp
import torch

from rvdlib.models.fitting import shrunken_item_means
from rvdlib.models.nsvd import NSVD


class PlainNSVD(NSVD):
    name = "PlainNSVD"

    def read_profiles(self):
        rated = self.train.copy()
        rated.data[:] = 1
        return sp.csr_matrix(rated)

    def initial_parameters(self, rng):
        parameters = super().initial_parameters(rng)
        if not self.ranking:
            parameters["item_bias"] = shrunken_item_means(self.train)
        return parameters

    def offsets(self, parameters, users):
        if self.ranking:
            return torch.zeros(len(users))
        return parameters["user_bias"][torch.tensor(users)]
