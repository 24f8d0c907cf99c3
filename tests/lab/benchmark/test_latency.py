"""What serving costs: which forms, dials and catalogues are timed, on whom."""

import numpy as np
import pandas as pd
import pytest

from rvdlib.lab.benchmark import latency, memory
from rvdlib.lab.benchmark.latency import (
    hubs_of,
    made_up,
    memory_of_one_call,
    ratios,
    serving_times,
    times_of_many,
    train,
)
from tests.lab.conftest import small_victims

BASE = {
    "closed_form": {"k": 4, "unobserved_weight": 0.2, "proximal_weight": 0.5},
    "iterative": {"k": 4, "steps": 2, "learning_rate": 0.01},
}
QUICK = {"undefended", "closed_form", "engine"}
LOOPS = {"functional", "plain_loop"}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    small_victims(monkeypatch, embedding_size=4, epochs=1)
    monkeypatch.setattr(latency, "ROUNDS", 2)
    few = dict.fromkeys(("closed_form", "engine"), 6)
    monkeypatch.setattr(
        latency,
        "VISITS",
        {"many": dict.fromkeys(latency.VISITS["many"], 30), "few": latency.VISITS["few"] | few},
    )


@pytest.fixture
def work(monkeypatch):
    """What was timed: (recommender, users) by form, for each call of ``in_turn``."""
    noted, in_turn = [], latency.in_turn

    def noting(work, rounds, description):
        noted.append({name: call.args[:2] for name, call in work.items()})
        return in_turn(work, rounds, description=description)

    monkeypatch.setattr(latency, "in_turn", noting)
    return noted


def test_each_dial_is_turned_alone_on_the_first_and_every_catalogue_is_served(work, dataset):
    trained = [*train([dataset], "MF"), made_up("MF", 60, 300)]
    dials = {"k": [2, 4, 6], "steps": [0, 3]}
    found = serving_times(trained, BASE, dials, {"many": 9, "few": 3})
    settings = found[["dataset", "items", "dial", "value"]].drop_duplicates()
    assert set(settings.itertuples(index=False, name=None)) == {
        (dataset, 150, "items", 150),
        *((dataset, 150, "k", k) for k in (2, 4, 6)),
        *((dataset, 150, "steps", steps) for steps in (0, 2, 3)),
        ("made up", 300, "items", 300),
    }
    assert len(found) == 8 * (3 + 4) * 2
    assert (found["ms_per_user"] > 0).all()

    many, few = work[::2], work[1::2]
    turned = [(4, 2), (2, 2), (6, 2), (4, 0), (4, 3), (4, 2)]  # what is usual comes once
    assert [len(many), len(few)] == [len(turned)] * 2
    for timed, (k, steps) in zip(few, turned, strict=True):
        assert timed.keys() == LOOPS | QUICK - {"undefended"}
        assert {form.config.k for form, _ in timed.values()} == {k}
        assert {timed[name][0].config.steps for name in (*LOOPS, "engine")} == {steps}
        closed = timed["closed_form"][0].config
        assert (closed.unobserved_weight, closed.proximal_weight) == (0.2, 0.5)
    for timed in many:
        assert timed.keys() == QUICK


def test_forms_that_are_compared_serve_the_same_users_each_equally_often(work):
    serving_times([made_up("MF", 60, 120)], BASE, {}, {"many": 7, "few": 4})
    for timed, n_users in zip(work, (7, 4), strict=True):
        visits = {name: np.unique(users, return_counts=True) for name, (_, users) in timed.items()}
        for name, (users, counts) in visits.items():
            assert len(users) == n_users, name
            assert np.array_equal(users, visits["engine"][0]), name
            assert len(set(counts)) == 1, name
        assert sum(visits["engine"][1]) >= (30 if n_users == 7 else 6)
        assert {counts[0] for name, (_, counts) in visits.items() if name in LOOPS} <= {1}


def test_a_ratio_is_the_median_of_those_within_a_round():
    taken = {  # group, form → ms in three rounds
        ("many", "undefended"): [1, 10, 30],
        ("many", "closed_form"): [4, 30, 60],
        ("few", "closed_form"): [1, 10, 5],
        ("few", "engine"): [1, 2, 5],
        ("few", "functional"): [4, 4, 32],
        ("few", "plain_loop"): [10, 30, 20],
    }
    times = pd.DataFrame(
        {
            "dial": dial,
            "value": 10,
            "group": group,
            "form": form,
            "round": number,
            "ms_per_user": ms * factor,
        }
        for dial, factor in (("k", 1), ("steps", 7))
        for (group, form), rounds in taken.items()
        for number, ms in enumerate(rounds)
    )
    (row,) = ratios(times).reset_index().to_dict("records")
    assert row == {
        "k": 10,
        "closed_over_undefended": 3,  # of 4, 3 and 2
        "plain_over_engine": 10,  # of 10, 15 and 4
        "plain_over_functional": 2.5,  # of 2.5, 7.5 and 0.625; that of the medians is 5
        "plain_over_closed": 4,  # of 10, 3 and 4; with many users' closed form it would be 1
    }


def test_users_come_again_where_more_are_served_than_there_are(work):
    found = times_of_many([40, 250], n_users=100, n_items=200, base=BASE)
    assert [{name: len(users) for name, (_, users) in timed.items()} for timed in work] == [
        {"undefended": n, "closed_form": n} for n in (40, 250)
    ]
    assert set(work[1]["closed_form"][1]) == set(range(100))
    assert work[0]["closed_form"][0].config.k == 4
    assert found["served"].tolist() == [40] * 4 + [250] * 4
    assert np.allclose(found["us_per_user"], 1e6 * found["seconds"] / found["served"])


@pytest.mark.parametrize(("n_users", "n_items"), [(30, 200), (20, 3000)])
def test_a_made_up_victim_knows_every_user_and_item(n_users, n_items):
    name, victim = made_up("AutoRec", n_users, n_items)
    assert name == "made up"
    assert victim.train.shape == (n_users, n_items)
    assert victim.config.embedding_size == 64
    assert np.isfinite(victim.score(np.arange(3))).all()


def test_memory_is_told_of_everybody_at_once(monkeypatch):
    asked = []

    def of_one_call(victim, users, seen, **choices):
        asked.append((users.tolist(), choices))
        return {"before": 300.0, "peak": 400.0}

    monkeypatch.setattr(memory, "of_one_call", of_one_call)
    (row,) = memory_of_one_call([made_up("MF", 64, 128)], k=3).to_dict("records")
    assert asked == [(list(range(64)), {"k": 3})]
    assert row["scores, MiB"] == 4 * 64 * 128 / 2**20
    assert (row["users"], row["items"], row["before, MiB"], row["peak, MiB"]) == (64, 128, 300, 400)


def test_hubs_are_a_row_a_data_set_and_a_column_a_distance():
    ones = [made_up("MF", 60, 120), made_up("MF", 50, 110)._replace(dataset="another")]
    found = hubs_of(ones, 5)
    assert found.index.tolist() == ["made up", "another"]
    for one in ones:
        assert found.loc[one.dataset].to_dict() == latency.hubs(one.victim, 5)
