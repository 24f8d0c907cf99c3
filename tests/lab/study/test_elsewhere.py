"""Other victims and data sets under the attackers of 07: who is asked, with which choices."""

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.experiment.hyperparameters import attacked_defenses
from rvdlib.lab.runner import in_short
from rvdlib.lab.study import elsewhere
from tests.lab.study.conftest import row_of

AT = {
    "dataset": "ml-100k",
    "victims": ["AutoRec"],
    "target_sets": {"ranking": ["random"]},
    "against": ["none", "quorum", "closed form, hardened", "closed form and quorum"],
    "seeds": [0],
    "n_users": 100,
}


def test_a_victim_has_its_own_choices_and_its_attackers_are_told_these():
    own, mf = (attacked_defenses("ranking", name, own=True) for name in ("AutoRec", "MF"))
    assert own["quorum"] != mf["quorum"]
    assert own["closed form and quorum"]["chain"] == [own["closed form, hardened"], own["quorum"]]
    assert attacked_defenses("ranking", "AutoRec")["quorum"] == mf["quorum"]  # in 10 and 11
    cells, attackers = zip(*elsewhere.cells([AT], ["none", "low_clone"]), strict=True)
    faced = {cell.defense for cell in cells}
    assert faced == {UNDEFENDED, "popularity", *AT["against"][1:]}
    for cell in cells:
        if cell.defense == "quorum":
            assert cell.method == own["quorum"]["method"]
            assert cell.choices.items() >= own["quorum"]["choices"].items()
    knowing = [
        cell
        for cell, name in zip(cells, attackers, strict=True)
        if name == "vicinity" and cell.defense == "quorum"
    ]
    (told,) = {cell.scenario.attack_options["copies"] for cell in knowing}
    assert told == own["quorum"]["choices"]["quorum"]


def test_attacks_of_its_own_stand_in_place_of_the_notebooks():
    at = AT | {"attacks": ["none", "random"]}
    met = {cell.scenario.attack for cell, _ in elsewhere.cells([at, AT], ["none", "low_clone"])}
    assert {"random", "low_clone"} < met
    assert "low_clone" not in {label for _, label in elsewhere.cells([at], ["none", "low_clone"])}


def measured(dataset, victim, thr):
    """Undefended has a lift of 0.2 on each of two seeds, a defence one of ``thr``."""
    return [
        row_of(attack, defense, 0.1 + (attack != "none") * level, seed=seed, dataset=dataset,
               victim=victim, regime="ranking", attacker=attack)
        for seed in (0, 1)
        for defense, level in (("none", 0.2), ("closed form and quorum", thr))
        for attack in ("none", "low_clone")
    ]  # fmt: skip


def test_each_data_set_is_held_against_its_own_undefended_victims():
    rows = [
        *measured("a", "MF", 0.05),
        *measured("a", "NSVD", 0.1),
        *measured("b", "MF", 0.2),
        *measured("c", "MF", 0.3),
    ]
    held = elsewhere.held(pd.DataFrame(rows))
    removed = held[held["metric"] == "lift_removed"].set_index(["dataset", "victim", "defense"])
    for dataset, victim, share in (
        ("a", "MF", 0.75),
        ("a", "NSVD", 0.5),
        ("b", "MF", 0.0),
        ("c", "MF", -0.5),
    ):
        assert round(removed.loc[(dataset, victim, "closed form and quorum"), "mean"], 9) == share
    said = in_short.elsewhere_table(held)
    assert "| a, ranking | MF, NSVD | 2 | – | – | 2 better, 0 worse of 2 |" in said
    assert "| b, ranking | MF | 2 | – | – | 0 better, 0 worse of 1 |" in said
    shown = elsewhere.shown(held)
    for dataset, text in (("a", "0.150↓ (0.50)"), ("b", "0.300 (0.50)"), ("c", "0.400↑ (0.50)")):
        none, both = shown.loc[(dataset, "ranking", "unpopular", "MF")]
        assert (none, both) == ("0.300 (0.50)", text)


def test_with_nowhere_to_go_there_is_nothing_to_say():
    assert elsewhere.measured([], ["none"]).empty
    assert in_short.elsewhere_table(elsewhere.measured([], ["none"])) == ""
    assert elsewhere.shown(elsewhere.measured([], ["none"])).empty
