"""Who pays for a defence: thirds of the users, and whom a detector removes, counted by hand."""

import numpy as np
import pytest
import scipy.sparse as sp

from rvdlib.evaluation import evaluate
from rvdlib.lab.experiment import cells, paying
from rvdlib.lab.experiment.cells import Cell, Scenario, carry_out
from rvdlib.lab.experiment.committed import CommittedStore
from rvdlib.lab.experiment.store import CellStore
from tests.lab.conftest import small_victims


def cell(dataset, attack="none", n_users=None, **form):
    size = 0.0 if attack == "none" else 0.05
    scenario = Scenario(
        dataset=dataset, victim="MF", regime="rating", attack=attack, attack_size=size
    )
    return Cell(scenario=scenario, n_users=n_users, **form)


def test_thirds_are_of_equal_size_and_in_order():
    counts = np.array([5, 1, 9, 3, 7, 2, 2])
    low, middle, high = paying.thirds(counts)
    assert [part.tolist() for part in (low, middle, high)] == [[1, 5, 6], [3, 0], [4, 2]]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_victims(monkeypatch, embedding_size=4, epochs=1)
    monkeypatch.setattr(paying, "victim_hyperparameters", cells.victim_hyperparameters)


def test_rows_are_kept_by_data_set_regime_victim_and_seed(dataset, tmp_path):
    store = CommittedStore(tmp_path)
    for batch, what in ((paying.thirds_batch, "thirds"), (paying.removals_batch, "removals")):
        (task,) = batch([cell(dataset)]).tasks
        path = store.path(task.spec)
        assert path.parent.name != "none"
        assert path.name == f"{what}-rating-MF-0.csv"


def test_the_first_third_has_the_hits_of_its_users(dataset, tmp_path):
    store, asked = CellStore(tmp_path), [cell(dataset), cell(dataset, method="least_support")]
    rows = paying.run_thirds(asked, store=store, jobs=1)
    trained = carry_out(asked[0].scenario)
    train, test = trained.split.train, trained.split.test
    ratings_of, raters_of = np.diff(train.indptr), np.diff(train.tocsc().indptr)
    item_of = dict(zip(test.users.tolist(), test.items.tolist(), strict=True))
    by_hand = {
        "activity": ratings_of,
        "popularity": [
            raters_of[item_of[u]] if u in item_of else 0 for u in range(len(ratings_of))
        ],
    }
    for row, own in zip(rows.to_dict("records"), asked, strict=True):
        found = evaluate(own.defended_by().wrap(trained.victim), trained.split, trained.targets)
        ranks = found.test_ranks
        for by, counts in by_hand.items():
            ordered = sorted(
                range(len(counts)), key=lambda user, counts=counts: (counts[user], user)
            )
            size = -(-len(ordered) // 3)
            users = np.array(ordered[:size])
            users = users[~np.isnan(ranks[users])]
            assert row[f"{by} few"] == pytest.approx((ranks[users] <= 50).mean())


def test_whom_detectors_remove_is_counted_among_those_with_ratings(monkeypatch, dataset, tmp_path):
    """A detector that takes the first five rows and the last."""

    class FirstAndLast:
        def clean(self, train, levels, rng):
            kept = np.ones(train.shape[0])
            kept[[0, 1, 2, 3, 4, -1]] = 0
            left = sp.csr_matrix(sp.diags_array(kept) @ train)
            left.eliminate_zeros()
            return left

    monkeypatch.setattr(Cell, "defended_by", lambda cell: FirstAndLast())
    asked = [cell(dataset), cell(dataset, "random")]
    rows = paying.run_removals(asked, store=CellStore(tmp_path), jobs=1).set_index("attack")
    n_real = 120
    assert rows.loc["none", "real_users_removed"] == pytest.approx(6 / n_real)
    assert np.isnan(rows.loc["none", "fakes_removed"])
    assert rows.loc["random", "real_users_removed"] == pytest.approx(5 / n_real)
    assert rows.loc["random", "fakes_removed"] == pytest.approx(1 / 6)
