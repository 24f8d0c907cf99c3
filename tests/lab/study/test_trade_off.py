"""The trade-off: every combination once, fronts that nothing beats, and what accuracy pays for."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.lab.study import trade_off
from rvdlib.lab.study.trade_off import CLOSED_FORM, OBSERVED_ONLY, RVD, WEIGHTED
from rvdlib.lab.tuning.defense_search import search_file
from rvdlib.lab.tuning.search_space import candidates
from rvdlib.strict_yaml import read_yaml
from tests.lab.study.conftest import row_of

SETTINGS = {
    "rating": {"attack": "random", "target_set": "unpopular"},
    "ranking": {"attack": "clone", "target_set": "random"},
}
CHOICES = {
    CLOSED_FORM: {"k": [10, 30], "proximal_weight": [0.1, 1.0], "unobserved_weight": [0.1]},
    RVD: {"k": [10], "steps": [5, 20], "learning_rate": [0.01]},
}


CHOSEN = {
    "RVD": {"method": "rvd", "choices": {"k": 10, "steps": 5, "learning_rate": 0.01}},
    "closed form": {
        "method": "closed_form",
        "choices": {"k": 30, "proximal_weight": 0.3, "unobserved_weight": 0.03},
    },
}


@pytest.fixture(autouse=True)
def chosen(monkeypatch):
    """The defender's choices: the paper's form's are in the grid, the closed form's are not."""
    monkeypatch.setattr(trade_off, "chosen_defenses", lambda regime, victim, dataset: CHOSEN)


@pytest.fixture
def cells():
    return trade_off.cells("ml-100k", ["MF", "CDAE"], SETTINGS, [0, 1], 40, CHOICES)


def test_every_combination_and_what_was_chosen_is_a_cell_and_so_is_the_undefended_victim(cells):
    assert len(cells) == 2 * 2 * 2 * (1 + (2 * 2 + 1) + 2)
    assert len({cell.model_dump_json() for cell in cells}) == len(cells)
    assert {cell.n_users for cell in cells} == {40}
    under = {(c.scenario.regime, c.scenario.attack, c.scenario.target_set) for c in cells}
    assert under == {("rating", "random", "unpopular"), ("ranking", "clone", "random")}
    methods = {(cell.defense, cell.method) for cell in cells}
    assert methods == {("none", None), (CLOSED_FORM, "closed_form"), (RVD, "rvd")}
    closed = [cell.choices for cell in cells if cell.method == "closed_form"]
    assert {"k": 30, "proximal_weight": 0.1, "unobserved_weight": 0.1} in closed
    assert closed.count(CHOSEN["closed form"]["choices"]) == 2 * 2 * 2


def rows(points, regime="rating", seeds=(0.0,)):
    """Cells of the closed form at (THR, accuracy), the undefended victim at the first."""
    metric, other = ("rmse", "ndcg") if regime == "rating" else ("ndcg", "rmse")
    return pd.DataFrame(
        row_of(
            defense=CLOSED_FORM if number else "none",
            thr=thr + up,
            regime=regime,
            seed=seed,
            choices={"k": number, "proximal_weight": 0.5} if number else {},
            **{metric: accuracy, other: 0.0},
        )
        for number, (thr, accuracy) in enumerate(points)
        for seed, up in enumerate(seeds)
    )


def test_a_point_is_the_mean_over_seeds_with_its_interval():
    found = trade_off.points(rows([(0.8, 1.0), (0.2, 0.9)], seeds=(-0.01, 0.01)))
    assert found["form"].tolist() == ["none", WEIGHTED]
    assert found["n"].tolist() == [2, 2]
    assert found["choices"].tolist() == ["", "k 1, λ 0.5"]
    assert found["thr"].tolist() == pytest.approx([0.8, 0.2])
    reach = 12.706205 * 0.01  # t of two seeds
    assert found["thr_low"].tolist() == pytest.approx([0.8 - reach, 0.2 - reach])
    assert found["thr_high"].tolist() == pytest.approx([0.8 + reach, 0.2 + reach])
    assert found["accuracy"].tolist() == [1.0, 0.9]
    assert found["metric"].tolist() == ["rmse", "rmse"]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), min_size=2, max_size=12),
    st.sampled_from([("rating", 1), ("ranking", -1)]),  # less RMSE is better, more NDCG
)
def test_whatever_is_off_the_front_is_beaten_and_what_is_on_it_is_not(points, judged_by):
    regime, sign = judged_by
    found = trade_off.points(rows([(thr / 10, a / 4) for thr, a in points], regime))
    costs = found[["thr", "accuracy"]].to_numpy() * [1, sign]
    for number in range(1, len(costs)):
        beaten = any(
            (other <= costs[number]).all() and (other < costs[number]).any() for other in costs
        )
        assert found["front"][number] == (not beaten)


def test_forms_and_victims_have_fronts_of_their_own():
    one = rows([(0.8, 1.0), (0.2, 0.9)])
    other = rows([(0.8, 1.0), (0.5, 0.95)]).assign(
        defense=["none", RVD], choices=[{}, {"k": 1, "steps": 5}]
    )
    both = pd.concat([one, other[1:], other.assign(victim="CDAE")], ignore_index=True)
    found = trade_off.points(both)
    assert found["front"].tolist() == [False, True, True, False, True]


def test_the_closed_form_without_a_weight_is_a_form_of_its_own_and_what_was_chosen_is_marked():
    found = rows([(0.8, 1.0), (0.7, 1.0), (0.3, 1.1), (0.2, 1.1), (0.6, 1.02)])
    closed = CHOSEN["closed form"]["choices"]
    paper = CHOSEN["RVD"]["choices"]
    found["choices"] = [{}, closed | {"unobserved_weight": 0.0}, closed, closed | {"k": 10}, paper]
    found.loc[4, "defense"] = RVD
    points = trade_off.points(found)
    assert points["form"].tolist() == ["none", OBSERVED_ONLY, WEIGHTED, WEIGHTED, RVD]
    assert points["chosen"].tolist() == [False, False, True, False, True]
    assert points["front"].tolist() == [False, True, False, True, True]

    closed, paper = trade_off.as_chosen(points).to_dict("records")
    assert (closed["form"], closed["undefended"], closed["defended"]) == (WEIGHTED, 0.8, 0.3)
    assert closed["change"] == pytest.approx(-0.1)
    assert (paper["form"], paper["defended"]) == (RVD, 0.6)

    _, _, as_chosen, hindsight = trade_off.answer(points, SETTINGS).splitlines()
    assert as_chosen == (
        "- In the rating regime, under *random* fakes, THR@50 is 0.800 undefended and, as chosen, 0.300 "
        "under *closed form, ω > 0* (RMSE worse by 10.0 %) and 0.600 under *RVD* (RMSE worse by 2.0 %)."
    )
    assert f"reach 0.700 under *{OBSERVED_ONLY}* and 0.600 under *RVD* in the rating" in hindsight
    assert trade_off.in_hindsight(points)["n_points"].tolist() == [1, 1]


@pytest.mark.parametrize(("regime", "sign"), [("rating", 1), ("ranking", -1)], ids=["RMSE", "NDCG"])
def test_the_budget_bounds_the_loss_of_accuracy_not_the_gain(regime, sign):
    points = [(0.8, 1.0), (0.1, 1 + 0.051 * sign), (0.3, 1 + 0.049 * sign)]
    (row,) = trade_off.in_hindsight(trade_off.points(rows(points, regime))).to_dict("records")
    assert (row["undefended"], row["defended"], row["choices"]) == (0.8, 0.3, "k 2, λ 0.5")
    assert row["change"] == pytest.approx(-0.049)
    points.append((0.2, 1 - 0.3 * sign))
    (row,) = trade_off.in_hindsight(trade_off.points(rows(points, regime))).to_dict("records")
    assert (row["defended"], row["change"]) == (0.2, pytest.approx(0.3))


def test_a_form_that_costs_too_much_everywhere_is_left_out():
    found = trade_off.points(rows([(0.8, 1.0), (0.1, 1.2)]))
    assert len(trade_off.in_hindsight(found)) == 0


def test_each_victim_is_held_against_itself_undefended():
    one, other = rows([(0.8, 1.0), (0.2, 1.04)]), rows([(0.6, 1.2), (0.3, 1.188)])
    both = pd.concat([one, other.assign(victim="CDAE")], ignore_index=True)
    closed = CHOSEN["closed form"]["choices"]
    both["choices"] = [{}, closed] * 2
    points = trade_off.points(both)
    for found in (trade_off.in_hindsight(points), trade_off.as_chosen(points)):
        columns = ["victim", "undefended", "defended"]
        assert found[columns].to_numpy().tolist() == [["MF", 0.8, 0.2], ["CDAE", 0.6, 0.3]]
        assert found["change"].to_numpy() == pytest.approx([-0.04, 0.01])
    _, _, as_chosen, hindsight = trade_off.answer(points, SETTINGS).splitlines()
    assert "THR@50 is 0.700 undefended and, as chosen, 0.250 under" in as_chosen
    assert "(RMSE worse by 1.5 %)" in as_chosen
    assert f"reach 0.250 under *{WEIGHTED}* in the rating regime; nobody" in hindsight
    dear = points.assign(accuracy=points["accuracy"] * [1, 2, 1, 1])
    assert "0.300 under *closed form, ω > 0* (1 of 2 victims)" in trade_off.answer(dear, SETTINGS)


def test_what_the_defender_may_choose_has_a_text_of_its_own():
    for name, form in read_yaml(search_file("defense"))["forms"].items():
        tried = candidates(form)
        texts = [trade_off.as_text(choices) for choices in tried]
        assert len(set(texts)) == len(tried), name
    assert trade_off.as_text({"k": 3, "include_user": True, "scope": "all"}) == "k 3, own row"
