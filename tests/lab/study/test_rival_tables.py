"""Rivals and their combinations: which cells there are, and what is read of rows whose answer is known."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, Scenario
from rvdlib.lab.experiment.hyperparameters import (
    REWEIGHTED,
    RVD_HARDENED,
    attacked_defenses,
    combinations,
    rival_defenses,
    searched_attackers,
)
from rvdlib.lab.experiment.oracles import RETRAINED
from rvdlib.lab.figures import rivals_plots
from rvdlib.lab.runner.plan import load_profile
from rvdlib.lab.study import (
    adaptive,
    planned,
    rivals,
    rivals_answer,
    rivals_choice,
    rivals_claims,
    who_pays,
)
from rvdlib.lab.study.claims import Part
from rvdlib.lab.study.effects import CLOSED_FORM, RVD
from rvdlib.lab.study.parameter_types import Compared
from rvdlib.models import VICTIMS
from tests.lab.study.conftest import row_of

matplotlib.use("agg")
HARDENED, VAT, CHAIN = rivals_choice.HARDENED, "VAT", f"VAT + {RVD}"
CASE = "ml-100k", "rating"
KNOWING = f"{adaptive.AGAINST}{CLOSED_FORM}"


@pytest.mark.parametrize("regime", ["rating", "ranking"])
@pytest.mark.parametrize("victim", VICTIMS)
def test_every_victim_meets_every_rival_and_every_combination(regime, victim):
    forms = rival_defenses(regime, victim)
    assert forms.keys() >= attacked_defenses(regime, victim).keys()
    scenario = Scenario(dataset="ml-100k", victim=victim, regime=regime)
    made = {name: Cell(scenario=scenario, **form) for name, form in forms.items()}
    for name, parts in combinations(regime).items():
        first, then = (made[part] for part in parts)
        assert made[name].chain == (*first.chain, *then.chain)
        assert first.training == first.chain  # before or in training
        assert not then.training
    assert made["RVD, random neighbours"].choices["neighbors"] == "random"
    fewer = rival_defenses(regime, victim, trained=[VAT])
    trained = {name for name, cell in made.items() if cell.training}
    assert {name for name in fewer if name in trained} == {
        VAT,
        *(name for name, (first, _) in combinations(regime).items() if first == VAT),
    }
    assert set(forms) - trained == set(fewer) - trained
    alone = rival_defenses(regime, victim, trained=[VAT, "APT"], chained=[VAT])
    assert alone.keys() == fewer.keys() | {"APT"}


PART = {
    "regimes": ["rating"],
    "attacks": ["none", "low_clone"],
    "against": [CLOSED_FORM],
    "trained": [VAT],
    "chained": [VAT],
    "seeds": [0],
    "n_users": 40,
}
PROMOTED = {"rating": "unpopular", "ranking": "random"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"chained": [VAT, "APT"]}, "trained should hold 'APT' of chained"),
        ({"attacks": ["none"], "against": []}, "should have an attacker"),
    ],
)
def test_what_cannot_be_compared_is_refused(changed, message):
    assert Compared(**PART)
    with pytest.raises(ValidationError, match=message):
        Compared(**PART | changed)


OTHERS = {
    "dataset": "ml-100k",
    "victims": {"rating": ["NSVD"]},
    **{name: PART[name] for name in ("attacks", "trained", "seeds", "n_users")},
}


def test_one_victim_is_attacked_in_earnest_and_the_others_by_whom_all_meet():
    part = PART | {"against": [UNDEFENDED, RVD, CLOSED_FORM]}
    datasets = {"ml-100k": part, "filmtrust": part | {"seeds": [0, 1]}}
    faced: dict[tuple, list[str]] = {}
    for cell, attacker in rivals.cells(datasets, [OTHERS], PROMOTED, "MF"):
        scenario = cell.scenario
        of = scenario.dataset, scenario.seed, scenario.victim, attacker.split(" (")[0]
        faced.setdefault((*of, attacker), []).append(cell.defense)
    assert all(len(names) == len({*names}) for names in faced.values())
    alone = {
        victim: {UNDEFENDED, *rival_defenses("rating", victim, trained=[VAT], chained=[])}
        for victim in ("MF", "NSVD")
    }
    chains = {CHAIN, f"{VAT} + {CLOSED_FORM}", f"{VAT} + {HARDENED}"}
    voting = ["count", "user-kNN", REWEIGHTED]
    of_method = {"count": voting, "user-kNN": voting, "quorum": ["quorum", adaptive.BOTH]}
    met: dict[str, set] = {"MF": set(), "NSVD": set()}
    for (*_, victim, attacker, _), found in faced.items():
        against = attacker.removeprefix(adaptive.AGAINST)
        met[victim].add(against)
        names = {*found}
        if against in ("none", "low_clone"):  # searched against nobody, or knows nothing
            assert names == alone[victim] | (chains if victim == "MF" else {RVD_HARDENED})
        elif against == RVD:
            assert names == alone[victim] | chains
        elif against == CLOSED_FORM:
            assert names == alone[victim] | {f"{VAT} + {CLOSED_FORM}"}
        else:
            assert {UNDEFENDED, against} <= names < alone[victim]
            assert names == {UNDEFENDED, *of_method.get(against, names)}
    assert met["NSVD"] == {"none", "low_clone"}
    assert met["MF"] - {"low_clone"} == searched_attackers("rating").keys() & alone["MF"]
    with pytest.raises(StudyError, match="others, ml-100k: NSVD is in focus"):
        rivals.cells({"filmtrust": part}, [OTHERS], PROMOTED, "NSVD")
    grown = rivals_claims.growing_cells(datasets, "MF", PROMOTED, ["clone"], [0.01, 0.1])
    assert len(grown) == len(rivals_claims.GROWN) * 3 * (1 + 2)
    assert {cell.scenario.regime for cell in grown} == {"rating"}


def test_oracles_are_asked_where_somebody_attacks_and_are_the_undefended_victim_elsewhere(
    monkeypatch,
):
    def row(item):
        told = getattr(item, "oracle", None)
        return {"defense": told or item.defense, "seed": item.scenario.seed}

    for name in ("run_cells", "run_oracles", "run_seeded"):
        monkeypatch.setattr(rivals, name, lambda items: pd.DataFrame(map(row, items)))
    found = rivals.run(rivals.cells({"ml-100k": PART}, [], PROMOTED, "MF"))
    for name in rivals.TOLD:
        attackers = found.loc[found["defense"] == name, "attacker"]
        assert sorted(attackers) == sorted(["none", "low_clone", KNOWING, KNOWING + " (earlier 1)"])


# (THR not attacked, under random fakes, under the searched attacker), NDCG@50, RMSE
LEVELS = {
    UNDEFENDED: ((0.1, 1.0, 0.8), 0.20, 0.90),
    RVD: ((0.1, 0.6, 0.7), 0.20, 0.91),
    CLOSED_FORM: ((0.1, 0.4, 0.8), 0.19, 0.92),
    HARDENED: ((0.1, 0.3, 0.2), 0.15, 1.10),
    VAT: ((0.1, 0.5, 0.5), 0.21, 0.93),
    CHAIN: ((0.1, 0.2, 0.3), 0.20, 0.94),
    "popularity": ((0.0, 0.0, 0.0), 0.05, np.nan),
    "unobserved weight": ((0.0, 0.01, 0.02), 0.25, np.nan),
    RETRAINED: ((0.1, 0.1, 0.1), 0.30, 0.80),
}
ATTACKERS = ("none", "random", KNOWING)


def rows(levels=LEVELS, dataset="ml-100k"):
    """Three seeds differ by a level of their own in THR alone, attacked or not."""
    return pd.DataFrame(
        row_of(
            attacker,
            defense,
            thr + shift,
            attacker=attacker,
            dataset=dataset,
            seed=seed,
            hit_ratio=2 * ndcg,
            ndcg=ndcg,
            rmse=rmse,
        )
        for defense, (thrs, ndcg, rmse) in levels.items()
        for attacker, thr in zip(ATTACKERS, thrs, strict=True)
        for seed, shift in enumerate((0.0, 0.01, 0.02))
    )


def measured(found):
    return rivals.measured(rivals.by_seed(found))


def answer(here, gains=None, others=None):
    table = measured(here)
    gains = rivals_claims.gains([]) if gains is None else gains
    others = table.iloc[:0] if others is None else others
    chosen = rivals_choice.by_others(here)
    return rivals_answer.answer(table, rivals.by_seed(here), chosen, gains, others)


def advice(here):
    own = rivals_choice.by_others(here)
    return rivals_choice.advice_shown(
        rivals_choice.advice(measured(here), rivals.by_seed(here), own)
    )


@pytest.fixture
def table():
    return measured(rows())


def test_each_kind_of_attacker_has_its_worst_and_accuracy_is_where_nobody_attacks(table):
    by = table.set_index(["defense", "metric"])
    mean = by["mean"]
    assert mean[CLOSED_FORM, "oblivious"] == pytest.approx(0.41)
    assert mean[CLOSED_FORM, "knowing"] == pytest.approx(0.81)
    assert by.loc[(UNDEFENDED, "oblivious"), "high"] == 1  # no ratio exceeds it
    assert mean[CLOSED_FORM, "target_hit_ratio"] == pytest.approx(0.81)
    assert by.loc[CLOSED_FORM, "worst"].unique().tolist() == [KNOWING]
    assert by.loc[UNDEFENDED, "worst"].unique().tolist() == ["random"]
    assert mean[HARDENED, "lift_removed"] == pytest.approx(1 - 0.2 / 0.9)
    assert mean[VAT, "rmse_change"] == pytest.approx(0.93 / 0.9 - 1)
    assert mean[VAT, "ndcg_change"] == pytest.approx(0.05)
    kinds = by["kind"].groupby(level="defense").first()
    assert kinds[[VAT, CHAIN, RETRAINED]].tolist() == ["alone", "combination", "told who is fake"]
    text = rivals.shown(table)
    assert list(text) == list(rivals.SHOWN.values())
    assert CHAIN not in text.index.get_level_values("defense")
    assert len(text) == len(LEVELS) - 1


def test_a_change_is_of_seeds_on_which_the_undefended_victim_ranks_anything():
    here = rows()
    here.loc[(here["defense"] == UNDEFENDED) & (here["seed"] == 1), "ndcg"] = 0.0
    by = measured(here).set_index(["defense", "metric"])
    assert by.loc[(VAT, "ndcg_change"), "mean"] == pytest.approx(0.05)
    assert by.loc[(VAT, "ndcg_change"), "n"] == 2


def test_an_oracle_is_charged_for_what_it_serves_while_somebody_attacks():
    told = {rivals.PROPAGATED: ((0.1, 0.7, 0.2), 0.20, 0.90)}
    here = rows(LEVELS | told)
    under = here["attacker"] == "random"
    here.loc[under & (here["defense"] == UNDEFENDED), "ndcg"] = 0.19
    here.loc[under & (here["defense"] == rivals.PROPAGATED), ["ndcg", "rmse"]] = 0.152, 0.99
    mean = measured(here).set_index(["defense", "metric"])["mean"]
    assert mean[rivals.PROPAGATED, "ndcg"] == pytest.approx(0.152)
    assert mean[rivals.PROPAGATED, "ndcg_change"] == pytest.approx(0.152 / 0.19 - 1)
    assert mean[rivals.PROPAGATED, "rmse_change"] == pytest.approx(0.1)
    assert mean[UNDEFENDED, "ndcg"] == pytest.approx(0.2)


def taken(means):
    return rivals_choice.recommended(means).taken


def test_what_is_recommended_removes_enough_and_costs_nothing(table):
    means = rivals_choice.levels(table)[CASE]
    assert taken(means) == "unobserved weight"
    assert CHAIN not in means.index  # it meets fewer attackers
    without = means.drop(index="unobserved weight")
    assert taken(without) == VAT  # oracles and what ranks badly do not count
    assert rivals_choice.recommended(means.loc[[UNDEFENDED, HARDENED, "popularity"]]) is None
    better = rivals_choice.better_than(table, rivals.by_seed(rows()))
    assert better.loc[[(*CASE, RVD), (*CASE, HARDENED)]].to_numpy().tolist() == [
        ["0.710 (0.200)", "unobserved weight 0.030 (0.250), VAT 0.510 (0.210)", "none"],
        ["0.310 (0.150)", "unobserved weight 0.030 (0.250)", "none"],
    ]


def test_what_the_seeds_do_not_tell_apart_is_said():
    """Least support has less than VAT on average, and more on one seed of three."""
    here = rows({name: LEVELS[name] for name in (UNDEFENDED, *rivals_choice.FORMS, VAT)})
    here = pd.concat([here, rows({"least support": ((0.1, 0.4, 0.4), 0.21, 0.9)})])
    unlike = (here["defense"] == "least support") & (here["seed"] == 2)
    here.loc[unlike & (here["attacker"] != "none"), "target_hit_ratio"] += 0.2
    seeds, table = rivals.by_seed(here), measured(here)
    choice = rivals_choice.recommended(rivals_choice.levels(table)[CASE])
    assert choice.taken == "least support"
    assert choice.metric == "target_hit_ratio"  # nothing removes enough
    assert rivals_choice.alike(seeds, CASE, choice) == [VAT, RVD]
    found = advice(here).loc[CASE]
    assert found.index[:2].tolist() == [
        ("take this", "least support"),
        ("not told apart from it", VAT),
    ]
    said = answer(here)
    near = "*VAT* 0.510 (0.210) and 1 more, less accurate"
    assert f"its THR@50 is not told from that of {near};" in said
    better = rivals_choice.better_than(table, seeds).loc[(*CASE, RVD)]
    assert better.tolist() == ["0.710 (0.200)", "VAT 0.510 (0.210)", "least support 0.477 (0.210)"]
    one = here[here["seed"] == 0]
    choice = rivals_choice.recommended(rivals_choice.levels(measured(one))[CASE])
    untold = rivals_choice.alike(rivals.by_seed(one), CASE, choice)
    assert untold == [VAT, RVD, UNDEFENDED]  # one seed tells nothing apart


def test_of_those_that_remove_enough_the_most_accurate_is_taken():
    enough = {
        "least support": ((0.0, 0.0, 0.0), 0.21, 0.9),
        "unobserved weight": ((0.0, 0.05, 0.05), 0.25, np.nan),
        VAT: ((0.1, 0.5, 0.5), 0.3, 0.9),
    }
    means = rivals_choice.levels(measured(rows(LEVELS | enough)))[CASE]
    assert taken(means) == "unobserved weight"
    assert taken(means.drop(index="unobserved weight")) == "least support"


def test_each_seed_is_served_by_what_is_best_on_the_others():
    """On seed 2 least support ranks best; by the others unobserved weight is taken there."""
    levels = LEVELS | {"least support": ((0.0, 0.0, 0.0), 0.24, 0.9)}
    here = rows(levels)
    lucky = (here["seed"] == 2) & (here["defense"] == "least support")
    here.loc[lucky, "ndcg"] = 0.27
    own = rivals_choice.by_others(here)
    lists = own.set_index("seed")
    assert lists.loc[2, "defense"] == "unobserved weight"
    assert lists.loc[2, "ndcg"] == pytest.approx(0.25)
    assert lists.loc[[0, 1], "defense"].tolist() == ["least support"] * 2
    assert lists.loc[[0, 1], "ndcg"].tolist() == pytest.approx([0.24] * 2)
    shown = advice(here).loc[CASE]
    assert (
        "chosen by the other seeds",
        "least support (2 of 3), unobserved weight (1 of 3)",
    ) in shown.index
    one = rivals_choice.by_others(here[here["seed"] == 0])
    assert one.empty
    assert len(advice(here[here["seed"] == 0])) == len(shown) - 1


def test_the_worst_attackers_of_a_choice_by_the_other_seeds_are_those_of_the_others():
    """On seed 2 alone the searched attacker beats least support, and so on average over all three;
    on the others he does not, and the low clones do: there it removes too little to be taken."""
    here = rows(LEVELS | {"least support": ((0.1, 0.3, 0.0), 0.27, 0.9)})
    here.loc[
        (here["seed"] == 2) & (here["defense"] == "least support") & (here["attacker"] == KNOWING),
        "target_hit_ratio",
    ] = 0.99
    chosen = rivals_choice.by_others(here).set_index("seed")["defense"]
    assert chosen[2] == "unobserved weight"


def test_what_a_greater_loss_would_buy_stands_beside_what_is_taken():
    """Count has less than VAT, at an accuracy that is 4 % below the undefended victim's."""
    here = rows({name: LEVELS[name] for name in (UNDEFENDED, *rivals_choice.FORMS, VAT)})
    here = pd.concat([here, rows({"count": ((0.1, 0.2, 0.2), 0.192, 0.9)})])
    table = measured(here)
    shown = advice(here).loc[CASE]
    assert shown.loc[("at a loss of 5%", "count"), "HR@50"] == "0.384"
    assert "; at a loss of 5% *count* 0.210 (0.192);" in answer(here)
    beaten = rivals_choice.better_than(table, rivals.by_seed(here)).loc[(*CASE, CLOSED_FORM)]
    assert "count 0.210 (0.192)" in beaten[rivals_choice.BEATEN]  # closed form: 0.190


