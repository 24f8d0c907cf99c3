"""What RVD did, derived from cells: held to figures worked out by hand."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import yaml

from rvdlib import paths
from rvdlib.lab.figures import effect_plots
from rvdlib.lab.study import effects, tables
from rvdlib.lab.study.effects import CLOSED_FORM, RVD
from rvdlib.lab.tuning.defense_search import SEARCH_FILE

FORMS = {
    RVD: {"method": "rvd", "choices": {"k": 3}},
    CLOSED_FORM: {"method": "closed_form", "choices": {"k": 5, "unobserved_weight": 0.1}},
}


def row(attack, defense, thr, **others):
    """A cell of MF in the rating regime; a row's other columns as given."""
    return {
        "dataset": "ml-100k",
        "victim": "MF",
        "regime": "rating",
        "attack": attack,
        "attack_size": 0.0 if attack == "none" else 0.03,
        "attack_options": {},
        "visible_share": 0.4,
        "filler_size": None,
        "target_set": "unpopular",
        "seed": 0,
        "evaluated_on": "test",
        "defense": defense,
        "choices": {} if defense == "none" else {"k": 3},
        "target_hit_ratio": thr,
        "target_hit_ratio_sample_low": thr,
        "target_hit_ratio_sample_high": thr,
        "hit_ratio": 0.5,
        "ndcg": 0.2,
        "rmse": 1.0,
        "n_users": 943,
        **others,
    }


def frame(*rows):
    return pd.DataFrame(rows)


@pytest.fixture
def attacked():
    """THR clean 0.1, attacked 0.5; defended 0.05 and 0.15. A second attack does nothing."""
    return frame(
        row("none", "none", 0.1),
        row("none", RVD, 0.05),
        row("average", "none", 0.5),
        row("average", RVD, 0.15),
        row("random", "none", 0.109),
        row("random", RVD, 0.04),
    )


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def test_lifts_are_those_worked_out_by_hand(attacked):
    found = effects.with_lift(attacked).set_index(["attack", "defense"])
    assert found.loc[("average", "none"), "lift"] == pytest.approx(0.4)
    assert found.loc[("average", RVD), "lift"] == pytest.approx(0.1)
    assert found.loc[("average", RVD), "lift_removed"] == pytest.approx(0.75)
    assert found.loc[("average", RVD), "reduction"] == pytest.approx(0.7)
    assert found.loc[("average", "none"), ["lift_removed", "reduction"]].tolist() == [0, 0]
    assert found.loc[("none", RVD), "reduction"] == pytest.approx(0.5)


def test_the_removed_share_of_no_lift_is_undefined(attacked):
    found = effects.with_lift(attacked).set_index(["attack", "defense"])
    assert found.loc[("random", "none"), "lift"] == pytest.approx(0.009)  # below 0.01
    assert found.loc[["random", "none"], "lift_removed"].isna().all()
    assert found.loc[("random", RVD), "reduction"] == pytest.approx(1 - 0.04 / 0.109)


