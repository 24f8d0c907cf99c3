"""Vectors of users whom a victim was not trained with, or whose ratings have changed since.

The items stay as training left them; only what is the user's own is found anew, of this user's
ratings alone:

- MF: ridge regression on the items, the user's half of its own least squares (ranking regime), or
  with μ and b_i taken off, and b_u beside p_u (rating regime). What implicit calls
  ``recalculate_user``.
- NSVD: h_u by its encoder; b_u the damped mean of what it leaves of the ratings (rating regime).
- AutoRec: h_u by its encoder; a_u = μ + b_u with the item biases of training.
- CDAE: the same for users of the training. A new one has no vector v_u, and there is no formula for
  it: it was learned together with everybody's.
"""

import copy

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.models import CDAE, MF, NSVD, AutoRec, PlainMF, Victim
from rvdlib.models.biases import Biases
from rvdlib.models.least_squares import solve_rows
from rvdlib.serving.arrays import Arrays
from rvdlib.serving.errors import CannotFoldIn
from rvdlib.threads import single_thread

_DAMPING = 5.0  # ratings of zero that a user's bias is pulled by, as in rvdlib.models.biases
_LEAST_REG = np.float32(1e-3)  # ridge that keeps few ratings from deciding everything


class Folding:
    """A trained victim, as far as it says who a user is.

    Args:
        victim: trained; of a class that is not described here, nobody can be folded in.
        biases: of training, which some encoders read; of a victim without its training rows.
    """

    def __init__(self, victim: Victim, biases: Biases | None = None):
        self.victim, self.biases = victim, biases
        if biases is None and isinstance(victim, AutoRec) and not victim.ranking:
            self.biases = Biases().fit(victim.train)

    @single_thread()
    def encode(self, train: sp.csr_matrix, known: np.ndarray) -> tuple[np.ndarray, ...]:
        """Offsets (B,), vectors (B, d) and silence (B,) of the rows of ``train``, in stars.

        Args:
            train: (B, items) CSR of stars.
            known: (B,) each user's row in the training, −1 for a new one.

        Raises:
            CannotFoldIn: for a new user, where the victim has no vector.
        """
        # An encoder rounds by where in a batch a user stands: each is one of its own.
        size = len(known) if isinstance(self.victim, MF) else 1
        parts = [slice(first, first + size) for first in range(0, len(known), size)]
        found = [self._encode(train[part], known[part]) for part in parts]
        offsets, factors, silence = map(np.concatenate, zip(*found, strict=True))
        return offsets, factors, silence

    def _encode(self, train: sp.csr_matrix, known: np.ndarray) -> tuple[np.ndarray, ...]:
        folded, everyone = self._folded(train, known), np.arange(len(known))
        stars = np.float32(folded.max_rating)
        with torch.no_grad():
            offsets, factors = folded.encode(folded.parameters, everyone)
            silence = folded.unobserved_target(everyone)
        return stars * offsets.numpy(), factors.numpy(), stars * silence.numpy()

    @single_thread()
    def as_victim(self, arrays: Arrays, known: np.ndarray) -> Victim:
        """A victim of these users, for defences that move more than the decoder."""
        folded = self._folded(arrays.train, known, solve=False)
        own, stars = folded.parameters, np.float32(folded.max_rating)
        shapes = folded.parameter_shapes()
        if "user_factors" in shapes:
            own["user_factors"] = torch.from_numpy(arrays.factors)
        if "user_bias" in shapes:
            mean = 0 if folded.name == "PlainNSVD" else folded.mean_rating
            own["user_bias"] = torch.from_numpy((arrays.offsets / stars - mean).astype(np.float32))
        return folded

    def _folded(self, train: sp.csr_matrix, known: np.ndarray, solve: bool = True) -> Victim:
        folded = copy.copy(self.victim)
        folded.train = sp.csr_matrix(train, dtype=np.float32, copy=True)
        folded.train.data /= np.float32(folded.max_rating)
        folded.parameters = dict(folded.parameters)
        if isinstance(folded, MF):
            if solve:
                _solve(folded)
        elif isinstance(folded, NSVD):
            folded.prepare()
            if solve and "user_bias" in folded.parameter_shapes():
                _bias(folded)
        elif isinstance(folded, AutoRec):
            self._read(folded)
            if isinstance(folded, CDAE):
                if (known < 0).any():
                    raise CannotFoldIn(
                        "CDAE learns a vector of each user together with everybody's, and has none "
                        "for a new one: train it again with this user, or serve AutoRec, which "
                        "reads the profile alone"
                    )
                rows = self.victim.parameters["user_embeddings"][torch.from_numpy(known)]
                folded.parameters["user_embeddings"] = rows
        else:
            raise CannotFoldIn(
                f"how {folded.name} folds a user in is not described in rvdlib.serving.folding; "
                "train it again with the new ratings"
            )
        return folded

    def _read(self, folded: AutoRec) -> None:
        """As :meth:`AutoRec.read_profiles`, the item biases those of training."""
        if folded.ranking:
            folded.prepare()
            return
        biases, rows = self.biases, folded.train.copy()
        assert biases is not None
        sizes = np.diff(rows.indptr)
        owners = np.repeat(np.arange(len(sizes)), sizes)
        residuals = rows.data - biases.mean - biases.item_bias[rows.indices]
        sums = np.bincount(owners, weights=residuals, minlength=len(sizes))
        own = np.where(sizes > 0, sums / (sizes + _DAMPING), 0)
        folded.user_means = (biases.mean + own).astype(np.float32)
        expected = folded.user_means[owners] + biases.item_bias[rows.indices]
        rows.data -= expected.astype(np.float32)
        folded.inputs = rows


