"""How many fakes a data set takes: which cells are run, and what the tables make of them."""

from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from rvdlib.data import synthetic_ratings
from rvdlib.defenses import Quorum, QuorumConfig
from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.figures import breakdown_plots
from rvdlib.lab.study import breakdown, breakdown_answer, breakdown_tables
from rvdlib.lab.study.breakdown import (
    COUNT,
    FLOOR,
    POPULARITY,
    QUORUM,
    attacked_cells,
    clean_cells,
)
from rvdlib.lab.study.effects import CLOSED_FORM
from rvdlib.lab.study.parameter_types import Scaled
from rvdlib.seeding import stream
from rvdlib.theory.bagging import most_fakes
from rvdlib.theory.certificate import exposure, thr_bound
from tests.lab.study.conftest import row_of

TARGETS = {"rating": "unpopular", "ranking": "random"}
N_USERS = 200
QUORUMS = [{"k": 20, "quorum": 2}, {"k": 20, "quorum": 10}]
SIZES = [0.03, 0.3]
DISTANCES = ["euclidean", "profile_overlap"]
OVERLAP = "profile_overlap"


@pytest.fixture(autouse=True)
def sizes(monkeypatch):
    known = synthetic_ratings(N_USERS, 60, 3000, rng=stream(0, "ratings"))
    for module in (breakdown, breakdown_tables, breakdown_answer):
        monkeypatch.setattr(module, "load_dataset", lambda name: known)


def asked():
    of = "MF", TARGETS, [0, 1]
    found = clean_cells(["a", "b"], *of, [20], [0.1, 0.5], DISTANCES, [0.001, 0.01, 0.1], 100)
    attacks = ["low_clone", "vicinity"]
    return found, attacked_cells(["a"], *of, attacks, SIZES, QUORUMS, 100)


def test_cells_are_every_quorum_on_clean_data_and_every_defence_under_every_attack():
    clean, attacked = asked()
    # 0.1 % and 1 % of 200 users are one floor, of 2 ratings.
    assert len(clean) == 2 * 2 * 2 * (2 + 2 * 2 + 2)
    assert {cell.scenario.attack for cell in clean} == {"none"}
    assert len(attacked) == 2 * (2 + 2 * 2 * 2) * 5
    knowing = [cell.scenario for cell in attacked if cell.scenario.attack == "vicinity"]
    assert {each.attack_options["copies"] for each in knowing} == {2}  # of the first quorum
    # Whoever is not attacked is the same cell in both.
    shared = 2 * 2 * (1 + 2)
    assert len(breakdown.once([*clean, *attacked])) == len(clean) + len(attacked) - shared
    for cell in [*clean, *attacked]:
        if cell.method == "quorum":
            choices = QuorumConfig(**cell.choices)
            assert choices.max_in_degree == choices.k
            assert choices.hubness_reduction == "local_scaling"
    found = [cell.choices.get("distance") for cell in clean if cell.method == "quorum"]
    assert found.count(None) == found.count(OVERLAP)  # the default is not written: it is on record


@pytest.mark.parametrize("distance", get_args(Scaled))
def test_what_is_promised_holds_by_any_distance_with_fakes_in_everybodys_middle(distance):
    k, q, n_fakes, target = 6, 2, 5, 59
    ratings = synthetic_ratings(N_USERS, 60, 3000, rng=stream(0, "ratings")).matrix.tolil()
    ratings[:, target] = 0
    profile = np.asarray((ratings > 0).sum(axis=0)).ravel() > N_USERS / 4
    profile[target] = True
    train = sp.vstack([ratings, sp.csr_matrix(np.tile(5.0 * profile, (n_fakes, 1)))], format="csr")
    train.eliminate_zeros()
    factors = np.abs(stream(0, "factors").normal(size=(N_USERS + n_fakes, 40)))
    factors[N_USERS:] = factors.mean(axis=0) + 0.01 * factors[N_USERS:]
    victim = SimpleNamespace(train=train, user_factors=lambda: factors)
    votes = breakdown.votes(k, q, distance)
    served = Quorum(victim, **votes).reached(np.arange(N_USERS), q)[:, target].sum()
    bound = exposure(0, n_fakes, quorum=q, max_in_degree=k, n_users=N_USERS)
    assert 0 < served <= bound < N_USERS
    unlimited = Quorum(victim, **votes | {"max_in_degree": None, "hubness_reduction": "none"})
    assert unlimited.reached(np.arange(N_USERS), q)[:, target].sum() > bound


@pytest.mark.parametrize(
    ("k", "shares", "expected"),
    [(30, [0.03, 0.1, 0.2], [1, 3, 6]), (5, [0.01, 0.03, 1.0], [1, 5]), (1, [0.5, 0.1], [1])],
)
def test_quorums_are_whole_numbers_each_once(k, shares, expected):
    assert breakdown.quorums_of(k, shares) == expected