def test_who_needs_stars_is_told_what_keeps_them():
    """VAT's RMSE is 3 % higher; closed form, bounded has the stars of the victim and less poison than RVD."""
    here = rows({name: LEVELS[name] for name in (UNDEFENDED, *rivals_choice.FORMS, VAT)})
    means = rivals_choice.levels(measured(here))[CASE]
    assert taken(means) == VAT
    assert rivals_choice.recommended(means, stars=True).taken == RVD
    held = pd.concat([here, rows({"closed form, bounded": ((0.1, 0.6, 0.6), 0.2, 0.9)})])
    assert ("where stars must be right", "closed form, bounded") in advice(held).loc[CASE].index
    ranking = held.assign(regime="ranking")
    assert not advice(ranking).index.get_level_values("").str.contains("stars").any()


def test_data_sets_stand_beside_each_other_and_are_judged_apart():
    held = {name: (thr, ndcg, rmse) for name, (thr, ndcg, rmse) in LEVELS.items()}
    held[RVD] = ((0.1, 0.2, 0.2), 0.3, 0.8)
    both = pd.concat([rows(), rows(held, "filmtrust")], ignore_index=True)
    table = measured(both)
    assert next(iter(table)) == "dataset"
    alone = table[table["dataset"] == "filmtrust"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, measured(rows(held, "filmtrust")))
    found = rivals_claims.combined(both)
    assert [part.where["dataset"] for _, part in found] == ["ml-100k", "filmtrust"]
    # On filmtrust RVD leaves a lift of 0.1 of 0.9, as the chain does, and THR 0.2, the chain 0.3.
    gained = [[part.values[name].mean() for name in rivals_claims.GAINS] for _, part in found]
    assert gained == [pytest.approx([0.3 / 0.9, 0.2]), pytest.approx([0, -0.1])]
    gains = rivals_claims.gains(found)
    said = answer(both, gains)
    assert [line.partition(" regime: take")[0] for line in said.splitlines()[2:4]] == [
        "- On ml-100k, rating",
        "- On filmtrust, rating",
    ]