def _solve(folded: MF) -> None:
    """Ridge regression of each row on the items."""
    rows, own = folded.train, folded.parameters
    items, bias = own["item_factors"].numpy(), own["item_bias"].numpy()
    ranking, biased = folded.ranking, "user_bias" in folded.parameter_shapes()
    fixed = np.ascontiguousarray(np.column_stack([items, np.ones(len(items))]) if biased else items)
    solved = np.zeros((rows.shape[0], fixed.shape[1]), dtype=np.float32)
    mean = np.float32(0 if ranking or isinstance(folded, PlainMF) else folded.mean_rating)
    omega = np.float32(folded.loss.unobserved_weight)
    reg = max(np.float32(folded.loss.reg), _LEAST_REG * (omega == 0))
    some = np.flatnonzero(np.diff(rows.indptr)) if omega == 0 else np.arange(rows.shape[0])
    if len(some):
        asked, found = rows[some], np.empty((len(some), fixed.shape[1]), dtype=np.float32)
        values = asked.data - mean
        fixed = fixed.astype(np.float32)
        solve_rows(asked.indptr, asked.indices, values, fixed, bias, omega, np.float32(reg), found)
        solved[some] = found
    own["user_factors"] = torch.from_numpy(np.ascontiguousarray(solved[:, : items.shape[1]]))
    if biased:
        own["user_bias"] = torch.from_numpy(np.ascontiguousarray(solved[:, -1]))


def _bias(folded: NSVD) -> None:
    """The damped mean of what the encoder leaves of a user's ratings."""
    rows, own = folded.train, folded.parameters
    n_users = rows.shape[0]
    own["user_bias"] = torch.zeros(n_users)
    with torch.no_grad():
        offset, factors = folded.encode(own, np.arange(n_users))
    owners = np.repeat(np.arange(n_users), np.diff(rows.indptr))
    weights = own["item_factors"].numpy()[rows.indices]
    predicted = (factors.numpy()[owners] * weights).sum(1) + offset.numpy()[owners]
    left = rows.data - predicted - own["item_bias"].numpy()[rows.indices]
    sums = np.bincount(owners, weights=left, minlength=n_users)
    found = sums / (np.diff(rows.indptr) + _DAMPING)
    own["user_bias"] = torch.from_numpy(found.astype(np.float32))