def row(**changes):
    return row_of(dataset="a", method=UNDEFENDED) | {"choices": {}} | changes


def quorum(q, distance=breakdown.LATENT, **changes):
    choices = breakdown.votes(20, q, distance)
    return row(defense=QUORUM, method="quorum", choices=choices, **changes)


def measured():
    """Undefended has 0.2, popularity 0.4; a quorum of 2 keeps 95 %, one of 10 keeps 50 %; b has half."""
    rows = []
    for dataset in ("a", "b"):
        for seed in (0, 1):
            at = {"dataset": dataset, "seed": seed}
            less = 0.5 if dataset == "b" else 1.0
            rows += [row(**at), row(**at, defense=POPULARITY, method=POPULARITY, ndcg=0.4)]
            rows += [quorum(2, **at, ndcg=0.38 * less, list_length=40.0 * less)]
            rows += [quorum(10, **at, ndcg=0.2 * less, list_length=10.0 * less)]
            # By profile overlap, one of 4 keeps 92 %; one of 10 is that by latent vectors, but for lists.
            floor = {"defense": FLOOR, "method": "least_support", "choices": {"min_ratings": 8}}
            rows += [row(**at, **floor, ndcg=0.37)]
            near = {**at, "distance": OVERLAP}
            rows += [quorum(4, **near, ndcg=0.368 * less, list_length=30.0 * less)]
            rows += [quorum(10, **near, ndcg=0.2 * less, list_length=20.0 * less)]
    for seed in (0, 1):
        count = {"defense": COUNT, "method": "count", "choices": breakdown.votes(20)}
        rows += [row(seed=seed, defense=CLOSED_FORM, method="closed_form"), row(seed=seed, **count)]
        for size in SIZES:
            for attack, thr in (("clone", 0.4), ("low_clone", 0.6)):
                at = {"seed": seed, "attack": attack, "attack_size": size}
                rows += [row(**at, target_hit_ratio=thr + size), row(**at, **count)]
                rows += [row(**at, defense=CLOSED_FORM, method="closed_form")]
                rows += [quorum(2, **at, target_hit_ratio=1 - thr, list_length=30.0)]
    return breakdown.with_rules(pd.DataFrame(rows))


def test_of_two_metrics_the_one_counts_of_which_less_is_kept():
    rows = measured()
    votes = (rows["dataset"] == "a") & (rows["quorum"] == 2) & (rows["attack"] == "none")
    rows.loc[votes, "hit_ratio"] = 0.3 * rows.loc[~votes, "hit_ratio"].max()
    found = breakdown_tables.clean(rows).query(
        "metric == 'kept' and dataset == 'a' and quorum == 2"
    )
    assert found["mean"].tolist() == pytest.approx([0.3])


def test_a_data_set_that_is_attacked_only_is_not_among_those_that_are_asked():
    rows = measured()
    alone = rows[(rows["dataset"] == "a") & (rows["defense"] != POPULARITY)]
    rows = pd.concat([rows, alone.assign(dataset="c")])
    assert set(breakdown_tables.clean(rows)["dataset"]) == {"a", "b"}
    assert set(breakdown_tables.growing(rows)["dataset"]) == {"a", "c"}


@pytest.fixture
def found():
    return breakdown_tables.clean(measured())


@pytest.fixture
def promised(found):
    return breakdown_tables.bounds(found, [0.01, 0.1], 0.1)


def test_accuracy_is_held_against_the_better_of_the_victim_and_popularity(found):
    kept = found[(found["metric"] == "kept") & (found["distance"] != OVERLAP)]
    kept = kept.set_index(["dataset", "defense", "quorum"])["mean"].sort_index()
    assert kept["a", QUORUM, 2] == pytest.approx(0.95)
    assert kept["b", QUORUM, 10] == pytest.approx(0.25)
    assert kept["a", POPULARITY].item() == 1
    assert kept["a", UNDEFENDED].item() == pytest.approx(0.5)


def test_bounds_are_those_of_the_theory_and_one_fake_more_breaks_them(promised):
    for row in promised[promised["quorum"].notna()].itertuples():
        limits = {"quorum": int(row.quorum), "max_in_degree": 20, "n_users": N_USERS}
        assert promised.loc[row.Index, "thr_bound_0.01"] == thr_bound(0, 2, **limits)
        assert promised.loc[row.Index, "thr_bound_0.1"] == thr_bound(0, 20, **limits)
        most = round(row.taken * N_USERS)
        assert exposure(0, most, **limits) <= 0.1 * N_USERS < exposure(0, most + 1, **limits)