def test_a_chain_is_held_against_the_better_of_its_parts():
    ((parts, part),) = rivals_claims.combined(rows())
    assert parts == (VAT, RVD)
    assert part.where == {
        "dataset": "ml-100k",
        "regime": "rating",
        "target_set": "unpopular",
        "victim": "MF",
        "defense": CHAIN,
    }
    # Lifts of the paper's attack: 0.9 undefended, 0.4 of VAT, 0.5 of RVD, 0.1 of the chain.
    assert part.values["lift_removed"].tolist() == pytest.approx([(0.4 - 0.1) / 0.9] * 3)
    assert part.values["target_hit_ratio"].tolist() == pytest.approx([0.5 - 0.3] * 3)
    here = rows()  # RVD alone meets one more: whom the others do not meet does not count
    more = here[(here["attacker"] == KNOWING) & (here["defense"].isin([UNDEFENDED, RVD]))]
    more = more.assign(attacker="another", attack="another", target_hit_ratio=0.5)
    ((_, same),) = rivals_claims.combined(pd.concat([here, more]))
    for name, values in part.values.items():
        pd.testing.assert_series_equal(same.values[name], values)
    gains = rivals_claims.gains([(parts, part)])
    assert gains[["first", "then", "n", "shown"]].to_numpy().tolist() == [[VAT, RVD, 3, "more"]] * 2
    lift, ratio = rivals_claims.GAINS.values()
    shown = rivals_claims.gains_shown(gains)
    assert "0.333" in shown.loc[(*CASE, lift, VAT), RVD]
    assert "0.200" in shown.loc[(*CASE, ratio, VAT), RVD]
    said = answer(rows(), gains)
    assert (
        "take *unobserved weight*, the most accurate of what removes 90% of the lift: THR@50 0.030 (NDCG@50 "
        "0.250) under its worst attacker; *no defence* 1.010 (0.200), *RVD* "
    ) in said
    assert (
        "; the seeds tell its NDCG@50 from all others'; where the other seeds choose, 0.030 (0.250), 3 of 3 "
        "alike; for who needs stars *RVD* 0.710 (0.200)."
    ) in said
    assert said.count("\n- ") == 2
    assert said.endswith(f"after {VAT} 0.200 [0.200, 0.200] (ml-100k, rating, shown).")


