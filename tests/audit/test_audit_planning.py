"""What an audit tries in the time that it has."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_audit import audited

from rvdlib.audit import document, measuring
from rvdlib.audit.attacking import KNOWLEDGE
from rvdlib.audit.clock import Clock
from rvdlib.audit.measuring import Measured
from rvdlib.audit.run import _expected, _next
from rvdlib.audit.subject import OwnModel
from rvdlib.audit.tuning import Tuner

FIRST = ["random", "vicinity"]


def planned(left: float, repetition: int = 0, cells: dict | None = None):
    """Attacks and remedies of a repetition; a training takes a second, and so does whatever is served."""
    names = ["least support", "count", "detection"]
    seconds = {("fit", "none"): 1.0, **{("choosing", name): 1.0 for name in names}}
    found = SimpleNamespace(bench=SimpleNamespace(seconds=seconds), attacks=[*KNOWLEDGE], failed={})
    found.chosen, found.tuner = dict.fromkeys(names), SimpleNamespace(spend=lambda seconds: None)
    found.cells, found.budget = cells or {}, 0.03
    asked = _next(found, SimpleNamespace(left=left, seconds=0.0), repetition, exactly=False)
    return *asked, _expected(found.bench, [*asked[0], *asked[1]])


def test_a_repetition_holds_what_fits_and_more_time_never_takes_anything_away():
    before: set = set()
    for left in np.arange(1, 300, 3.0):
        attacks, remedies, seconds = planned(left)
        assert seconds < left / 4 or set(attacks) <= set(FIRST)
        assert before <= {*attacks, *remedies}
        before = {*attacks, *remedies}
        assert not remedies or attacks[-1] == "vicinity"
        assert "detection" not in remedies or len(attacks) == len(KNOWLEDGE)
    assert before == {*KNOWLEDGE, "least support", "count", "detection"}


def test_what_does_not_fit_is_not_begun():
    assert planned(3, repetition=1) == ([], [], 2)
    assert planned(7, repetition=1)[0] == FIRST


def test_later_repetitions_hold_what_is_open_and_what_was_never_measured():
    rng, cells = np.random.default_rng(0), {}
    for r in range(8):
        for attack, thr in (("none", 0.01), ("random", 0.5), ("pga", 0.05 + 0.02 * rng.random())):
            gains = np.ones(50)
            cells[r, attack, "none"] = Measured({"cold": thr}, gains, gains, 0.5, 10)
            cells[r, attack, "count"] = Measured({"cold": 0.01}, gains, gains, 0.5, 10)
    attacks, remedies, _ = planned(1e9, 8, cells)
    assert attacks == ["random", "low_clone", "pga", "centroid", "vicinity"]
    assert remedies == ["least support", "detection"]
    cells |= {
        (r, a, d): cells[r, "random", d] for r, _, d in [*cells] for a in KNOWLEDGE if a != "pga"
    }
    assert planned(1e9, 8, cells)[0] == ["random", "pga"]


@pytest.mark.parametrize(("training", "serving"), [(0.1, 0.02), (0.1, 0.6), (0.6, 0.1), (4, 0.1)])
def test_it_ends_within_its_minutes_however_slow_the_model_is(training, serving, monkeypatch):
    """Time is what trainings and lists are said to take."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], perf_counter=lambda: now[0])
    monkeypatch.setattr("rvdlib.audit.clock.time", clock)
    monkeypatch.setattr("rvdlib.audit.measuring.time", clock)
    monkeypatch.setattr("rvdlib.audit.run.MOST_REPETITIONS", 5)

    def takes(seconds, owner, name):
        method = getattr(owner, name)

        def slow(*given, **named):
            now[0] += seconds
            return method(*given, **named)

        monkeypatch.setattr(owner, name, slow)

    takes(training, OwnModel, "fit")
    takes(training / 2, measuring.attacks, "craft")
    takes(serving, measuring, "evaluate")
    monkeypatch.setattr(measuring.Bench, "milliseconds", lambda *_: 1000 * serving / 80)
    found = audited(minutes=1, repetitions=None)
    report = document(found)
    assert found.seconds <= 72
    assert not found.interrupted
    assert report["remedies"][0]["thr"] is not None
    untried = {each["what"] for each in report["not_tried"]}
    tried = {row["name"] for row in report["attacks"] + report["remedies"]}
    assert all(name in tried or f"attack {name}" in untried for name in KNOWLEDGE)


def test_what_had_no_time_has_its_turn_again():
    found = audited(repetitions=1, remedies=[], attacks=["random"])
    tuner = Tuner(found.bench, Clock(None), ["quorum", "adversarial training", "least support"])
    assert "only ours" in tuner.left_out["adversarial training"]
    tuner.spend(0)
    assert tuner.waiting == ["quorum", "least support"]
    assert tuner.chosen == {}
    tuner.spend(np.inf)
    assert tuner.waiting == []
    assert set(tuner.chosen) == {"quorum", "least support"}