def test_a_floor_stops_one_fake_less_than_it_asks_ratings_for(found, promised):
    floor = promised[promised["min_ratings"].notna()]
    assert floor["min_ratings"].tolist() == [8, 8]
    assert floor[["thr_bound_0.01", "thr_bound_0.1"]].to_numpy().tolist() == [[0, 1]] * 2
    assert floor["taken"].tolist() == [7 / N_USERS] * 2
    best = breakdown_tables.taken(found, promised, 0.9, FLOOR)
    assert best["taken"].tolist() == [7 / N_USERS] * 2


def test_a_quorum_that_nothing_exceeds_takes_as_many_fakes_as_users(found):
    assert (breakdown_tables.bounds(found, [0.01], 1.0)["taken"] == 1).all()  # nor a floor


def test_a_data_set_takes_what_its_best_useful_quorum_takes_and_none_without_one(found, promised):
    best = breakdown_tables.taken(found, promised, 0.9).set_index("dataset")
    assert best["quorum"].to_dict() == {"a": 4, "b": 2}
    assert best["distance"].to_dict() == {"a": OVERLAP, "b": breakdown.LATENT}
    assert best["taken"].to_dict() == {"a": 0.02, "b": 0}
    assert best.loc["b", "kept"] == pytest.approx(0.475)
    both = breakdown_tables.taken(found, promised, 0.2).set_index("dataset")
    assert both["quorum"].to_dict() == {"a": 10, "b": 10}


def test_the_strongest_attack_is_another_one_for_each_defence():
    grown = breakdown_tables.growing(measured())
    thr = grown[grown["metric"] == "target_hit_ratio"].set_index(["defense", "attack_size"])
    assert thr.loc[(UNDEFENDED, 0.3), "attack"] == "low_clone"
    assert thr.loc[(UNDEFENDED, 0.3), "mean"] == pytest.approx(0.9)
    assert thr.loc[(QUORUM, 0.3), "attack"] == "clone"
    assert thr.loc[(QUORUM, 0.3), "mean"] == pytest.approx(0.6)
    assert set(thr.index.get_level_values("attack_size")) == {0.0, *SIZES}
    assert set(grown["dataset"]) == {"a"}  # b is not attacked
    assert set(grown["distance"].dropna()) == {
        breakdown.LATENT
    }  # nor is what takes another distance
    lists = breakdown_tables.growth_table(grown, "list_length")
    assert lists.loc[("a", "rating", "30%"), "quorum 2 of 20"].startswith("30.000")


def test_a_lift_is_less_what_the_targets_have_without_it(found, promised):
    rows = measured()
    bare = (rows["defense"] == UNDEFENDED) & (rows["attack"] == "none")
    rows.loc[bare, "target_hit_ratio"] = 0.55 + 0.1 * rows.loc[bare, "seed"]
    grown = breakdown_tables.growing(rows)
    lift = grown[grown["metric"] == "lift"].set_index(["defense", "attack_size"])
    assert lift.loc[(UNDEFENDED, 0.3), "mean"] == pytest.approx(0.9 - 0.6)
    assert lift.loc[(UNDEFENDED, 0.03), "mean"] == pytest.approx(0.63 - 0.6)
    assert lift.loc[(UNDEFENDED, 0.0), ["mean", "low", "high"]].tolist() == [0, 0, 0]
    assert lift.loc[(QUORUM, 0.3), "mean"] == pytest.approx(0.6)
    said = breakdown_answer.answer(found, promised, grown, agreed(), 0.1, 0.9)
    assert ": no defence 30%, closed form beyond 30%, quorum 2 of 20 3%." in said


def agreed(**changes):
    known = {"regime": "rating", "seed": 0, "k": 20, "victim": "MF"}
    rows = [
        known | {"dataset": "a", "measured": 0.7, "chance": 0.1, "by_chance": False},
        known | {"dataset": "b", "measured": 0.02, "chance": 0.018, "by_chance": True},
    ]
    frame = pd.DataFrame(rows).assign(density=[0.05, 0.004])
    above = (frame["measured"] - frame["chance"]) / (1 - frame["chance"])
    return breakdown_tables.agreement(frame.assign(above_chance=above))


def test_the_answer_is_of_computed_numbers(found, promised):
    grown = breakdown_tables.growing(measured())
    given = found, promised, grown, agreed(), 0.1, 0.9
    _, _, promise, floors, broken, left, chance = breakdown_answer.answer(*given).splitlines()
    assert (
        "keeps 90% of NDCG@50 and HR@50 provably leaves a new item at most 10% of users" in promise
    )
    assert "(of 4 the best, in hindsight; 2 seeds)" in promise
    assert promise.endswith(": rating regime a 2.0% (30 items), b none (20 items).")
    assert floors.endswith(": rating regime a at least 3.5%, b at least 3.5%.")
    assert "(tried: 3%, 30%; 2 seeds;" in broken
    assert broken.endswith(": no defence 3%, closed form beyond 30%, quorum 2 of 20 3%.")
    ratings = breakdown_answer.load_dataset("a")
    popular = (ratings.matrix.getnnz(axis=0) >= 0.2 * N_USERS).sum()
    assert popular
    assert "With a quorum of 4 of 20 neighbours a list of 50 keeps" in left
    assert "how many items 20% of all users rated" in left
    of = f"({popular}, {ratings.density:.1%})"
    assert left.endswith(f": a 30.0 {of}, b 15.0 {of}.")
    assert chance.endswith("by chance on: b (rating regime, 0.020, by chance 0.018).")
    assert all("nan" not in line for line in (promise, broken, left, chance))


