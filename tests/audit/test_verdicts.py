"""Verdicts on made-up measurements whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from rvdlib.audit.measuring import Measured
from rvdlib.audit.verdicts import Cells, against, closed, fooled, judge, remedy_verdict, still_open
from rvdlib.intervals import Interval, t_interval

USERS = 200


def cells(thr: dict, gain: float = 1.0, repetitions: int = 4, noise: float = 0.005) -> Cells:
    """(attack, remedy) → THR of cold targets; ``gain``: the remedy's NDCG, relative."""
    rng, found = np.random.default_rng(0), {}
    gains = rng.random(USERS)
    for repetition in range(repetitions):
        for (attack, remedy), value in thr.items():
            own = gains * (gain if remedy != "none" else 1)
            measured = {"cold": value + noise * rng.standard_normal()}
            found[repetition, attack, remedy] = Measured(measured, own, own, 0.5, 10)
    return Cells(found)


def two(undefended: float, remedied: float, **how) -> Cells:
    clean = {("none", "none"): 0.01, ("none", "r"): 0.01}
    return cells({**clean, ("a", "none"): undefended, ("a", "r"): remedied}, **how)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.2, "yes"), (0.0, 0.01, "no"), (0.0, 0.1, "undecided"), (np.nan, np.nan, "undecided")],
)
def test_what_an_interval_does_not_show_is_undecided(low, high, verdict):
    assert against(Interval(0.1, low, high, 3), 0.05) == verdict


@pytest.mark.parametrize(
    ("undefended", "remedied", "how", "verdict"),
    [
        (0.5, 0.02, {}, "helps"),
        (0.5, 0.45, {}, "does not help"),
        (0.2, 0.5, {}, "harms"),
        (0.5, 0.02, {"gain": 0.7}, "too dear"),
        (0.5, 0.25, {"noise": 0.05}, "undecided"),
        (0.5, 0.02, {"repetitions": 1}, "undecided"),
    ],
)
def test_a_remedy_is_judged_by_what_it_removes_and_costs(undefended, remedied, how, verdict):
    assert judge(two(undefended, remedied, **how), "r").verdict == verdict


def test_what_is_removed_is_a_share_however_much_an_attack_reaches_from_time_to_time():
    found, own = {}, np.ones(USERS)
    for r, lift in enumerate((0.02, 0.1, 0.5, 0.9)):
        for attack, remedy, thr in (("none", "none", 0), ("none", "r", 0), ("a", "none", lift)):
            found[r, attack, remedy] = Measured({"cold": thr}, own, own, 0.5, 10)
        found[r, "a", "r"] = Measured({"cold": 0.3 * lift}, own, own, 0.5, 10)
    assert judge(Cells(found), "r").verdict == "helps"
    served = [found[r, "a", "r"].thr["cold"] for r in range(4)]
    assert np.mean(served) - t_interval(served).low > 0.1  # THR itself is hardly known


def test_what_a_remedy_costs_counts_by_the_end_of_its_interval():
    found = dict(two(0.5, 0.02).cells)
    rng = np.random.default_rng(1)
    for (repetition, attack, remedy), each in found.items():
        if remedy == "r":
            gains = each.gains + 0.5 * rng.standard_normal(USERS)
            gains += np.mean(found[repetition, attack, "none"].gains) - np.mean(gains)
            found[repetition, attack, remedy] = replace(each, gains=gains)
    judged = judge(Cells(found), "r")
    assert judged.accuracy.low < -0.05 < judged.accuracy.mean
    assert judged.verdict == "undecided"


def test_an_attack_is_harmful_if_it_wins_more_lists_than_an_average_item_has():
    clean = {("none", "none"): 0.01, ("random", "none"): 0.05, ("pga", "none"): 0.08}
    assert fooled(cells(clean, noise=1e-4)) == ("yes", ["pga"])
    assert fooled(cells(clean, noise=1e-4, repetitions=1)) == ("undecided", [])


def test_that_weak_attackers_fail_clears_no_model():
    clean = {("none", "none"): 0.01, ("random", "none"): 0.01}
    assert fooled(cells(clean, noise=1e-4))[0] == "undecided"
    assert fooled(cells({**clean, ("pga", "none"): 0.01}, noise=1e-4))[0] == "no"
    seldom = dict(cells(clean, noise=1e-4).cells)
    seldom[0, "pga", "none"] = seldom[0, "random", "none"]
    assert fooled(Cells(seldom))[0] == "undecided"


def test_a_remedy_that_an_attack_gains_by_is_never_recommended():
    found = two(0.2, 0.5)
    assert fooled(found)[0] == "yes"
    assert remedy_verdict("yes", [judge(found, "r")], {"r": True}) == ("none", "")
    assert remedy_verdict("yes", [judge(found, "r")], {"r": True}, untried=True)[0] == "undecided"


def test_repetitions_go_to_what_is_open_and_end_where_nothing_is():
    many = {"repetitions": 10}
    clear = two(0.5, 0.02, noise=1e-4, **many)
    assert still_open(clear, ["r"]) == ([], [])
    assert still_open(clear, ["r", "other"]) == (["a"], ["other"])
    assert still_open(two(0.5, 0.25, noise=0.02, **many), ["r"]) == (["a"], ["r"])
    assert still_open(two(0.06, 0.06, noise=0.02, **many), ["r"]) == (["a"], [])
    assert still_open(two(0.5, 0.02, noise=1e-4), ["r"]) == (["a"], ["r"])  # too few


def test_what_a_later_repetition_would_hardly_turn_is_closed_and_nothing_else():
    """The share of wrong sides among what is closed, at any look, stays far below that of 95 %."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(150):
        values = 0.1 + rng.standard_normal(30)
        looks = (t_interval(values[:n]) for n in range(8, 31))
        wrong += next((each.mean < 0 for each in looks if closed(each, 0)), False)
    assert wrong <= 2


def test_of_those_that_help_the_simplest_that_keeps_the_catalogue_is_taken():
    good = judge(two(0.5, 0.02), "r")
    others = [replace(good, name=name) for name in ("first", "second")]
    assert remedy_verdict("yes", others, {"first": False, "second": True}) == ("found", "second")
    assert remedy_verdict("yes", others, {"first": False, "second": False}) == ("found", "first")
    assert remedy_verdict("no", others, {}) == ("not needed", "")


def test_an_attack_that_was_measured_once_is_not_the_worst_of_four():
    found = dict(two(0.5, 0.02).cells)
    found[0, "once", "none"] = Measured({"cold": 0.9}, np.ones(USERS), np.ones(USERS), 0.5, 10)
    assert Cells(found).worst()[:2] == ("a", "cold")