def test_a_chain_that_meets_no_attack_of_the_paper_is_held_against_the_others_alone():
    here = rows()
    here.loc[here["attack"] == "random", ["attack", "attacker"]] = "low_clone"
    ((_, part),) = rivals_claims.combined(here)
    assert part.values["lift_removed"].empty
    assert part.values["target_hit_ratio"].tolist() == pytest.approx([0.2] * 3)
    table = rivals_claims.gains([((VAT, RVD), part)]).set_index("metric")
    assert table.loc["lift_removed", "n"] == 0
    assert table["shown"].tolist() == ["", "more"]


def test_gains_of_many_chains_are_tested_together():
    """Of one chain this is shown (t of 2 degrees: 6.2); of nine it is chance."""
    values = pd.Series([0.09, 0.1, 0.13])
    one = Part({**dict.fromkeys(rivals.SETTING, "x"), "defense": CHAIN}, {"lift_removed": values})
    assert rivals_claims.gains([((VAT, RVD), one)])["shown"].tolist() == ["more"]
    nine = rivals_claims.gains([((VAT, RVD), one)] * 9)
    assert nine["shown"].tolist() == [""] * 9
    less = Part(one.where, {"lift_removed": -values})
    assert rivals_claims.gains([((VAT, RVD), less)])["shown"].tolist() == ["less"]


