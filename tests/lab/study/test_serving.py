"""What 12 says of a defender in service, from rows that are known."""

import numpy as np
import pandas as pd
import pytest

from rvdlib.lab.benchmark import real_time
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.study import serving
from rvdlib.lab.study.serving import EXACT, EXPANSION, graph_name
from rvdlib.seeding import stream
from tests.lab.study.conftest import row_of
from tests.serving.conftest import victim

GRAPH = graph_name(EXPANSION)


def rows(lost=0.0):
    """Undefended THR rises by 0.4, of which the exact form removes three quarters."""
    removed = {"none": 0.0, EXACT: 0.75, GRAPH: 0.75 - lost}
    return pd.DataFrame(
        row_of(attack, name, 0.1 + thr * (1 - share), seed=seed, recall=1 - lost * (name != "none"))
        for seed in range(3)
        for attack, thr in (("none", 0.0), ("random", 0.4))
        for name, share in removed.items()
    )


def caching(ratio):
    ratios = [ratio, 1.01 * ratio, 0.99 * ratio]
    times = {"undefended_cpu_ms": 0.012, "rvd_cpu_ms": 0.5, "hits": 0.5, "ratio": ratios}
    return pd.DataFrame({"regime": "rating", "victim": "MF", "round": range(3), **times})


@pytest.mark.parametrize(
    ("ratio", "lost", "verdicts"),
    [(2.0, 0.0, ["reproduced", "reproduced"]), (9.0, 0.3, ["not reproduced", "not reproduced"])],
)
def test_claims_are_judged_and_what_was_timed_leaves_no_number(ratio, lost, verdicts):
    judged = serving.judged(caching(ratio), rows(lost))
    assert judged["id"].tolist() == ["C6", "C17"]
    assert judged["verdict"].tolist() == verdicts
    assert judged["defense"].tolist() == ["RVD", "closed form"]
    assert judged["overall"].tolist() == [verdicts[0], "not measured for RVD"]
    assert judged.loc[0, ["value", "low", "high"]].isna().all()
    assert judged.loc[1, "value"] == pytest.approx(-lost, abs=1e-9)
    again = serving.judged(caching(1.1 * ratio), rows(lost))
    pd.testing.assert_frame_equal(judged, again)


def test_a_request_under_rvd_is_timed_beside_one_without_a_defence(monkeypatch):
    forms = []

    class Working:
        def __init__(self, _, form):
            forms.append(form)
            self.work = range(10 if form == serving.NO_DEFENSE else 100_000)

        def recommend(self, user, n):
            return sum(self.work)

    monkeypatch.setattr(serving, "RealTimeDefender", Working)
    found = serving.cached("filmtrust", {"ranking": victim()}, 10)
    own, carried = (chosen_defenses("ranking", "MF", of)["RVD"] for of in ("filmtrust", "ml-100k"))
    assert own in forms
    assert carried not in forms
    assert found["round"].tolist() == [*range(serving.ROUNDS)]
    assert found["rvd_cpu_ms"].gt(found["undefended_cpu_ms"]).all()
    ratio = found["rvd_cpu_ms"] / found["undefended_cpu_ms"]
    assert ratio.tolist() == pytest.approx(found["ratio"].tolist())
    (means,) = serving.cached_means(found).to_dict("records")
    assert means["ratio"] == pytest.approx(found["ratio"].mean(), abs=1e-3)


def test_the_summary_is_of_the_attacked_and_by_search():
    found = serving.summary(rows(0.1)).set_index(["defense", "metric"])["mean"]
    assert found[GRAPH, "recall"] == pytest.approx(0.9)
    assert found[EXACT, "target_hit_ratio"] == pytest.approx(0.2)
    assert "none" not in found.index


def test_the_answer_quotes_the_slowest_form_the_largest_scale_and_the_alarms_errors():
    latency = pd.DataFrame(
        {
            "cache": ["cold", "cold", "cold", "warm"],
            "name": ["undefended", "closed form, k = 30", "hardened, k = 30", "undefended"],
            "p99_cpu_ms": [0.2, 1.5, 1.7, 0.1],
        }
    )
    scale = pd.DataFrame(
        {
            "users": [1000, 1000, 10**6, 10**6],
            "search": ["exact", "graph"] * 2,
            "p50_cpu_ms": [1, 2, 12.4, 1.6],
            "build_seconds": [0, 1, 29, 240],
        }
    )
    alarms = pd.DataFrame(
        {
            "regime": "rating",
            "arrivals": ["users", "users and fakes"] * 4,
            "raised": [False, True, True, True, False, False, False, True],
        }
    )
    said = serving.answer(
        latency, scale, caching(2), alarms, serving.judged(caching(2), rows())
    ).splitlines()
    assert said[2] == (
        "- 99 of 100 cold requests take at most 0.20 ms of the processor undefended and 1.70 ms in "
        "the slowest form (hardened, k = 30)."
    )
    assert said[3].endswith(
        "0.50 ms a request and no defence 0.01 ms, both with a cache: 2 times as long; C6: reproduced in the rating regime."
    )
    assert "1,000,000 users, exact neighbours take 12.4 ms a request" in said[4]
    assert said[4].endswith(
        "removes changes by 0.000; C17: not measured for RVD in the rating regime."
    )
    assert "in 25% of looks where real users came, and in 75% where fakes came" in said[5]


def test_a_trace_has_few_users_who_come_often():
    users = real_time.trace(200, 4000, stream(0, "trace"))
    counts = np.sort(np.bincount(users, minlength=200))[::-1]
    expected = 4000 / np.arange(1, 201) / np.sum(1 / np.arange(1, 201))
    assert counts[0] == pytest.approx(expected[0], rel=0.15)
    assert counts[:20].sum() == pytest.approx(expected[:20].sum(), rel=0.1)


def test_at_scale_both_searches_serve_the_same_users():
    found = real_time.at_scale([300], 60, 5, 20).set_index("search")
    assert found.loc["exact", "recall"] == 1
    assert 0.9 < found.loc["graph", "recall"] <= 1
    assert (found[["p50_ms", "p99_cpu_ms", "build_seconds"]] > 0).all(axis=None)
    assert found.loc["graph", "graph_mib"] > 0 == found.loc["exact", "graph_mib"]


def test_updates_are_timed_by_what_changes():
    found = real_time.updates(victim(), 5, [1, 3], rounds=2)
    kinds = ["1 of known users", "3 of known users", "a new user", "a user who leaves"]
    assert found.groupby("name", sort=False)["update"].apply(list).tolist() == [kinds] * 3
    assert (found["seconds"] > 0).all()
    assert found.loc[found["update"] == kinds[1], "ratings"].eq(3).all()
    assert (found["per_second"] * found["seconds"]).tolist() == pytest.approx(found["ratings"])


def test_users_are_served_by_all_in_turn_and_timed_by_both_clocks():
    class Noting:
        def __init__(self, name):
            self.name = name

        def recommend(self, user, n):
            served.append((self.name, user))

    served = []
    times = real_time.request_times({name: Noting(name) for name in "ab"}, [4, 7, 4])
    assert served == [("a", 4), ("b", 4), ("b", 7), ("a", 7), ("a", 4), ("b", 4)]
    assert times["a"].shape == (3, 2)
    shown = real_time.quantiles({"a": np.column_stack([np.arange(101), np.arange(101) / 10])})
    assert shown.loc[0, ["p50_ms", "p99_ms"]].tolist() == pytest.approx([50_000, 99_000])
    assert shown.loc[0, "p99_cpu_ms"] == pytest.approx(9900)
