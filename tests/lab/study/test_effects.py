"""What RVD did, derived from cells: held to figures worked out by hand."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import yaml

from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.figures import style
from rvdlib.lab.study import effects, tables
from rvdlib.lab.study.effects import CLOSED_FORM, RVD
from rvdlib.lab.study.headline import headline
from rvdlib.lab.tuning.defense_search import search_file
from tests.lab.study.conftest import row_of as row

FORMS = {
    RVD: {"method": "rvd", "choices": {"k": 3}},
    CLOSED_FORM: {"method": "closed_form", "choices": {"k": 5, "unobserved_weight": 0.1}},
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


def test_lifts_are_those_worked_out_by_hand(attacked):
    found = effects.with_lift(attacked).set_index(["attack", "defense"])
    assert found.loc[("average", "none"), "lift"] == pytest.approx(0.4)
    assert found.loc[("average", RVD), "lift"] == pytest.approx(0.1)
    assert found.loc[("average", RVD), "lift_undefended"] == pytest.approx(0.4)
    assert found.loc[("average", RVD), "target_hit_ratio_clean"] == pytest.approx(0.1)
    assert (found["known_targets"] == 0).all()


def test_a_target_that_users_like_without_any_attack_is_left_out_of_the_lift_and_counted(attacked):
    # Of five targets one is served to nine in ten users, attacked or not, until RVD buries it.
    rows = attacked.copy()
    rows["target_hits"] = [
        [*hits[1:], 0 if defense == RVD else 900]
        for hits, defense in zip(rows["target_hits"], rows["defense"], strict=True)
    ]
    found = effects.with_lift(rows).set_index(["attack", "defense"])
    alone = effects.with_lift(attacked).set_index(["attack", "defense"])
    assert (found["known_targets"] == 1).all()
    assert found["lift"].tolist() == pytest.approx(alone["lift"].tolist())
    assert found["target_hit_ratio"].tolist() == alone["target_hit_ratio"].tolist()


def test_a_target_is_known_to_more_than_half_of_the_users_without_attack(attacked):
    rows = attacked.assign(target_hits=[[500, 501, 499, 0, 1000]] * len(attacked))
    assert set(effects.with_lift(rows)["known_targets"]) == {2}


def test_a_target_that_everybody_rated_has_no_lift(attacked):
    rows = attacked.assign(target_users=[[1000] * 4 + [0]] * len(attacked))
    rows["target_hits"] = [[*hits[1:], 0] for hits in rows["target_hits"]]
    found, whole = effects.with_lift(rows), effects.with_lift(attacked)
    assert found["lift"].tolist() == pytest.approx(whole["lift"].tolist())


def test_lifts_are_pooled_so_that_a_small_one_counts_as_little_as_it_is(attacked):
    rows = effects.with_lift(attacked)
    under = rows[(rows["defense"] == RVD) & (rows["attack"] != "none")]
    average, random = under[under["attack"] == "average"], under[under["attack"] == "random"]
    assert effects.removed(average).tolist() == pytest.approx([1 - 0.1 / 0.4])
    assert effects.removed(random).isna().all()  # a lift of 0.009
    pooled = effects.removed(under).tolist()
    assert pooled == pytest.approx([1 - (0.1 - 0.01) / (0.4 + 0.009)])


@pytest.mark.parametrize(("clean", "shown"), [(0.04, True), (0.05, False), (0.3, False)])
def test_the_plain_reduction_needs_a_clean_ratio_below_a_tenth_of_the_attacked(clean, shown):
    rows = frame(
        row("none", "none", clean),
        row("none", RVD, 0.0),
        row("average", "none", 0.5),
        row("average", RVD, 0.2),
    )
    under = effects.with_lift(rows).query("defense == @RVD and attack != 'none'")
    found = effects.plain_reduction(under).tolist()
    assert found == pytest.approx([0.6 if shown else np.nan], nan_ok=True)


def test_nothing_hit_leaves_the_reduction_undefined():
    rows = frame(row("none", "none", 0.0), row("none", RVD, 0.0))
    assert effects.plain_reduction(effects.with_lift(rows)).isna().all()


def scaled(rows, factor, plus=0.0, **others):
    """The same with every target hit ratio changed."""
    thr = rows["target_hit_ratio"] * factor + plus
    hits = [[round(1000 * ratio)] * 5 for ratio in thr]
    return rows.assign(target_hit_ratio=thr, target_hits=hits, **others)


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
    fewer = scaled(attacked, 0.5, **other)
    together = pd.concat([attacked, fewer], ignore_index=True)
    found = effects.with_lift(together)
    assert len(found) == 12
    alone = pd.concat([effects.with_lift(attacked), effects.with_lift(fewer)], ignore_index=True)
    pd.testing.assert_frame_equal(found, alone)


def test_attack_sizes_are_not_mixed_up(attacked):
    stronger = scaled(attacked[attacked["attack"] != "none"], 1.5, attack_size=0.1)
    found = effects.with_lift(pd.concat([attacked, stronger], ignore_index=True))
    assert len(found) == len(attacked) + len(stronger)
    strong = found[(found["attack_size"] == 0.1) & (found["attack"] == "average")]
    assert strong["target_hit_ratio_undefended"].tolist() == pytest.approx([0.75, 0.75])


@pytest.mark.parametrize("lost", ["no clean row", "no undefended row"])
def test_a_row_without_its_partner_is_an_error_and_not_left_out(attacked, lost):
    column, value = {"no clean row": ("attack", "none"), "no undefended row": ("defense", "none")}[
        lost
    ]
    with pytest.raises(ValueError, match=r"'none'.*undefended: \d rows have no"):
        effects.with_lift(attacked[attacked[column] != value])


def test_two_rows_for_one_place_are_an_error(attacked):
    with pytest.raises(ValueError, match="many-to-one"):
        effects.with_lift(pd.concat([attacked, attacked.iloc[:1]]))


def over_seeds(attacked):
    return effects.with_lift(
        pd.concat([attacked, scaled(attacked, 1, 0.1, seed=1)], ignore_index=True)
    )


# Of two values 0.1 apart: t(1) is 12.7.
REACH = 12.7062 * 0.05


def test_the_summary_is_the_mean_over_seeds_of_every_metric(attacked):
    summary = effects.summary(over_seeds(attacked))
    assert len(summary) == 6 * 6
    found = summary.set_index(["attack", "defense", "metric"])
    thr = found.loc[("average", RVD, "target_hit_ratio")]
    expected = (0.2, max(0, 0.2 - REACH), 0.2 + REACH, 2)
    assert (thr["mean"], thr["low"], thr["high"], thr["n"]) == pytest.approx(expected)


def test_robustness_has_each_attack_and_defence_in_numbers(attacked):
    weaker = scaled(attacked, 0.5, victim="CDAE")
    rows = pd.concat([over_seeds(attacked), over_seeds(weaker)], ignore_index=True)
    found = effects.robustness(rows)
    columns = ["regime", "target_set", "attack", "defense", "metric", "mean", "low", "high", "n"]
    assert found.columns.tolist() == columns
    table = found.set_index(["attack", "defense", "metric"])
    thr = table.loc[("average", "none", "target_hit_ratio")]
    # Victims are averaged before seeds: (0.5 + 0.25) / 2, and 0.1 more.
    assert (thr["mean"], thr["high"]) == pytest.approx((0.425, min(1, 0.425 + REACH)))
    nested = table.loc[("average", "none", "target_hit_ratio_nested")]
    assert nested["mean"] == pytest.approx(0.425)
    assert nested["high"] > 0.425
    removed = table.loc[("average", RVD, "lift_removed"), "mean"]
    assert removed == pytest.approx(1 - (0.1 + 0.05) / (0.4 + 0.2))
    for neither in (("average", "none"), ("none", RVD)):
        assert table.loc[(*neither, "lift_removed"), "n"] == 0
    assert table.loc[("random", RVD, "lift_removed"), "n"] == 0
    assert set(found["metric"]) == set(effects.ROBUSTNESS)


def test_robustness_has_the_papers_reduction_and_the_number_of_known_targets():
    rows = frame(
        row("none", "none", 0.04),
        row("none", RVD, 0.02),
        row("average", "none", 0.5),
        row("average", RVD, 0.2),
    )
    rows["target_hits"] = [[*hits[1:], 900] for hits in rows["target_hits"]]  # one is known
    rows = pd.concat([rows.assign(victim=v, seed=s) for v in ("MF", "CDAE") for s in (0, 1)])
    found = effects.robustness(effects.with_lift(rows))
    under = found[(found["attack"] == "average") & (found["defense"] == RVD)].set_index("metric")
    assert under.loc["plain_reduction", "mean"] == pytest.approx(1 - 0.2 / 0.5)
    assert under.loc["lift_removed", "mean"] == pytest.approx(1 - 0.18 / 0.46)
    assert under.loc["known_targets", ["mean", "n"]].tolist() == [4, 4]  # one in each cell


def test_changes_are_paired_by_seed_after_the_attacks_were_averaged():
    rows = frame(
        *[
            row(attack, defense, 0.5 - gain, seed=seed, hit_ratio=base + gain, rmse=base - gain)
            for seed, base in ((0, 0.2), (1, 0.6))
            for attack, gains in (("average", (0, 0.1)), ("clone", (0, 0.3)))
            for defense, gain in zip(("none", RVD), gains, strict=True)
        ]
    )
    clean = rows[rows["attack"] == "clone"].assign(attack="none", attack_size=0.0)
    rows = pd.concat([rows, clean])
    found = effects.changes(rows, ["victim"], ["hit_ratio", "rmse"], improvement=True)
    assert set(found["defense"]) == {RVD}
    for metric in ("hit_ratio", "rmse"):  # less RMSE is better, too
        gain = found.set_index("metric").loc[metric]
        # Seeds differ by 0.4, and yet both gain 0.2 exactly.
        assert gain[["mean", "low", "high", "n"]].tolist() == pytest.approx([0.2, 0.2, 0.2, 2])
    fall = effects.changes(rows, ["victim"], ["target_hit_ratio"]).iloc[0]
    assert fall[["mean", "low", "high"]].tolist() == pytest.approx([-0.2] * 3)


def test_levels_are_of_the_victim_not_attacked_and_of_every_defence_under_attack(attacked):
    found = effects.levels(attacked).set_index("system")["mean"]
    assert found.to_dict() == pytest.approx(
        {"not attacked": 0.1, "none": (0.5 + 0.109) / 2, RVD: (0.15 + 0.04) / 2}
    )


def test_the_headline_shows_levels_attacked_and_not_beside_accuracy(attacked):
    rows = over_seeds(attacked.assign(hit_ratio=attacked["target_hit_ratio"]))
    rows.loc[rows["attack"] == "none", "hit_ratio"] = 9.0  # accuracy is that under attack
    found = headline(rows)
    table = found.pivot(index="defense", columns="metric", values="mean")
    assert table.loc["none", "target_hit_ratio_clean"] == pytest.approx(0.15)
    assert table.loc[RVD, "target_hit_ratio_clean"] == pytest.approx(0.1)
    assert table.loc[RVD, "target_hit_ratio"] == pytest.approx(np.mean([0.15, 0.25, 0.04, 0.14]))
    assert table.loc[RVD, "hit_ratio"] == pytest.approx(0.095)
    assert table.loc["none", "catalogue_share"] == pytest.approx(0.3)
    assert set(found["n"]) == {2}


@pytest.mark.parametrize("without", [[], ["popularity"], [CLOSED_FORM, "least support"]])
def test_whatever_defences_there_are_stand_in_the_headline_in_one_order(attacked, without):
    bare = attacked[attacked["defense"] == "none"]
    present = [name for name in effects.DEFENSES if name not in without]
    names = ["somebody's", *present[::-1]]
    rows = pd.concat([bare.assign(defense=name) for name in names])
    found = headline(effects.with_lift(rows))
    assert list(dict.fromkeys(found["defense"])) == [*present, "somebody's"]


def test_the_victims_are_shown_neither_attacked_nor_defended_with_what_beats_them(attacked):
    rows = over_seeds(attacked.assign(beaten_by=""))
    # A victim is the same whatever is promoted: its second set of targets counts for nothing.
    rows = pd.concat([rows, rows.assign(target_set="random"), rows.assign(victim="CDAE")])
    clean = (rows["attack"] == "none") & (rows["defense"] == "none")
    rows.loc[clean & (rows["victim"] == "CDAE") & (rows["seed"] == 1), "beaten_by"] = "popularity"
    rows.loc[~clean, ["hit_ratio", "beaten_by"]] = 9.0, "biases"
    table = effects.victims(rows)
    assert table["HR@50"].tolist() == ["0.500 [0.500, 0.500]"] * 2
    assert table["beaten on validation by"].to_dict() == {
        ("rating", "MF"): "–",
        ("rating", "CDAE"): "popularity on 1 of 2 seeds",
    }


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


def test_every_form_has_one_name_everywhere():
    forms = set(yaml.safe_load(search_file("defense").read_text())["forms"])
    assert forms == {RVD, CLOSED_FORM}
    assert forms | {"none"} <= set(effects.DEFENSES) <= set(style.LOOKS)


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
    assert found["filler_size"].isna().all()
    assert json.loads(found["target_users"].iloc[0]) == [1000] * 5
    assert json.loads(found.loc[found["defense"] == RVD, "choices"].iloc[0]) == {"k": 3}


def test_what_was_chosen_is_shown_once_for_each_victim():
    cells = effects.effect_cells(
        "ml-100k", ["MF", "CDAE"], {"rating": ["unpopular"]}, ["none", "random"], [0, 1], 50
    )
    table = effects.choices(cells)
    assert [*table.index] == [("rating", v, d) for v in ("MF", "CDAE") for d in (RVD, CLOSED_FORM)]
    chosen = chosen_defenses("rating", "MF")[RVD]
    assert table.loc[("rating", "MF", RVD), "k"] == chosen["choices"]["k"]
    assert table.loc[("rating", "MF", CLOSED_FORM), "steps"] == "–"
