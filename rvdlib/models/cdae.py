"""CDAE, the collaborative denoising autoencoder (Wu et al. 2016): AutoRec with a vector per user.

    h_u = sigmoid(V x̃_u + v_u + c)        s_ui = a_u + h_u · w_i + b_i

x̃_u is the profile with a share of its ratings hidden in training (``input_dropout``) and whole
afterwards; a_u and x_u are as in AutoRec.
"""

import torch
from pydantic import Field

from rvdlib.models.autorec import AutoRec
from rvdlib.models.fitting import EncoderConfig, normal


class CDAEConfig(EncoderConfig):
    input_dropout: float = Field(0.5, ge=0, lt=1, description="share of x_u hidden in a step")


class CDAE(AutoRec):
    name = "CDAE"
    Config = CDAEConfig

    def initial_parameters(self, rng):
        parameters = super().initial_parameters(rng)
        shape = self.train.shape[0], self.config.embedding_size
        return {**parameters, "user_embeddings": normal(rng, *shape, std=0.01)}

    def parameter_shapes(self):
        shape = self.train.shape[0], self.config.embedding_size
        return super().parameter_shapes() | {"user_embeddings": shape}

    def hidden(self, parameters, inputs, users):
        own = parameters["user_embeddings"][torch.tensor(users)]
        return super().hidden(parameters, inputs, users) + own
