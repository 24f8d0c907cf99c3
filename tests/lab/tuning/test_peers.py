"""The committed measurements of other people's recommenders are of today's data, pins and ranges."""

import tomllib

import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement
from sklearn.model_selection import ParameterGrid

from rvdlib.data.catalogue import CATALOGUE
from rvdlib.paths import PARAMS, PROJECT, RESULTS

SPACES = yaml.safe_load((PARAMS / "peers.yml").read_text())
TUNED = {"Surprise SVD, tuned": "SVD", "implicit ALS, tuned": "ALS"}


@pytest.fixture(scope="module")
def peers():
    return pd.read_csv(RESULTS / "peers.csv")


def test_every_peer_was_measured_on_the_same_splits_of_the_data_that_are_pinned(peers):
    for dataset, rows in peers.groupby("dataset"):
        assert set(rows["data"]) == {CATALOGUE[dataset].sha256}
        seeds = rows.groupby("system")["seed"].agg(list)
        assert all(own == list(range(len(own))) for own in seeds)
        assert seeds.map(len).nunique() == 1
    assert peers.loc[peers["dataset"] == "ml-100k", "seed"].max() >= 2


def test_the_versions_measured_are_the_ones_that_make_peers_installs(peers):
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    pins = map(Requirement, project["optional-dependencies"]["peers"])
    pinned = {f"{pin.name} {str(pin.specifier).removeprefix('==')}" for pin in pins}
    assert set(peers["package"]) == pinned


def test_what_is_called_tuned_was_chosen_from_what_params_lists(peers):
    for (dataset, system), rows in peers.groupby(["dataset", "system"]):
        if system in TUNED:
            (chosen,) = rows["hyperparameters"].unique()
            assert yaml.safe_load(chosen) in list(ParameterGrid(SPACES[dataset][TUNED[system]]))


def test_tuning_helps_and_every_peer_has_the_metric_of_its_regime(peers):
    errors = peers[peers["regime"] == "rating"].pivot_table(
        index="dataset", columns="system", values="rmse_holdout"
    )
    assert (errors["Surprise SVD, tuned"] < errors["Surprise SVD, default"]).all()
    assert errors.notna().all(axis=None)
    ranking = peers[peers["regime"] == "ranking"]
    assert ranking["hit_ratio"].between(0.3, 0.9).all()
    assert ranking["rmse_holdout"].isna().all()
