"""A victim trained twice: what is kept, and what real data sets say."""

from contextlib import nullcontext

import numpy as np
import pytest

from rvdlib import paths
from rvdlib.defenses.quorum import Quorum
from rvdlib.lab.experiment import retraining
from rvdlib.lab.experiment.cells import Scenario, carry_out
from rvdlib.lab.experiment.retraining import Retraining, agreement_with_retraining, run_retrainings
from rvdlib.lab.experiment.store import CellStore
from rvdlib.neighbors.agreement import Agreement, NeighborsByChanceWarning, warn_if_by_chance

K = 30


def of(dataset, regime, **changes):
    known = {"dataset": dataset, "victim": "MF", "regime": regime, "seed": 0, "k": K}
    return Retraining(**known | changes)


def test_movielens_in_the_ranking_regime_is_far_above_chance_and_is_trained_once(
    tmp_path, monkeypatch
):
    """The vicinities are those of the quorum on the victim of the study's clean cell."""
    store, wanted = CellStore(tmp_path), [of("ml-100k", "ranking")]
    row = run_retrainings(wanted, store=store, jobs=1).iloc[0]
    assert row["above_chance"] > 0.5
    assert not row["by_chance"]
    assert row["density"] == pytest.approx(0.062, abs=0.002)

    def never(*given):
        raise AssertionError("trained")

    trained = carry_out(Scenario(dataset="ml-100k", victim="MF", regime="ranking", attack_size=0))
    everyone = np.arange(trained.split.train.shape[0])
    seen = []

    def vicinities_of(victim):
        seen.append(victim)
        return Quorum(victim, k=K).vicinity(everyone)

    found = agreement_with_retraining(
        vicinities_of(trained.victim), trained.victim, trained.split, vicinities_of, 0
    )
    assert (found.measured, found.chance) == (row["measured"], row["chance"])
    first, second = seen
    assert (first, first.config) == (trained.victim, second.config)
    assert (first.score(everyone[:3]) != second.score(everyone[:3])).any()
    monkeypatch.setattr(retraining, "carry_out", never)
    again = run_retrainings(wanted, store=store, jobs=1)
    assert again.iloc[0].to_dict() == row.to_dict()


@pytest.mark.parametrize("change", [{"k": 10}, {"seed": 1}, {"regime": "rating"}])
def test_what_changes_the_numbers_is_kept_apart(tmp_path, change):
    store = CellStore(tmp_path)
    paths_of = {
        store.path(retraining._spec(each))
        for each in (of("ml-100k", "ranking"), of("ml-100k", "ranking").model_copy(update=change))
    }
    assert len(paths_of) == 2


@pytest.mark.parametrize(("regime", "by_chance"), [("rating", True), ("ranking", False)])
def test_on_filmtrust_the_rating_regimes_neighbours_are_chance(tmp_path, regime, by_chance):
    if not paths.data_dir():
        pytest.skip("set RVD_DATA_DIR to a folder with the published data sets")
    wanted = [of("filmtrust", regime)]
    row = run_retrainings(wanted, store=CellStore(tmp_path), jobs=1).iloc[0]
    assert row["by_chance"] == by_chance
    agreement = Agreement(row["measured"], row["chance"], K)
    with pytest.warns(NeighborsByChanceWarning) if by_chance else nullcontext():
        warn_if_by_chance(agreement)
