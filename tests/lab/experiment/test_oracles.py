"""Oracles that are told who is fake: what unlearning gives where retraining is known, and their rows."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rvdlib.data import leave_one_out, synthetic_ratings
from rvdlib.defenses import DEFENSES
from rvdlib.lab.experiment.cells import Cell, Scenario, run_cells
from rvdlib.lab.experiment.oracles import (
    ORACLES,
    RETRAINED,
    UNLEARNED,
    Told,
    run_oracles,
    without_fakes,
)
from rvdlib.lab.experiment.seeded_oracle import PROPAGATED, Propagation, ToldSome, run_seeded
from rvdlib.lab.experiment.store import CellStore
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream

N_REAL, N_ITEMS = 60, 45


def trained(name, regime):
    """With twelve fakes, who all give the top rating to the same four items."""
    split = leave_one_out(
        synthetic_ratings(N_REAL, N_ITEMS, 700, rng=stream(0, "ratings")), stream(0, "split")
    )
    fakes = np.zeros((12, N_ITEMS), dtype=np.float32)
    fakes[:, [2, 5, 9, 30]] = 5
    train = sp.vstack([split.train, sp.csr_matrix(fakes)], format="csr")
    victim = VICTIMS[name](
        unobserved_weight=0.2 * (regime == "ranking"), embedding_size=4, epochs=15, reg=0.01
    )
    return victim.fit(train, split.validation, split.ratings.levels, stream(0, "model"))


@pytest.mark.parametrize("name", ["MF", "PlainMF"])
def test_where_the_loss_is_quadratic_unlearning_is_retraining(name):
    """Least squares leave the decoder at rest: without the fakes it is another ridge regression."""
    victim = trained(name, "ranking")
    found = without_fakes(victim, N_REAL, decoder_only=True, damping=0, steps=500)
    moving = {
        name: found[name].clone().requires_grad_()
        for name in ("item_factors", "item_bias")
        if name not in victim.constants
    }
    real = np.arange(N_REAL)
    slopes = [
        torch.autograd.grad(
            victim.objective(real)({**victim.parameters, **each}), list(each.values())
        )
        for each in (moving, {n: victim.parameters[n].clone().requires_grad_() for n in moving})
    ]
    after, before = (max(float(each.abs().max()) for each in slope) for slope in slopes)
    assert after < 1e-3 * before
    assert found["user_factors"] is victim.parameters["user_factors"]


@pytest.mark.parametrize("name", VICTIMS)
@pytest.mark.parametrize("regime", ["rating", "ranking"])
def test_unlearning_lowers_what_the_fakes_promote_and_leaves_the_victim_alone(name, regime):
    victim = trained(name, regime)
    before = {name: value.clone() for name, value in victim.parameters.items()}
    parameters = without_fakes(victim, N_REAL)
    assert all(torch.equal(before[n], value) for n, value in victim.parameters.items())
    real, promoted = np.arange(N_REAL), [2, 5, 9, 30]
    fall = victim.score(real) - victim.score_with(parameters, real)
    assert np.isfinite(fall).all()
    others = np.delete(np.arange(N_ITEMS), promoted)
    assert fall[:, promoted].mean() > max(0.0, fall[:, others].mean())


def test_no_oracle_is_a_defence():
    assert not {*ORACLES, PROPAGATED} & set(DEFENSES)
    assert Propagation not in DEFENSES.values()


def test_who_retrains_has_what_nobody_attacked_under_the_name_of_the_attack(dataset, tmp_path):
    known = {"dataset": dataset, "victim": "MF", "regime": "rating", "target_set": "random"}
    attacked = Scenario(**known, attack="random", attack_size=0.1)
    store = CellStore(tmp_path)
    unattacked = Scenario(**known, attack_size=0.0)
    retrained, unlearned = run_oracles(
        [Told(scenario=attacked, oracle=name) for name in (RETRAINED, UNLEARNED)],
        store=store,
        jobs=1,
    ).to_dict("records")
    clean, bare = run_cells(
        [Cell(scenario=unattacked), Cell(scenario=attacked)], store=store, jobs=1
    ).to_dict("records")
    nothing_to_find, found = run_seeded(
        [ToldSome(scenario=each) for each in (unattacked, attacked)], store=store, jobs=1
    ).to_dict("records")
    assert nothing_to_find["ndcg"] == clean["ndcg"]
    assert found["rmse"] not in (bare["rmse"], clean["rmse"])
    assert retrained["target_hit_ratio"] == clean["target_hit_ratio"]
    assert retrained["ndcg"] == clean["ndcg"]
    assert (retrained["attack"], retrained["attack_size"]) == ("random", 0.1)
    assert unlearned["rmse"] != bare["rmse"]
    assert {row["method"] for row in (retrained, unlearned, found)} == {"oracle"}


def test_who_is_told_some_fakes_removes_as_many_users_as_there_are_fakes():
    """Of twelve who rate the same four items, whoever is known leads to the others."""
    train = trained("MF", "rating").train
    kept = Propagation(N_REAL).clean(train, np.arange(1, 6), stream(0, "clean"))
    assert np.flatnonzero(np.diff(kept.indptr) == 0).tolist() == [*range(N_REAL, N_REAL + 12)]
    nobody = train[:N_REAL]
    assert (
        Propagation(N_REAL).clean(nobody, np.arange(1, 6), stream(0, "clean")) != nobody
    ).nnz == 0
