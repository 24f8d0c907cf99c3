"""Early stopping by itself: scripted errors, and its two measures against plain code."""

import numpy as np
import pytest
import torch

from rvdlib.data import HeldOut
from rvdlib.models.fitting import EarlyStopping


def test_the_best_is_kept_as_it_was_and_patience_counts_from_it(fit, small, monkeypatch):
    victim = fit("MF", "rating", patience=3)
    stopping = EarlyStopping(victim, small.validation)
    script = iter([3.0, 2.0, 2.5, 2.0, 1.0, 1.5, 1.0, 1.2])
    monkeypatch.setattr(stopping, "_error", lambda parameters: next(script))
    parameters = {"w": torch.zeros(1)}
    ends = []
    for epoch in range(8):
        parameters["w"].fill_(epoch)  # in place, as optimisers do
        ends.append(stopping.update(parameters))
    assert ends == [False] * 7 + [True]
    assert stopping.best_error == 1.0
    assert stopping.best["w"].item() == 4


def test_the_rating_measure_is_the_clipped_rmse_in_stars(fit, small):
    victim = fit("NSVD", "rating")
    victim.levels = small.levels
    wild = {**victim.parameters, "item_bias": victim.parameters["item_bias"] * 20}
    users, items, stars = small.validation
    scores = victim.score_with(wild, np.arange(63))
    assert (scores > 5).any()
    expected = np.sqrt(np.mean((np.clip(scores[users, items], 1, 5) - stars) ** 2))
    assert EarlyStopping(victim, small.validation)._error(wild) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("repeats", [1, 40])
def test_the_ranking_measure_is_minus_ndcg_over_unseen_items(fit, small, repeats):
    victim = fit("AutoRec", "ranking")
    users, items, stars = (np.tile(column, repeats) for column in small.validation)
    scores = victim.score(np.arange(63))
    scores[victim.train.nonzero()] = -np.inf
    ranks = [1 + (scores[u] > scores[u, i]).sum() for u, i in zip(users, items, strict=True)]
    expected = np.mean([1 / np.log2(rank + 1) if rank <= 50 else 0 for rank in ranks])
    stopping = EarlyStopping(victim, HeldOut(users, items, stars))
    assert stopping._error(victim.parameters) == pytest.approx(-expected, abs=1e-6)
