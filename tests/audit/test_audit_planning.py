"""What an audit tries in the time that it has."""

import time
from types import SimpleNamespace

from test_audit import audited

from rvdlib.audit.attacking import KNOWLEDGE
from rvdlib.audit.clock import Clock
from rvdlib.audit.run import Plan
from rvdlib.audit.tuning import tune
from rvdlib.defenses import DEFENSES

Count = DEFENSES["count"]


def test_what_was_left_out_comes_back_while_there_is_time_and_a_strong_attacker_always_stays():
    names = ["least support", "detection"]
    bench = SimpleNamespace(fit_seconds={"none": 1.0}, cell_seconds=dict.fromkeys(names, 1.0))
    found = SimpleNamespace(bench=bench, not_tried={})
    plan = Plan(list(names), list(KNOWLEDGE))
    whole = plan.seconds(bench)
    plan.cut(found, 4, 1.0, 0.0)
    assert plan.attacks == ["random", "vicinity"]
    assert plan.remedies == ["least support"]
    assert set(found.not_tried) == {"detection", *(f"attack {n}" for n in KNOWLEDGE)} - {
        "attack random",
        "attack vicinity",
    }
    plan.restore(found, 3, 1.0, 3 * 1.06 * plan.seconds(bench))
    assert len(plan.attacks) == 2
    plan.restore(found, 3, 1.0, 3 * 1.06 * 11)
    assert len(plan.attacks) == 3
    plan.restore(found, 3, 1.0, 3 * 1.06 * whole)
    assert plan.attacks == list(KNOWLEDGE)
    assert set(plan.remedies) == set(names)
    assert found.not_tried == {}
    assert plan.dropped == []


def test_what_compiles_is_not_timed(monkeypatch):
    found, compiled = audited(repetitions=1, remedies=[], attacks=["random"]), set()
    score = Count.score

    def slow_at_first(self, users):
        if "count" not in compiled:
            compiled.add("count")
            time.sleep(3)
        return score(self, users)

    monkeypatch.setattr(Count, "score", slow_at_first)
    one = [{"method": "count", "choices": {"k": 10, "distance": "profile_overlap"}}]
    monkeypatch.setattr("rvdlib.audit.remedies.candidates", lambda *_: one)
    tune(found.bench, Clock(None), ["count"], 1, [])
    assert compiled
    assert found.bench.cell_seconds["count"] < 0.8


def test_what_no_time_was_left_for_is_not_called_slow():
    found = audited(repetitions=1)
    left_out = tune(found.bench, Clock(1e-6), ["quorum", "closed form"], 1, []).left_out
    assert set(left_out) == {"quorum", "closed form"}
    assert all(reason.startswith("no time was left") for reason in left_out.values())
