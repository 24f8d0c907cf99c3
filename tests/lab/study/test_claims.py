"""Verdicts on the paper's claims, against frames whose answer is plain."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvdlib.lab.runner.ledger import PART, Claim
from rvdlib.lab.study import claims
from rvdlib.lab.study.claims import Part, judge
from rvdlib.lab.study.effects import RVD

YES, NO, OPEN, NONE = "reproduced", "not reproduced", "undecided", "not measured"
VICTIMS = ("MF", "NSVD", "AutoRec", "CDAE")


def part(*values, **where):
    return Part({"regime": "rating", **where}, {"": pd.Series(values, dtype=float)})


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.30, 0.31, 0.29), YES),
        ((0.2, 0.2, 0.2), YES),  # at least a fifth: the bound itself is reached
        ((0.10, 0.11, 0.09), NO),
        ((0.30, 0.10, 0.40), OPEN),  # the mean is beyond, the interval is not
        ((0.10, 0.30, 0.05), OPEN),  # and the other way round
        ((0.30,), OPEN),  # one seed shows nothing
        ((), NONE),
        ((np.nan, np.nan), NONE),
        ((np.nan, 0.3, 0.31, 0.29), YES),
    ],
)
def test_a_part_is_decided_where_the_claim_or_its_contrary_is_shown(values, verdict):
    (row,) = judge("C1", [part(*values)]).to_dict("records")
    assert (row["verdict"], row["overall"]) == (verdict, verdict)


@pytest.mark.parametrize(
    ("claim", "values", "verdict"),
    [
        ("C13", (0.0, 0.0, 0.0), NO),  # above 0: no fall at all is no fall
        ("C13", (0.01, 0.01, 0.01), YES),
        ("C3", (-0.1, -0.11, -0.12), YES),  # below 0
        ("C3", (0.1, 0.11, 0.12), NO),
        ("C3", (0.0, 0.0), NO),
        ("C7", (0.05, 0.05), YES),
        ("C7", (0.1, 0.1), NO),  # fewer than one in ten
        ("C9", (0.0, 0.0), "holds as restated"),
        ("C16", (0.05, 0.05), "fails as restated"),
        ("C2", (-0.05, -0.05), YES),
        ("C2", (-0.06, -0.06), NO),
    ],
)
def test_the_threshold_is_that_of_the_claim_and_its_sense_too(claim, values, verdict):
    assert judge(claim, [part(*values)])["verdict"].tolist() == [verdict]


@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=8))
@settings(max_examples=60)
def test_of_one_part_the_verdict_is_what_its_interval_says(values):
    (row,) = judge("C1", [part(*values)]).to_dict("records")
    if row["high"] - row["low"] < 1e-6 or min(abs(row["low"] - 0.2), abs(row["high"] - 0.2)) < 1e-6:
        return
    said = YES if row["low"] > 0.2 else NO if row["high"] < 0.2 else OPEN
    assert row["verdict"] == said


def test_one_of_many_parts_needs_more_to_be_decided_than_one_alone():
    clear = part(0.30, 0.33, 0.36)
    assert judge("C1", [clear])["verdict"].tolist() == [YES]
    noise = [part(0.1, 0.3, n / 10) for n in range(9)]
    judged = judge("C1", [clear, *noise])
    assert judged["verdict"].tolist()[0] == OPEN
    assert judged.loc[0, "low"] > 0.2  # the interval is the part's own
    sharp = judge("C1", [part(0.300, 0.301, 0.302), *noise])
    assert sharp["verdict"].tolist()[0] == YES


def test_what_one_data_set_shows_does_not_wait_for_another():
    clear = part(0.30, 0.33, 0.36)
    noise = [Part({"dataset": "yelp"}, {"": [0.1, 0.3, n / 10]}) for n in range(9)]
    assert judge("C1", [clear, *noise])["verdict"].tolist()[0] == YES


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ([YES, YES], YES),
        ([NO, NO], NO),
        ([YES, NO], "mixed"),
        ([YES] * 9 + [NO], "mixed"),
        ([YES, OPEN], "partly"),  # half of them
        ([YES, OPEN, NONE], "partly"),
        ([YES, OPEN, OPEN], OPEN),
        ([NO, OPEN], NO),  # half of them, on either side
        ([NO, OPEN, OPEN], OPEN),
        ([OPEN, OPEN, NONE], OPEN),
        ([YES, NO, OPEN], "mixed"),
        ([YES, NONE], YES),
        (["holds as restated"] * 2, "holds as restated"),
        (["holds as restated", OPEN], "partly"),
        (["holds as restated", "fails as restated"], "fails as restated"),
        ([NONE, NONE], NONE),
        ([], NONE),
    ],
)
def test_one_test_of_many_makes_no_verdict_for_or_against(verdicts, whole):
    claim = Claim(claim="", metric="", shown="")
    assert claim.overall(verdicts) == claim.overall(verdicts[::-1]) == whole


def cells(regime="rating", lift=0.4, removed=0.5, seeds=(0, 1, 2), form=RVD, **defended):
    """Four victims under one attack, undefended and defended; victim → lift, victim → removed."""
    lift = lift if isinstance(lift, dict) else dict.fromkeys(VICTIMS, lift)
    removed = removed if isinstance(removed, dict) else dict.fromkeys(VICTIMS, removed)
    bare = {"hit_ratio": 0.5, "ndcg": 0.2, "rmse": 1.0}
    return pd.DataFrame(
        [
            {
                "dataset": "ml-100k",
                "regime": regime,
                "target_set": "random",
                "victim": victim,
                "attack": attack,
                "defense": defense,
                "seed": seed,
                "attack_size": 0.25 * (attack != "none"),
                "fake_neighbor_share": 0.1,
                "target_hit_ratio": lift[victim] if defense == "none" else 0.9,
                "lift": lift[victim] * (1 if defense == "none" else 1 - removed[victim]),
                "lift_undefended": lift[victim],
                **{name: value * (1 + seed / 10) for name, value in bare.items()},
                **{n: v * (1 + seed / 10) for n, v in defended.items() if defense != "none"},
            }
            for victim in VICTIMS
            for attack in ("none", "average")
            for defense in ("none", form)
            for seed in seeds
        ]
    )


def verdict_of(rows, claim):
    return claims.of_effects(rows).set_index("id").loc[[claim], "overall"].iloc[0]


def test_each_claim_stands_once_for_each_setting_or_victim_in_it():
    rows = pd.concat([cells("rating"), cells("ranking")])
    found = claims.of_effects(rows)
    assert found.columns.tolist() == PART
    assert found["id"].tolist() == ["C1"] * 8 + ["C2"] * 8 + ["C3"] * 2 + ["C4"] * 2 + ["C8"] * 8
    assert not found.duplicated(["id", "regime", "victim"]).any()
    assert set(found.loc[found["id"] == "C3", "defense"]) == {"none"}
    assert set(found.loc[found["id"] != "C3", "defense"]) == {RVD}


def test_a_reader_sees_intervals_as_text_and_no_empty_column():
    table = claims.shown(claims.of_effects(cells()))
    assert table.columns.tolist() == [
        "claim",
        "dataset",
        "regime",
        "target_set",
        "victim",
        "defense",
        "measured",
        "verdict",
        "overall",
    ]
    assert set(table.loc["C1", "measured"]) == {"0.500 [0.500, 0.500]"}


def test_other_defences_are_asked_in_a_table_of_their_own():
    rows = pd.concat([cells(), cells(form="closed form", removed=0.0).query("defense != 'none'")])
    assert set(claims.of_effects(rows)["defense"]) == {"none", RVD}
    others = claims.others(rows)
    assert set(others["defense"]) == {"closed form"}
    assert others["id"].tolist() == ["C1"] * 4 + ["C2"] * 4 + ["C4"]
    assert others["verdict"].tolist()[0] == NO
    assert claims.others(cells()).columns.tolist() == PART


@pytest.mark.parametrize(("removed", "verdict"), [(0.2, YES), (0.19, NO), (0.9, YES)])
def test_the_lift_removed_is_held_to_a_fifth(removed, verdict):
    assert verdict_of(cells(removed=removed), "C1") == verdict


def test_lifts_are_added_up_before_they_are_compared():
    # A lift that hardly is any, wholly removed, and one of 0.9, of which a tenth is.
    small, large = cells(lift=0.02, removed=1.0), cells(lift=0.9, removed=0.1)
    rows = pd.concat([small.replace({"attack": {"average": "bandwagon"}}), large])
    found = claims.of_effects(rows).set_index("id")
    assert found.loc["C1", "value"].tolist() == pytest.approx([0.11 / 0.92] * 4)
    assert set(found.loc["C1", "verdict"]) == {NO}


def test_each_victim_has_its_own_lift_removed():
    removed = {"MF": 0.1, "NSVD": 1.0, "AutoRec": 0.5, "CDAE": 0.0}
    found = claims.of_effects(cells(removed=removed)).query("id == 'C1'").set_index("victim")
    assert found["value"].to_dict() == pytest.approx(removed)
    assert found["verdict"].to_dict() == {"MF": NO, "NSVD": YES, "AutoRec": YES, "CDAE": NO}
    assert set(found["overall"]) == {"mixed"}


def test_a_lift_that_is_none_is_not_measured():
    assert verdict_of(cells(lift=0.009), "C1") == NONE


@pytest.mark.parametrize("attack", ["none", "low_clone"])  # the second is not the paper's
def test_no_clean_cell_and_no_low_clone_enters_a_verdict(attack):
    rows = cells()
    spoiled = rows[rows["attack"] == "average"].assign(attack=attack)
    spoiled[["lift", "target_hit_ratio", "hit_ratio", "ndcg", "rmse"]] = 99
    spoiled = pd.concat([rows[rows["attack"] != attack], spoiled])
    pd.testing.assert_frame_equal(claims.of_effects(rows), claims.of_effects(spoiled))


@pytest.mark.parametrize(
    ("regime", "defended", "verdict"),
    [
        ("rating", {}, YES),
        ("rating", {"hit_ratio": 0.48, "rmse": 1.04}, YES),
        ("rating", {"hit_ratio": 0.9, "ndcg": 0.9, "rmse": 0.1}, YES),
        ("rating", {"rmse": 1.06}, NO),  # less is better, and this is more
        ("rating", {"hit_ratio": 0.4}, NO),  # one metric that fails is not "partly"
        ("rating", {"hit_ratio": 0.4, "ndcg": 0.9, "rmse": 0.1}, NO),
        ("ranking", {"rmse": 9.0}, YES),  # scores of the ranking regime are no stars
        ("ranking", {"ndcg": 0.1}, NO),
    ],
)
def test_accuracy_is_maintained_if_no_metric_worsens_by_a_twentieth(regime, defended, verdict):
    assert verdict_of(cells(regime, **defended), "C2") == verdict


def test_the_metric_that_is_furthest_from_the_claim_is_shown_with_its_sign():
    found = claims.of_effects(cells(hit_ratio=0.49, rmse=1.2)).set_index("id").loc["C2"]
    assert found["value"].tolist() == pytest.approx([-0.2] * 4)
    assert set(found["metric"]) == {"relative change of RMSE, positive is better"}


def test_accuracy_without_one_of_its_metrics_is_not_measured():
    assert verdict_of(cells(rmse=np.nan), "C2") == NONE
    assert verdict_of(cells(rmse=np.nan, ndcg=np.nan, hit_ratio=np.nan), "C2") == NONE


def test_one_of_three_metrics_must_fail_more_clearly_than_one_alone():
    failing, kept = pd.Series([-0.07, -0.08, -0.09]), pd.Series([0.0] * 3)  # p = 0.018
    for others, verdict in (({}, NO), ({"NDCG@50": kept, "RMSE": kept}, OPEN)):
        judged = judge("C2", [Part({"regime": "rating"}, {"HR@50": failing, **others})])
        assert judged["verdict"].tolist() == [verdict]


def test_a_metric_that_is_undecided_leaves_accuracy_undecided():
    rows = cells()
    wild = (rows["defense"] == RVD) & (rows["seed"] == 0)
    rows.loc[wild, "ndcg"] *= 0.6
    assert verdict_of(rows, "C2") == OPEN


@pytest.mark.parametrize(("deep", "shallow", "verdict"), [(0.2, 0.5, YES), (0.5, 0.2, NO)])
def test_deep_victims_are_claimed_to_be_hit_less_and_helped_more(deep, shallow, verdict):
    values = {"MF": shallow, "NSVD": shallow, "AutoRec": deep, "CDAE": deep}
    assert verdict_of(cells(lift=values), "C3") == verdict
    opposite = {victim: 1 - value for victim, value in values.items()}
    assert verdict_of(cells(removed=opposite), "C4") == verdict


@pytest.mark.parametrize("victims", [["MF", "NSVD"], ["AutoRec"]])
def test_a_comparison_without_one_side_is_not_measured(victims):
    rows = cells()
    found = claims.of_effects(rows[rows["victim"].isin(victims)]).set_index("id")
    assert found.loc[["C3", "C4"], "verdict"].tolist() == [NONE] * 2
    assert set(found.loc[["C1"], "verdict"]) == {YES}


BASE = {"k": 10, "steps": 20, "learning_rate": 0.001}
FALLING = {0: 0.5, 5: 0.4, 20: 0.3}


def swept(k: dict, steps: dict, victim="MF", seeds=(0.0, 0.01)):
    """THR by k and by steps, moved up by the same amount in each value of a seed."""
    return pd.DataFrame(
        {
            "dataset": "ml-100k",
            "regime": "rating",
            "victim": victim,
            "seed": seed,
            "swept": dial,
            "value": float(value),
            "target_hit_ratio": ratio + up,
        }
        for dial, ratios in (("k", k), ("steps", steps))
        for value, ratio in ratios.items()
        for seed, up in enumerate(seeds)
    )


@pytest.mark.parametrize(
    ("k", "steps", "verdicts"),
    [
        ({1: 0.4, 10: 0.2, 30: 0.3}, FALLING, (YES, YES, YES)),
        ({30: 0.3, 10: 0.2, 1: 0.4}, {20: 0.3, 0: 0.5, 5: 0.4}, (YES, YES, YES)),
        ({1: 0.4, 10: 0.3, 30: 0.2}, FALLING, (NO, YES, YES)),  # best at the end
        ({1: 0.1, 10: 0.3, 30: 0.2}, FALLING, (NO, YES, YES)),  # best at the start
        ({1: 0.5, 10: 0.3, 30: 0.4}, FALLING, (YES, YES, NO)),  # as bad as undefended
        ({1: 0.4, 10: 0.2, 30: 0.3}, {0: 0.5, 5: 0.2, 20: 0.5}, (YES, NO, YES)),
        ({1: 0.4, 30: 0.3}, FALLING, (NONE, YES, YES)),  # nothing inside
    ],
)
def test_the_claims_of_a_sweep_hold_where_the_ratios_say_so(k, steps, verdicts):
    found = claims.of_sweeps(swept(k, steps))
    assert found["id"].tolist() == ["C12", "C13", "C14"]
    assert tuple(found["verdict"]) == verdicts


def test_the_claims_of_a_sweep_quote_the_measured_falls():
    found = claims.of_sweeps(swept({1: 0.4, 10: 0.2, 30: 0.3}, FALLING)).set_index("id")
    assert found["value"].to_dict() == pytest.approx({"C12": 0.1, "C13": 0.2, "C14": 0.1})


@pytest.mark.parametrize(("undefended", "verdict"), [(0.009, NONE), (0.011, YES)])
def test_where_hardly_a_target_is_served_undefended_a_sweep_is_not_measured(undefended, verdict):
    ratios = {1: 0.002, 10: 0.0, 30: 0.001}
    found = claims.of_sweeps(swept(ratios, {0: undefended, 20: 0.0}, seeds=(0.0, 0.0)))
    assert found["verdict"].tolist() == [verdict] * 3


def test_the_best_k_is_chosen_on_the_other_seeds():
    # Each seed has its luck at another k inside; on the other seeds that k is no better than the ends.
    ratios = {
        1: [0.3] * 3,
        3: [0.1, 0.3, 0.3],
        10: [0.3, 0.1, 0.3],
        20: [0.3, 0.3, 0.1],
        30: [0.3] * 3,
    }
    frames = [
        swept({k: values[seed] for k, values in ratios.items()}, FALLING, seeds=[0.0]).assign(
            seed=seed
        )
        for seed in range(3)
    ]
    found = claims.of_sweeps(pd.concat(frames)).set_index("id").loc["C12"]
    assert found["value"] == pytest.approx(0)
    assert found["verdict"] != YES


def test_the_claims_of_a_sweep_are_about_one_victim_at_a_time():
    paper = swept({1: 0.4, 10: 0.2, 30: 0.3}, FALLING)
    other = swept({1: 0.6, 10: 0.7, 30: 0.8}, FALLING, victim="CDAE")
    found = claims.of_sweeps(pd.concat([paper, other]))
    assert found.loc[found["victim"] == "MF", "verdict"].tolist() == [YES] * 3
    assert found.loc[found["victim"] == "CDAE", "verdict"].tolist() == [NO, YES, NO]
    assert found["overall"].tolist() == ["mixed"] * 2 + [YES] * 2 + ["mixed"] * 2


@pytest.mark.parametrize(
    ("k", "steps"), [({3: 0.4, 10: 0.2}, FALLING), ({1: 0.4, 10: 0.2}, {2: 0.5, 5: 0.4})]
)
def test_without_one_neighbour_or_without_zero_steps_there_is_no_verdict(k, steps):
    with pytest.raises(ValueError, match="sweep k from 1 and steps from 0"):
        claims.of_sweeps(swept(k, steps))


def test_where_fakes_lie_is_judged_by_attack_of_the_paper_alone():
    shares = {"none": np.nan, "random": 0.02, "pga": 0.9, "clone": 0.9}
    rows = pd.DataFrame(
        {
            "dataset": "ml-100k",
            "regime": "rating",
            "target_set": target_set,
            "victim": "MF",
            "attack": attack,
            "seed": seed,
            "fakes_near_fakes": share + (0.02 if target_set == "random" else 0),
        }
        for target_set in ("random", "unpopular")
        for attack, share in shares.items()
        for seed in (0, 1, 2)
    )
    found = claims.of_fakes(rows)
    assert found["attack"].tolist() == ["random", "pga"]
    assert found["value"].tolist() == pytest.approx([0.03, 0.91])
    assert found["verdict"].tolist() == [YES, NO]
    assert set(found["overall"]) == {"mixed"}


@pytest.mark.parametrize(("share", "verdict"), [(0.19, YES), (0.2, NO), (0.3, NO)])
def test_few_fakes_are_fewer_than_random_neighbours_have(share, verdict):
    rows = cells()  # a quarter as many fakes as real users: a fifth of all
    rows.loc[rows["defense"] == RVD, "fake_neighbor_share"] = share
    found = claims.of_effects(rows).set_index("id").loc["C8"]
    assert found["value"].tolist() == pytest.approx([share / 0.2] * 4)
    assert found["verdict"].tolist() == [verdict] * 4


def known(thr, defense=RVD):
    return pd.DataFrame(
        {
            "dataset": "ml-100k",
            "regime": "rating",
            "target_set": "unpopular",
            "victim": "MF",
            "defense": defense,
            "attacker": attacker,
            "seed": seed,
            "target_hit_ratio": value + seed / 10,
        }
        for attacker, value in thr.items()
        for seed in (0, 1, 2)
    )


def test_the_knowing_attacker_is_held_against_low_clones():
    rows = known(
        {"none": 0.9, "random": 0.4, "low_clone": 0.3, "vicinity": 0.5, "vicinity, hubs": 0.8}
    )
    rows = pd.concat([rows, known({"low_clone": 0.5, "vicinity": 0.4}, "closed form")])
    (found,) = claims.of_knowing(rows, "vicinity").to_dict("records")
    assert (found["defense"], found["value"], found["verdict"]) == (RVD, pytest.approx(0.2), YES)
    (closed,) = claims.of_knowing(rows, "vicinity", "closed form").to_dict("records")
    assert (closed["value"], closed["verdict"]) == (pytest.approx(-0.1), NO)


def test_who_can_add_nothing_is_not_asked_whether_he_does():
    (found,) = claims.of_knowing(known({"low_clone": 0.97, "vicinity": 0.99}), "vicinity").to_dict(
        "records"
    )
    assert (found["n_seeds"], found["verdict"]) == (0, NONE)


def test_where_neither_attacker_reaches_anybody_nothing_is_compared():
    rows = known({"low_clone": 0.0, "vicinity": 0.0}).assign(target_hit_ratio=0.0)
    (found,) = claims.of_knowing(rows, "vicinity").to_dict("records")
    assert (found["n_seeds"], found["verdict"]) == (0, NONE)
    rows.loc[rows["attacker"] == "vicinity", "target_hit_ratio"] = 0.001
    (found,) = claims.of_knowing(rows, "vicinity").to_dict("records")
    assert (found["n_seeds"], found["value"]) == (3, pytest.approx(0.001))
