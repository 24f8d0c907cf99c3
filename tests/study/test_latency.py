"""What serving costs: which forms, dials and catalogues are timed, on whom."""

import numpy as np
import pandas as pd
import pytest

from rvdlib.data import synthetic_ratings
from rvdlib.seeding import stream
from rvdlib.study import cells, latency
from rvdlib.study.latency import TIMED, made_up, milliseconds, serving_times, times_of_many

BASE = {"k": 4, "steps": 2}


@pytest.fixture
def work(monkeypatch):
    """Who was served: form → numbers of users, timed calls only."""

    def hyperparameters(dataset, regime, victim):
        return {"embedding_size": 4, "epochs": 1, "unobserved_weight": 0.0}

    served, in_turn = [], latency.in_turn

    def noting(work, rounds, description):
        seconds = in_turn(work, rounds, description=description)
        served.append({name: len(call.args[1]) for name, call in work.items()})
        return seconds

    monkeypatch.setattr(cells, "victim_hyperparameters", hyperparameters)
    monkeypatch.setattr(latency, "in_turn", noting)
    monkeypatch.setattr(latency, "ROUNDS", 1)
    return served


def test_each_dial_is_turned_alone_on_the_first_data_set_and_every_catalogue_is_served(
    work, tmp_path
):
    ratings = synthetic_ratings(40, 90, 900, rng=stream(0, "ratings")).matrix.tocoo()
    columns = {"user": ratings.row, "item": ratings.col, "rating": ratings.data}
    own = str(tmp_path / "own.csv")
    pd.DataFrame(columns).to_csv(own, index=False)
    found = serving_times(
        ["ml-100k", own], [300], "MF", BASE, {"k": [2, 6], "steps": [0, 3, 5]}, n_users=3
    )
    settings = found[["dataset", "items", "dial", "value"]].drop_duplicates()
    assert settings.to_numpy().tolist() == [
        ["ml-100k", 1682, "items", 1682],
        ["ml-100k", 1682, "k", 2],
        ["ml-100k", 1682, "k", 6],
        ["ml-100k", 1682, "steps", 0],
        ["ml-100k", 1682, "steps", 3],
        ["ml-100k", 1682, "steps", 5],
        [own, 90, "items", 90],
        ["made up", 300, "items", 300],
    ]
    assert len(found) == 8 * len(TIMED)
    assert (found["ms_per_user"] > 0).all()
    for number, users in enumerate((943, 943, 943, 943, 943, 943, 40, 1000)):
        sample = dict.fromkeys(("engine", "functional", "plain_loop"), 3)
        assert work[number] == {"undefended": users, "closed_form": users, **sample}
    base = milliseconds(found, "ml-100k")
    assert set(base.index) == set(TIMED)
    first = found[: len(TIMED)].set_index("form")["ms_per_user"]
    assert base.to_dict() == first.to_dict()
    assert base["undefended"] < base["closed_form"] < base["plain_loop"]


def test_users_come_again_where_more_are_served_than_there_are(work):
    found = times_of_many([40, 250], n_users=100, n_items=200)
    assert work == [{"undefended": n, "closed_form": n} for n in (40, 250)]
    assert found["served"].tolist() == [40, 40, 250, 250]
    assert np.allclose(found["us_per_user"], 1e6 * found["seconds"] / found["served"])
    assert found["peak_mib"].is_monotonic_increasing


@pytest.mark.parametrize(("n_users", "n_items"), [(30, 200), (20, 3000)])
def test_a_made_up_victim_knows_every_user_and_item(n_users, n_items):
    victim, seen = made_up("AutoRec", n_users, n_items)
    assert seen.shape == (n_users, n_items) == victim.train.shape
    assert victim.config.embedding_size == 64
    assert np.isfinite(victim.score(np.arange(3))).all()
