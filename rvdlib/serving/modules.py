"""A torch module as what a defender reads: its own scores, and ids for its rows."""

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.serving.arrays import Arrays
from rvdlib.threads import single_thread


class Module:
    """The module without a defence."""

    def __init__(self, module: torch.nn.Module):
        self._module = module

    @single_thread()
    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items), as its ``forward`` gives them."""
        with torch.no_grad():
            return self._module(torch.from_numpy(users)).cpu().numpy()


def arrays_of(module: torch.nn.Module, train: sp.csr_matrix) -> Arrays:
    """Who there is and what they have rated; vectors and decoder are the module's own affair."""
    n_users, n_items = train.shape
    zeros = np.zeros(n_users, dtype=np.float32)
    return Arrays.from_parts(
        np.zeros((n_users, 1)), zeros, np.zeros((n_items, 1)), np.zeros(n_items), train
    )
