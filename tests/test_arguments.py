"""What is no row number is refused, at every door in the same way."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from rvdlib import metrics
from rvdlib.arguments import as_indices, check_one_of, did_you_mean
from rvdlib.data import HeldOut, leave_one_out, synthetic_ratings
from rvdlib.defenses import (
    RVD,
    ClosedFormRVD,
    Count,
    FastRVD,
    FunctionalRVD,
    LeastSupport,
    Quorum,
    VicinalRegression,
)
from rvdlib.defenses.any_model.victim_module import VictimModule
from rvdlib.evaluation import evaluate, recommend, rmse
from rvdlib.models import VICTIMS
from rvdlib.models.biases import Biases
from rvdlib.models.reference import EASE, Popularity
from rvdlib.neighbors import NeighborSearch, k_occurrence
from rvdlib.neighbors.balanced import BalancedSearch
from rvdlib.neighbors.distinct import DistinctSearch
from rvdlib.seeding import stream
from rvdlib.serving import Arrays
from rvdlib.threat_model import build_threat_model

N_USERS, N_ITEMS = 30, 24
# Each beside good ones; what the error names of it.
WRONG = {
    "text": (["3", "0003"], "'3'"),
    "one text": (["0003"], "'0003'"),
    "text among numbers": ([1, "2"], "'2'"),
    "bytes": ([b"3"], "b'3'"),
    "decimal": ([1.9], "1.9"),
    "whole decimal": ([2.0], "2.0"),
    "array of decimals": (np.array([2.0, 1.0]), "2.0"),
    "NaN": ([np.nan], "nan"),
    "true": ([True], "True"),
    "true among numbers": ([0, True], "True"),
    "array of bools": (np.array([True, False]), "True"),
    "nothing": ([None], "None"),
    "negative": ([-1], "-1"),
    "int8 negative": (np.array([0, -1], dtype=np.int8), "-1"),
    "past the end": ([0, N_USERS], str(N_USERS)),
    "unsigned, huge": (np.array([2**64 - 1], dtype=np.uint64), str(2**64 - 1)),
    "larger than 64 bits": ([2**70], str(2**70)),
    "one number": (3, "3"),
    "one text alone": ("0003", "'0003'"),
    "a matrix": ([[1, 2]], r"\(1, 2\)"),
    "ragged": ([[1], [2, 3]], "inhomogeneous"),
    "a set": ({1, 2}, r"\{1, 2\}"),
    "text column": (pd.Series(["1", "2"]), "'1'"),
    "decimal column": (pd.Series([1.0, 2.0]), "1.0"),
    "mixed column": (pd.Series([0, True]), "True"),
    "negative in a mixed column": (pd.Series([0, -1], dtype=object), "-1"),
    "larger than 64 bits beside others": ([0, 2**63], str(2**63)),
    "a time": (np.array([1], dtype="datetime64[ns]"), "1"),
}
RIGHT = [
    [4, 0],
    (4, 0),
    np.array([4, 0]),
    np.array([4, 0], dtype=np.uint8),
    np.array([4, 0], dtype=">i4"),
    np.array([0, 4])[::-1],
    np.array([4, 9, 0, 9])[::2],
    pd.Series([4, 0], index=[7, 8]),
    [np.int64(4), np.uint8(0)],
    range(4, -1, -4),
    pd.Series([4, 0], dtype=object),
    pd.array([4, 0], dtype="Int64"),
]


@pytest.fixture(scope="module")
def split():
    ratings = synthetic_ratings(N_USERS, N_ITEMS, 260, rng=stream(0, "ratings"))
    return leave_one_out(ratings, stream(0, "split"))


@pytest.fixture(scope="module")
def doors(split):
    """Every public function of row numbers: name → function of them, (B, ...) in their order."""
    found = {}
    for name, kind in VICTIMS.items():
        for omega in (0.0, 0.2):
            victim = kind(embedding_size=4, epochs=1, unobserved_weight=omega)
            args = split.train, split.validation, split.ratings.levels, stream(0, "model")
            found[f"{name} {omega}"] = victim.fit(*args).score
    parameters = victim.parameters
    found["forward"] = lambda users: victim.forward(parameters, users).detach()
    found["user_factors"] = victim.user_factors
    found["score_with"] = lambda users: victim.score_with(parameters, users)
    found["objective"] = lambda users: [victim.objective(users)(parameters).item()] * 2
    found["unobserved_target"] = victim.unobserved_target
    for kind in (Biases, EASE, Popularity):
        found[kind.__name__] = kind().fit(split.train).score
    for kind in (RVD, FastRVD, ClosedFormRVD):
        found[kind.__name__] = kind(victim, k=3).score
    found["decoder by sgd"] = FastRVD(victim, k=3, scope="decoder", optimizer="sgd").score
    found["groups"] = ClosedFormRVD(victim, k=3, groups=3).score
    closed = ClosedFormRVD(victim, k=3, include_user=True)
    found["vicinity"] = closed.vicinity
    functional = FunctionalRVD(VictimModule(victim), N_USERS, k=3, steps=1)
    found["FunctionalRVD"], found["its vicinity"] = functional.score, functional.vicinity
    found["Arrays"] = Arrays.of(victim).score
    factors, ratings = victim.user_factors(), victim.train
    found["NeighborSearch"] = NeighborSearch(factors, 3)
    found["mutual"] = NeighborSearch(factors, 3, hubness_reduction="mutual")
    found["BalancedSearch"] = BalancedSearch(factors, 3, max_in_degree=3)
    voted = Quorum(victim, k=3, quorum=1)
    found["Quorum"], found["eligible"], found["votes"] = voted.score, voted.eligible, voted.votes
    found["Count"] = Count(victim, k=3).score
    found["support"] = LeastSupport(victim, min_ratings=2).eligible
    found["DistinctSearch"] = DistinctSearch(factors, 3, max_overlap=0.5, ratings=ratings)
    regression = VicinalRegression(
        user_factors=factors,
        offsets=np.zeros(N_USERS),
        item_factors=np.ones((N_ITEMS, 4)),
        item_bias=np.zeros(N_ITEMS),
        ratings=ratings,
        unobserved_target=np.zeros(N_USERS),
        unobserved_weight=0.1,
        proximal_weight=1.0,
    )
    found["VicinalRegression"] = lambda users: regression.score(users, np.array([[1, 2], [3, 5]]))
    found["recommend"] = lambda users: recommend(victim, users, split.train, k=5)
    found["evaluate"] = lambda users: evaluate(victim, split, [], k=5, users=users).test_ranks
    found["vicinities"] = lambda rows: regression.score(
        [1, 2], [[row] for row in rows] if isinstance(rows, range) else np.asarray(rows)[:, None]
    )
    return found


DOORS = (
    *(f"{name} {omega}" for name in VICTIMS for omega in (0.0, 0.2)),
    *("forward", "user_factors", "score_with", "objective", "unobserved_target"),
    *("Biases", "EASE", "Popularity", "RVD", "FastRVD", "ClosedFormRVD", "decoder by sgd"),
    *("groups", "vicinity", "FunctionalRVD", "its vicinity", "Arrays"),
    *("NeighborSearch", "mutual", "DistinctSearch", "VicinalRegression", "recommend", "evaluate"),
    *("BalancedSearch", "Quorum", "eligible", "votes", "Count", "support"),
)


@pytest.mark.parametrize("door", DOORS)
def test_what_is_no_row_number_is_refused_by_name(doors, door):
    for rows, named in WRONG.values():
        with pytest.raises(ValueError, match=rf"^users must be .*row numbers.*{named}"):
            doors[door](rows)


@pytest.mark.parametrize("door", DOORS)
def test_row_numbers_are_served_in_whatever_holds_them(doors, door):
    expected = np.asarray(doors[door](np.array([4, 0])))
    assert len(expected) == 2
    for rows in RIGHT:
        assert np.array_equal(np.asarray(doors[door](rows)), expected, equal_nan=True)


@pytest.mark.parametrize(
    "door", sorted(set(DOORS) - {"evaluate", "objective", "VicinalRegression"})
)
def test_nobody_is_nobody_whatever_the_type(doors, door):
    for nobody in ([], (), np.array([]), np.array([], dtype="U1")):
        assert len(doors[door](nobody)) == 0


def item_doors(split):
    scores, seen = np.zeros((2, N_ITEMS)), sp.csr_matrix((2, N_ITEMS))
    recommender = Popularity().fit(split.train)

    def held_out(items):
        items = np.asarray(items)
        return HeldOut(np.zeros(len(items), dtype=int), items, np.ones(len(items)))

    return {
        "targets": lambda items: evaluate(recommender, split, items, k=5),
        "items": lambda items: metrics.ranks(scores, seen, items),
        "threat": lambda items: build_threat_model(split, items, stream(0), attack_size=0.1),
        "held out": lambda items: rmse(recommender, held_out(items), np.arange(1, 6)),
    }


@pytest.mark.parametrize("door", ["targets", "items", "threat", "held out"])
@pytest.mark.parametrize("case", sorted(set(WRONG) - {"one number", "one text alone", "a matrix"}))
def test_what_is_no_item_index_is_refused_by_name(split, door, case):
    items, named = WRONG[case]
    lists = ("a set", "ragged", "true among numbers", "larger than 64 bits beside others")
    if door == "held out" and case in lists:
        pytest.skip("columns of arrays")
    named = named.replace("2", "[12]") if case == "text among numbers" else named
    with pytest.raises(ValueError, match=rf"must be .*item indices.*{named}"):
        item_doors(split)[door](items)


@pytest.mark.parametrize("form", ["csc", "coo", "lil", "dense"])
@pytest.mark.parametrize("door", ["ranks", "top_k", "recommend", "Popularity", "EASE"])
def test_a_matrix_of_another_format_is_never_read_as_csr(form, door):
    square = sp.csr_matrix(np.triu(np.ones((6, 6))))  # where no shape tells rows from columns
    scores, recommender = np.arange(36.0).reshape(6, 6), Popularity().fit(square)
    use = {
        "ranks": lambda seen: metrics.ranks(scores, seen, [0, 1]),
        "top_k": lambda seen: metrics.top_k(scores, seen, 2),
        "recommend": lambda seen: recommend(recommender, [0, 5], seen, k=2),
        "Popularity": Popularity().fit,
        "EASE": EASE().fit,
    }[door]
    use(square)
    with pytest.raises(ValueError, match="must be a CSR matrix, see scipy"):
        use(square.toarray() if form == "dense" else square.asformat(form))


@given(st.lists(st.integers(-(2**63), 2**64 - 1) | st.integers(-3, 12), max_size=6))
def test_exactly_the_integers_below_the_size_pass(numbers):
    good = all(0 <= number < 10 for number in numbers)
    try:
        found = as_indices("rows", numbers, 10)
    except ValueError:
        assert not good
    else:
        assert good
        assert found.dtype == np.int64
        assert found.tolist() == numbers


def test_an_array_of_row_numbers_is_not_copied():
    rows = np.arange(5)
    assert np.shares_memory(as_indices("rows", rows, 5), rows)


def test_the_error_says_what_turns_raw_ids_into_row_numbers():
    with pytest.raises(ValueError, match=r"got '3'; Ratings.user_index finds those of raw ids"):
        as_indices("users", ["3"], 10)
    with pytest.raises(ValueError, match=r"got '3'; Ratings.item_index finds those of raw ids"):
        as_indices("targets", ["3"], 10, of="items")


def test_lists_of_neighbours_are_held_to_the_users():
    assert k_occurrence([[1, 2], [2, 0]], 4).tolist() == [1, 1, 2, 0]
    for wrong in ([[4]], [[-1]], [[True]], [["1"]], [[1.0]]):
        with pytest.raises(ValueError, match="neighbors must be row numbers"):
            k_occurrence(wrong, 4)


@pytest.mark.parametrize(
    ("given", "near"),
    [("clon", "clone"), ("Clone", "clone"), (" AUSH", "aush"), ("autorec", "AutoRec")],
)
def test_a_name_that_is_nearly_one_is_told_which(given, near):
    known = ("clone", "aush", "AutoRec")
    check_one_of("name", near, known)
    with pytest.raises(
        ValueError,
        match=rf"name must be one of clone, aush, AutoRec, got '{given}'; did you mean '{near}'\?",
    ):
        check_one_of("name", given, known)


@pytest.mark.parametrize("given", [3, None, ["clone"], True, "something else"])
def test_what_is_near_no_name_gets_no_suggestion(given):
    assert did_you_mean(given, ["clone", "aush"]) == ""
    with pytest.raises(ValueError, match="name must be one of clone, aush, got") as error:
        check_one_of("name", given, ["clone", "aush"])
    assert "did you mean" not in str(error.value)
