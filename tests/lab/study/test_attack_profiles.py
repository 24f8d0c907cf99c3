"""What is said of fakes is what a second look finds; and it is on record."""

import numpy as np
import pandas as pd
import pytest

from rvdlib.data import leave_one_out, load_dataset
from rvdlib.lab.experiment.cells import Scenario
from rvdlib.lab.experiment.poison import freeze
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.study import attack_profiles
from rvdlib.lab.study.attack_profiles import profile_rows
from rvdlib.seeding import stream


@pytest.fixture
def rows(dataset, tmp_path):
    def make(*attacks, **changes):
        base = {"dataset": dataset, "victim": "MF", "regime": "rating", "target_set": "random"}
        scenarios = [
            Scenario(**base | {"attack": attack, "attack_size": 0.1} | changes)
            for attack in attacks
        ]
        return profile_rows(scenarios, store=CellStore(tmp_path), jobs=1)

    return make


def test_a_row_is_what_the_profiles_show(rows, dataset):
    (found,) = rows("average").to_dict("records")
    poison = freeze("average", dataset, attack_size=0.1, target_set="random")
    split = leave_one_out(load_dataset(dataset), stream(0, "split"))
    real, fakes = split.train.toarray(), poison.profiles.toarray()
    real[:, poison.targets] = fakes[:, poison.targets] = 0
    stars = fakes[fakes > 0]
    levels = load_dataset(dataset).levels
    assert found["rating_shares"] == [np.mean(stars == level) for level in levels]
    popular = (real > 0).mean(axis=0)
    assert found["filler_popularity"] == pytest.approx(popular[np.nonzero(fakes)[1]].mean())
    norms = np.linalg.norm(real, axis=1), np.linalg.norm(fakes, axis=1)
    cosines = fakes @ real.T / np.outer(norms[1], np.maximum(norms[0], 1e-9))
    assert found["similarity"] == pytest.approx(cosines.max(axis=1).mean(), rel=1e-5)
    assert 0 < found["detection_auc"] < 1
    assert found["objectives"] == []
    assert found["seconds"] > 0


def test_real_users_are_no_fakes_and_not_similar_to_themselves(rows):
    (found,) = rows("none").to_dict("records")
    assert np.isnan(found["detection_auc"])
    assert found["seconds"] == 0
    assert 0 < found["similarity"] < 0.999


def test_what_it_takes_to_craft_is_told_by_regime_and_attack():
    columns = ["regime", "attack", "seconds"]
    looks = pd.DataFrame(
        [
            ("rating", "none", 0.0),
            ("rating", "aush", 1.0),
            ("rating", "aush", 4.0),
            ("ranking", "aush", 2.0),
        ],
        columns=columns,
    )
    found = attack_profiles.crafting(looks)
    assert found.index.tolist() == [("rating", "aush"), ("ranking", "aush")]
    assert found.to_numpy().tolist() == [[2.5, 1.0, 4.0], [2.0, 2.0, 2.0]]


def test_an_optimising_attack_tells_its_curve_and_nothing_is_crafted_twice(rows, monkeypatch):
    first = rows("pga", attack_options={"steps": 3, "embedding_size": 2})
    assert len(first["objectives"][0]) == 3
    monkeypatch.setattr(attack_profiles, "kept_poison", None)
    again = rows("pga", attack_options={"steps": 3, "embedding_size": 2})
    pd.testing.assert_frame_equal(first, again)
