"""Triple cooperative defence (TCD): three models that label for each other.

Wang et al. 2022, "Towards Robust Recommender Systems via Triple Cooperative Defense" (WISE). Three
models of one kind are trained from different first parameters. From epoch ``start`` on, each also
learns unobserved cells on which the other two agree, rounded to the rating scale. The first serves.

The paper offers all unobserved cells in every epoch, which multiplies the time of training by their
number; here ``cells`` of them are drawn anew in each. In the ranking regime zero, nothing rated, is a
level too, and what two models round to zero is no label.
"""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.data import round_to_levels
from rvdlib.defenses.protocol import Choices, Defense
from rvdlib.defenses.training import Epochs, best_epoch, scores_at, trained_by
from rvdlib.models import Victim
from rvdlib.models.base import Parameters


class TripleCooperativeConfig(Choices):
    """The choices. Unknown names are refused."""

    cells: float = Field(1.0, gt=0, description="offered in an epoch, as a multiple of the ratings")
    start: int = Field(5, ge=0, description="epochs before the first labels")


class TripleCooperative(Defense):
    """Three victims, each trained on its rows and on what the other two agree on."""

    Config = TripleCooperativeConfig
    config: TripleCooperativeConfig

    def fit(self, victim, train, validation, levels, rng):
        return trained_by(self._train, victim, train, validation, levels, rng)

    def _train(self, victim, validation, rng):
        models, choices = [Epochs(victim, rng) for _ in range(3)], self.config

        def epoch():
            rows = [victim.train] * 3
            if models[0].done >= choices.start:
                cells = unobserved_cells(victim.train, choices.cells, rng)
                labels = [rounded_scores(victim, each.parameters, cells) for each in models]
                pairs = ((labels[1], labels[2]), (labels[2], labels[0]), (labels[0], labels[1]))
                rows = [with_labels(victim, cells, *pair) for pair in pairs]
            for model, its_rows in zip(models, rows, strict=True):
                model(its_rows)
            return models[0].parameters

        return best_epoch(victim, validation, epoch, first=choices.start + 1)


def unobserved_cells(
    train: sp.csr_matrix, multiple: float, rng: np.random.Generator
) -> sp.csr_matrix:
    """(users, items) CSR pattern of about ``multiple`` times as many cells as ``train`` has, none
    of which it has."""
    n_users, n_items = train.shape
    owners = np.repeat(np.arange(n_users), np.diff(train.indptr))
    drawn = rng.integers(n_users * n_items, size=max(1, round(multiple * train.nnz)))
    cells = np.setdiff1d(drawn, owners * n_items + train.indices)
    starts = np.searchsorted(cells, np.arange(n_users + 1) * n_items)
    ones = np.ones(len(cells), dtype=np.float32)
    return sp.csr_matrix((ones, cells % n_items, starts), shape=train.shape)


def rounded_scores(victim: Victim, parameters: Parameters, cells: sp.csr_matrix) -> np.ndarray:
    """(nnz,) float32 stars of the ``cells``, rounded to the scale, in the ranking regime or to 0."""
    levels = np.asarray(victim.levels, dtype=np.float32)
    if victim.ranking:
        levels = np.concatenate([[np.float32(0)], levels])
    return round_to_levels(scores_at(victim, parameters, cells) * victim.max_rating, levels)


def with_labels(
    victim: Victim, cells: sp.csr_matrix, one: np.ndarray, other: np.ndarray
) -> sp.csr_matrix:
    """``victim.train`` and those of the ``cells`` whose stars (nnz,) are the same in both, not zero."""
    agreed = cells.copy()
    agreed.data = np.where(one == other, one, 0).astype(np.float32) / np.float32(victim.max_rating)
    agreed.eliminate_zeros()
    rows = sp.csr_matrix(victim.train + agreed, dtype=np.float32)
    rows.sort_indices()
    return rows