def test_nothing_hit_leaves_the_reduction_undefined():
    rows = frame(row("none", "none", 0.0), row("none", RVD, 0.0))
    assert effects.with_lift(rows)["reduction"].isna().all()


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"victim": "AutoRec"},
        {"regime": "ranking"},
        {"target_set": "random"},
        {"dataset": "x"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_each_row_is_held_against_its_own_partner(attacked, other):
    fewer = attacked.assign(target_hit_ratio=attacked["target_hit_ratio"] / 2, **other)
    together = pd.concat([attacked, fewer], ignore_index=True)
    found = effects.with_lift(together)
    assert len(found) == 12
    alone = pd.concat([effects.with_lift(attacked), effects.with_lift(fewer)], ignore_index=True)
    pd.testing.assert_frame_equal(found, alone)


def test_attack_sizes_are_not_mixed_up(attacked):
    stronger = attacked[attacked["attack"] != "none"].assign(
        attack_size=0.1, target_hit_ratio=lambda rows: rows["target_hit_ratio"] * 1.5
    )
    found = effects.with_lift(pd.concat([attacked, stronger], ignore_index=True))
    assert len(found) == len(attacked) + len(stronger)
    strong = found[(found["attack_size"] == 0.1) & (found["attack"] == "average")]
    assert strong["target_hit_ratio_undefended"].tolist() == pytest.approx([0.75, 0.75])


@pytest.mark.parametrize("lost", ["no clean row", "no undefended row"])
def test_a_row_without_its_partner_is_an_error_and_not_left_out(attacked, lost):
    column, value = {
        "no clean row": ("attack", "none"),
        "no undefended row": ("defense", "none"),
    }[lost]
    with pytest.raises(ValueError, match=r"'none'.*undefended: \d rows have no"):
        effects.with_lift(attacked[attacked[column] != value])


def test_two_rows_for_one_place_are_an_error(attacked):
    with pytest.raises(ValueError, match="many-to-one"):
        effects.with_lift(pd.concat([attacked, attacked.iloc[:1]]))


def over_seeds(attacked):
    shifted = attacked.assign(seed=1, target_hit_ratio=attacked["target_hit_ratio"] + 0.1)
    return effects.with_lift(pd.concat([attacked, shifted], ignore_index=True))


def test_the_summary_is_the_mean_over_seeds_of_every_metric(attacked):
    summary = effects.summary(over_seeds(attacked))
    assert len(summary) == 6 * 7
    found = summary.set_index(["attack", "defense", "metric"])
    thr = found.loc[("average", RVD, "target_hit_ratio")]
    assert (thr["mean"], thr["low"], thr["high"], thr["n"]) == pytest.approx((0.2, 0.15, 0.25, 2))
    assert found.loc[("none", RVD, "lift_removed"), "n"] == 0


def test_the_robustness_table_shows_each_defence_and_the_lift_that_it_removes(attacked):
    table = effects.robustness_table(over_seeds(attacked))
    assert table.columns.tolist() == [
        ("THR@50", "none"),
        ("THR@50", RVD),
        ("lift removed", RVD),
    ]
    # In the order of the cells, not of the alphabet.
    rows = [("rating", "unpopular", attack) for attack in ("none", "average", "random")]
    assert table.index.tolist() == rows
    assert table.loc[rows[1], ("THR@50", RVD)] == "0.200 [0.150, 0.250]"
    assert table["lift removed", RVD].tolist() == ["", "0.75 [0.75, 0.75]", "–"]


def test_the_robustness_table_averages_victims_before_seeds(attacked):
    weaker = attacked.assign(victim="CDAE", target_hit_ratio=attacked["target_hit_ratio"] / 2)
    rows = pd.concat([over_seeds(attacked), over_seeds(weaker)], ignore_index=True)
    table = effects.robustness_table(rows)
    shown = table.loc[("rating", "unpopular", "average"), ("THR@50", "none")]
    assert shown == "0.425 [0.375, 0.475]"  # (0.5 + 0.25) / 2 and 0.1 more


def test_one_seed_has_no_interval_and_is_shown_without(attacked):
    table = effects.robustness_table(effects.with_lift(attacked))
    assert table.loc[("rating", "unpopular", "average"), ("THR@50", "none")] == "0.500"


def test_change_is_paired_by_seed_after_the_attacks_were_averaged():
    rows = frame(
        *[
            row(attack, defense, 0.5, seed=seed, hit_ratio=base + gain)
            for seed, base in ((0, 0.2), (1, 0.6))
            for attack, gains in (("average", (0, 0.1)), ("clone", (0, 0.3)))
            for defense, gain in zip(("none", RVD), gains, strict=True)
        ]
    )
    clean = rows[rows["attack"] == "clone"].assign(attack="none", attack_size=0.0)
    found = effects.change(effects.with_lift(pd.concat([rows, clean])).query("attack != 'none'"))
    assert set(found["defense"]) == {RVD}
    gain = found.set_index("metric").loc["hit_ratio"]
    # Seeds differ by 0.4, and yet both gain 0.2 exactly.
    assert (gain["mean"], gain["low"], gain["high"], gain["n"]) == pytest.approx((0.2, 0.2, 0.2, 2))


def test_the_headline_has_robustness_beside_paired_accuracy_and_no_clean_row(attacked):
    shown = effects.headline(over_seeds(attacked)).iloc[0].to_dict()
    undefended = np.mean([0.5, 0.6, 0.109, 0.209])
    assert shown["THR@50, none"] == pytest.approx(undefended, abs=6e-4)
    assert shown["THR@50, RVD"] == pytest.approx(0.145, abs=6e-4)
    assert "HR@50 change, none" not in shown
    rows = over_seeds(attacked)
    under = rows[(rows["defense"] == RVD) & (rows["attack"] != "none")]
    for metric, name in (("hit_ratio", "HR@50"), ("ndcg", "NDCG@50"), ("rmse", "RMSE")):
        by_hand = (under[metric] - under[f"{metric}_undefended"]).mean()
        assert shown[f"{name} change, RVD"] == pytest.approx(by_hand, abs=6e-4)


def test_mean_over_averages_a_seed_first_and_filters_by_one_value_or_several(attacked):
    rows = over_seeds(attacked)
    shown = effects.mean_over(rows, "target_hit_ratio", attack="average", defense=RVD)
    assert shown == "0.200 [0.150, 0.250]"
    # A seed with more cells counts no more than another.
    lopsided = pd.concat([rows, rows[rows["seed"] == 0]])
    both = effects.mean_over(lopsided, "target_hit_ratio", attack=["average", "none"])
    assert both == effects.mean_over(rows, "target_hit_ratio", attack=["average", "none"])
    assert both.startswith("0.250 ")


def test_the_cells_are_every_scenario_undefended_and_under_each_form(monkeypatch):
    monkeypatch.setattr(effects, "chosen_defenses", lambda *chosen: FORMS)
    sets = {"rating": ["unpopular", "random"], "ranking": ["random"]}
    cells = effects.effect_cells("ml-100k", ["MF", "CDAE"], sets, ["none", "clone"], [0, 1])
    assert len(cells) == len({cell.model_dump_json() for cell in cells}) == 3 * 2 * 2 * 2 * 3
    for cell in cells:
        scenario = cell.scenario
        size = {"rating": 0.03, "ranking": 0.1}[scenario.regime]
        assert scenario.attack_size == (size if scenario.attack != "none" else 0)
        assert scenario.evaluated_on == "test"
        assert cell.n_users is None
    found = {(cell.scenario.regime, cell.scenario.target_set) for cell in cells}
    assert found == {(regime, name) for regime, names in sets.items() for name in names}


def test_the_same_attacks_meet_the_ranking_regime_at_the_rating_regimes_size():
    cells = effects.same_attack_cells("ml-100k", ["MF"], ["none", "clone"], ["random"], [0])
    found = [(c.scenario.regime, c.scenario.attack_size, c.defense) for c in cells]
    assert found == [("ranking", 0.0, "none"), ("ranking", 0.03, "none")]


def test_the_plain_form_takes_the_engine_s_place_and_nothing_else_changes():
    sets = {"rating": ["random"], "ranking": ["random"]}
    arguments = "ml-100k", ["MF"], sets, ["clone"], [0]
    fast, plain = (effects.effect_cells(*arguments, plain=plain) for plain in (False, True))
    changed = [(a, b) for a, b in zip(fast, plain, strict=True) if a != b]
    assert [a.method for a, _ in changed] == ["rvd"] * 2
    assert all(b.choices == a.choices | {"plain": True} for a, b in changed)


def test_every_form_has_one_name_everywhere():
    forms = set(yaml.safe_load(SEARCH_FILE.read_text())["forms"])
    assert forms == {RVD, CLOSED_FORM}
    # A form without a colour would be missing from the figures without a word.
    assert set(effect_plots.FORM_COLOURS) == forms | {"none"}


def test_the_table_of_cells_does_not_depend_on_the_order_and_has_each_cell_once(attacked, results):
    rows = effects.with_lift(attacked)
    shuffled = pd.concat([rows, rows]).sample(frac=1, random_state=0)
    for name, given in (("in_order", rows), ("shuffled", shuffled)):
        tables.save(effects.cell_table(given), "tiny", name)
    found = [(results / "tiny" / f"{name}.csv").read_bytes() for name in ("in_order", "shuffled")]
    assert found[0] == found[1]
    assert len(effects.cell_table(shuffled)) == len(rows)


def test_none_stays_text_and_what_is_missing_stays_missing(attacked):
    table = effects.cell_table(effects.with_lift(attacked))
    found = pd.read_csv(io.StringIO(table.to_csv()), keep_default_na=False, na_values=[""])
    assert set(found["attack"]) == {"none", "average", "random"}
    assert found.loc[found["attack"] == "none", "lift_removed"].isna().all()
    assert json.loads(found.loc[found["defense"] == RVD, "choices"].iloc[0]) == {"k": 3}
