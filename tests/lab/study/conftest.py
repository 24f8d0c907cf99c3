"""Rows of cells as tests of the study make them up, and where their tables go."""

import pytest

from rvdlib import paths


@pytest.fixture
def results(tmp_path, monkeypatch):
    """The folder of tables, this test's own."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def row_of(attack="none", defense="none", thr=0.0, **others) -> dict:
    """A cell of MF in the rating regime, its other columns as given; THR is the same of each target."""
    return {
        "dataset": "ml-100k",
        "victim": "MF",
        "regime": "rating",
        "attack": attack,
        "attack_size": 0.0 if attack == "none" else 0.03,
        "attack_options": {},
        "visible_share": 0.4,
        "filler_size": None,
        "crafted_for": "targets",
        "target_set": "unpopular",
        "seed": 0,
        "evaluated_on": "test",
        "defense": defense,
        "choices": {} if defense == "none" else {"k": 3},
        "target_hit_ratio": thr,
        "target_hits": [round(1000 * thr)] * 5,
        "target_users": [1000] * 5,
        "catalogue_share": 0.3,
        "hit_ratio": 0.5,
        "ndcg": 0.2,
        "rmse": 1.0,
        "list_length": 50.0,
        "n_users": 943,
        **others,
    }