def test_the_answer_speaks_of_one_data_set_and_one_seed_alone():
    rows = measured()
    rows = rows[(rows["dataset"] == "a") & (rows["seed"] == 0) & (rows["quorum"] != 4)]
    found = breakdown_tables.clean(rows)
    promised = breakdown_tables.bounds(found, [0.01], 0.1)
    alone = agreed().iloc[:1]
    grown = breakdown_tables.growing(rows)
    lines = breakdown_answer.answer(found, promised, grown, alone, 0.1, 0.9).splitlines()
    assert "1 seed): rating regime a 1.0% (40 items)." in lines[2]
    assert ": a 10.0 to 20.0 (" in lines[5]
    assert lines[6].endswith("by chance on: none.")
    assert not any(word in line for line in lines for word in ("shortest", "2 seeds", "nan"))


def test_tables_have_a_row_for_each_rule_and_data_set(found, promised):
    shown = breakdown_tables.table(found, promised)
    labels = [UNDEFENDED, POPULARITY, "least support 8", "2 of 20", "4 of 20", "10 of 20"]
    assert [*shown.index] == [(name, "rating", label) for name in ("a", "b") for label in labels]
    assert shown.loc[("a", "rating", "2 of 20"), "fakes taken"] == "0.010"
    assert shown.loc[("a", "rating", POPULARITY), "fakes taken"] == "–"
    lists = shown[["list length, latent vectors", "list length, profile overlap"]]
    lists = lists.map(lambda cell: cell.split()[0])
    assert lists.loc[("b", "rating", "10 of 20")].tolist() == ["5.000", "10.000"]
    assert lists.loc[("a", "rating", "2 of 20")].tolist() == ["40.000", "–"]
    assert lists.loc[("a", "rating", POPULARITY)].tolist() == ["50.000", "50.000"]
    assert len(breakdown_tables.agreement_table(agreed())) == 2


def test_sizes_below_one_percent_are_told_apart(found):
    rows = measured()
    rows["attack_size"] = rows["attack_size"].replace({0.03: 0.002, 0.3: 0.004})
    grown = breakdown_tables.growing(rows)
    shown = breakdown_tables.growth_table(grown, "target_hit_ratio")
    assert shown.index.get_level_values("attack_size").tolist() == ["0%", "0.2%", "0.4%"]
    promised = breakdown_tables.bounds(found, [0.005, 0.01], 0.1)
    columns = breakdown_tables.table(found, promised).columns
    assert {"THR ≤, 0.5% fakes", "THR ≤, 1% fakes"} < set(columns)


def test_the_figure_has_a_panel_a_data_set_and_its_points_are_quorums(found, promised):
    drawn = breakdown_tables.drawn(found, promised, 20)
    figure = breakdown_plots.fakes_taken(drawn, 0.9)
    assert [axes.get_title() for axes in figure.axes] == ["a, rating", "b, rating"]
    for axes, less in zip(figure.axes, (1, 0.5), strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        expected = {
            "latent vectors": ([1, 5], [95, 50]),
            "profile overlap": ([2, 5], [92, 50]),
        }
        assert set(lines) == set(expected)
        for label, (x, y) in expected.items():
            np.testing.assert_allclose(lines[label].get_xdata(), x)
            np.testing.assert_allclose(lines[label].get_ydata(), np.multiply(y, less))
    assert (
        len({line.get_marker() for line in lines.values()}) == 2
    )  # told apart without colour, too


def test_the_figure_of_growth_has_a_line_a_defence():
    figure = breakdown_plots.growth(breakdown_tables.reached(breakdown_tables.growing(measured())))
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert set(lines) == {"no defence", "closed form", "quorum 2 of 20", "count of 20"}
    np.testing.assert_allclose(lines["no defence"], [0, 0.63, 0.9])


def test_bagging_stands_fewer_fakes_the_more_users_a_model_sees():
    (row,) = breakdown_tables.bagging(["a"]).to_numpy()
    shares = [float(cell.rstrip("%")) for cell in row[:2]]
    assert shares == sorted(shares, reverse=True)
    assert row[1] == f"{most_fakes(N_USERS, sample=100, voted=1, k=50) / N_USERS:.1%}"
    assert row[-1] == "–"  # more users than there are