def test_chains_of_a_kind_are_one_test_of_their_mean_on_each_seed():
    """Two detectors first, of which one gains what the other loses but for 0.1, 0.2, 0.3; a training."""
    where = {**dict.fromkeys(rivals.SETTING, "x"), "defense": CHAIN}
    seeds, none = pd.Index([0, 1, 2], name="seed"), pd.Series(dtype=float)
    values = {
        ("PCA detection", RVD): [0.5, 0.5, 0.5],
        ("profile detection", HARDENED): [-0.3, -0.1, 0.1],
        (VAT, RVD): [0.0, 0.1, -0.1],
    }
    found = [
        (parts, Part(where, {"lift_removed": none, "target_hit_ratio": pd.Series(own, seeds)}))
        for parts, own in values.items()
    ]
    table = rivals_claims.gains(rivals_claims.by_kind(found))
    ratio = table[table["metric"] == "target_hit_ratio"].set_index("first")
    assert ratio.loc["a detector", ["mean", "n"]].tolist() == pytest.approx([0.2, 3])
    assert ratio.loc["a detector", "low"] == pytest.approx(0.2 - 4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert ratio.loc["another training", "mean"] == pytest.approx(0)
    assert (table["then"] == rivals_claims.ANY_FORM).all()
    assert table.loc[table["metric"] == "lift_removed", "n"].tolist() == [0, 0]


def test_where_every_defence_costs_too_much_the_answer_says_so_and_lists_them_all():
    costly = {name: (thr, ndcg / 9, rmse) for name, (thr, ndcg, rmse) in LEVELS.items()}
    costly[UNDEFENDED] = LEVELS[UNDEFENDED]
    here = rows(costly)
    said = answer(here)
    assert "no defence costs little enough; *no defence* " in said
    assert all(f", *{form}* " in said for form in (RVD, CLOSED_FORM))


def test_of_other_victims_it_is_said_what_who_knows_nothing_reaches():
    other = {
        UNDEFENDED: ((0.1, 0.9, 1.0), 0.2, 0.9),
        "unobserved weight": ((0, 0.02, 0.5), 0.25, 1),
    }
    both = measured(pd.concat([rows(), rows(other).assign(victim="NSVD")]))
    said = answer(rows(), others=both[both["victim"] == "NSVD"])
    assert (
        "do not know the defence to take, THR@50 of 0.910 becomes 0.030 (*unobserved weight*; ml-100k, rating)."
        in said
    )
    without = both[(both["victim"] == "NSVD") & (both["defense"] == UNDEFENDED)]
    assert "other victims" not in answer(rows(), others=without)
    shown = rivals.by_victim(both)
    assert shown.loc[(*CASE, "unpopular", "unobserved weight")].to_dict() == {
        "MF": "0.020 (0.250)",
        "NSVD": "0.030 (0.250, +11%)",
    }
    assert shown.loc[(*CASE, "unpopular", VAT), "NSVD"] == "–"
    assert CHAIN not in shown.index.get_level_values("defense")


def test_who_did_not_meet_the_strongest_attacker_is_not_credited_with_his_lift():
    here = rows()
    less = here[(here["defense"] != VAT) | (here["attacker"] != "random")]
    mean = measured(less).set_index(["defense", "metric"])["mean"]
    assert mean[VAT, "lift_removed"] == pytest.approx(1 - 0.4 / 0.7)
    assert mean[CLOSED_FORM, "lift_removed"] == pytest.approx(1 - 0.7 / 0.9)


def growth(removed):
    """THR of the undefended victim 0.8 at both sizes, of RVD by what it removes."""
    found = []
    for name, share in {UNDEFENDED: (0, 0), RVD: removed}.items():
        for size, gone in zip((0.01, 0.1), share, strict=True):
            each = rows({name: ((0.0, 0.8 * (1 - gone), 0.0), 0.2, 0.9)})
            each = each[each["attacker"] != KNOWING]
            found.append(each.assign(attack_size=size * (each["attack"] != "none")))
    return pd.concat(found).drop_duplicates(["defense", "attack", "attack_size", "seed"])


def test_c5_is_judged_at_each_size_and_c11_of_what_ends_with_rvd():
    found = rivals_claims.combined(rows())
    judged = rivals_claims.judged(growth((0.5, 0.1)), found).set_index("id")
    c5 = judged.loc["C5"]
    assert c5["metric"].tolist() == ["lift removed at 1% fakes", "lift removed at 10% fakes"]
    assert c5["value"].tolist() == pytest.approx([0.5, 0.1], abs=2e-3)
    assert c5["verdict"].tolist() == ["reproduced", "not reproduced"]
    assert judged.loc["C11", "verdict"] == "reproduced"
    assert rivals_claims.gains_shown(rivals_claims.gains([])).empty
    others = [(("VAT", CLOSED_FORM), part) for _, part in found]
    assert rivals_claims.judged(growth((0.5, 0.1)), others)["id"].unique().tolist() == ["C5"]
    table = rivals_claims.grown(growth((0.5, 0.1)))
    shown = rivals_claims.growth_shown(table)
    here = shown.loc[(*CASE, "unpopular", "random", "10%")]
    assert here[RVD].startswith("0.1")
    assert here["lift, no defence"].startswith("0.8")
    assert set(rivals_claims.drawn(table)["label"]) == {UNDEFENDED, RVD}


def test_the_front_is_what_no_other_beats_in_both_and_every_defence_is_a_point(table):
    means = rivals_choice.levels(table)[CASE]
    assert rivals_plots.front(means.drop(index=RETRAINED)) == ["popularity", "unobserved weight"]
    figure = rivals_plots.pareto({CASE: means})
    (axes,) = figure.axes
    drawn = np.concatenate([points.get_offsets() for points in axes.collections])
    assert sorted(map(tuple, drawn)) == sorted(
        map(tuple, means[["ndcg", "target_hit_ratio"]].to_numpy())
    )
    (legend,) = figure.legends
    assert {"no defence", RVD, "popularity"} <= {text.get_text() for text in legend.get_texts()}
    matplotlib.pyplot.close(figure)


def test_c5_is_asked_of_the_papers_attacks_and_others_stand_beside():
    ours = growth((0.1, 0.1)).replace({"attack": {"random": "low_clone"}})
    both = pd.concat([growth((0.5, 0.5)), ours[ours["attack"] != "none"]])
    judged = rivals_claims.judged(both, [])
    assert judged["value"].tolist() == pytest.approx([0.5, 0.5])
    shares = rivals_claims.grown(both).query("metric == 'lift_removed'")
    means = shares.groupby("attack")["mean"].mean()
    assert means.to_dict() == pytest.approx(
        {"random": 0.5, "low_clone": 0.1, "average of all": 0.3}
    )


def test_the_search_for_rivals_is_told_as_it_is_on_record():
    told, log = rivals.searched(), pd.read_csv(paths.RESULTS / "search" / "robust.csv")
    assert told["settings tried"].sum() == len(log)
    row = log.loc[(log["regime"] == "ranking") & (log["defense"] == "PCA detection")]
    assert told.loc[("ranking", "PCA detection"), "lowest THR@50"] == pytest.approx(
        row["target_hit_ratio"].min(), abs=1e-3
    )
    assert told.loc[("ranking", "PCA detection"), "that lower THR@50 by 10%"] == len(row)


def test_each_detector_is_asked_under_each_attack_and_nobody_attacks_who_pays():
    part = PART | {"attacks": ["none", "random"], "trained": [VAT, "PCA detection"]}
    of = {"ml-100k": part}, "MF", PROMOTED
    detected = who_pays.detected_cells(*of)
    assert [(cell.defense, cell.scenario.attack) for cell in detected] == [
        ("PCA detection", "none"),
        ("PCA detection", "random"),
    ]
    assert who_pays.removed(who_pays.detected_cells({"ml-100k": PART}, *of[1:])).empty
    paying = who_pays.cells(*of, ["least support", "no such defence"])
    assert [cell.defense for cell in paying] == [UNDEFENDED, "least support"]
    assert {(cell.scenario.attack, cell.n_users) for cell in paying} == {("none", 40)}


def test_a_share_of_no_fakes_is_not_shown():
    key = {"dataset": "ml-100k", "regime": "rating", "defense": "PCA detection", "attack": "none"}
    rows = [
        {"metric": "fakes_removed", "mean": np.nan},
        {"metric": "real_users_removed", "mean": 0.5},
    ]
    table = pd.DataFrame([key | row | {"low": np.nan, "high": np.nan, "n": 1} for row in rows])
    shown = who_pays.removed_shown(table)
    assert shown.loc[("ml-100k", "rating", "PCA detection", "fakes"), "none"] == "–"


@pytest.mark.parametrize("profile", ["tiny", "quick", "paper"])
def test_the_supervised_detector_learns_from_no_attack_that_it_is_tested_on(profile):
    asked = planned.wanted("10_rivals", load_profile(profile)["10_rivals"])
    cells = [item for _, items in asked for item in items if isinstance(item, Cell)]
    tested = {cell.scenario.attack for cell in cells}
    learnt = [
        part.choices["attacks"]
        for cell in cells
        for part in cell.chain
        if part.method == "profile_detection"
    ]
    assert learnt or profile == "tiny"
    assert not tested & {attack for attacks in learnt for attack in attacks}
