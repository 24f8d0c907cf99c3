"""Quorum and count against sets and loops, and what limited vicinities do to every form."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from conformance import (
    ANY_VICTIM,
    FAKE,
    LONELY_USER,
    N_ITEMS,
    N_USERS,
    USERS,
    DefenseConformance,
    reordered,
    served,
    trained,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvdlib.defenses import DEFENSES, RVD, ClosedFormRVD, Count, FastRVD, Quorum
from rvdlib.defenses.votes import ordered_by
from rvdlib.evaluation import recommend

EVERYONE = np.arange(N_USERS)


class TwinsAside(DefenseConformance):
    """Of two users with the same ratings, the lower row takes a neighbour's last place."""

    reads_row_numbers = True

    def test_where_other_users_rows_stand_tells_it_nothing(self, defense, victim):
        order = np.random.default_rng(5).permutation(N_USERS)
        shuffled, users = self.defend(reordered(victim, order)), USERS[USERS != FAKE]
        there = np.argsort(order)[users]
        difference = np.abs(
            np.nan_to_num(served(shuffled, there)) - np.nan_to_num(served(defense, users))
        )
        assert difference.max() < 1e-4


class TestQuorum(TwinsAside):
    tolerance = 1e-5  # the victim's own

    def defend(self, victim):
        return Quorum(victim, k=8, quorum=2)


class TestFilledQuorum(TwinsAside):
    kinds = ANY_VICTIM
    tolerance = 1e-5
    dtype = np.float64

    def defend(self, victim):
        return Quorum(victim, k=8, quorum=3, fill="votes")


class TestCount(TwinsAside):
    kinds = ANY_VICTIM
    tolerance = 1e-5
    dtype = np.float64

    def defend(self, victim):
        return Count(victim, k=8)


class TestClosedFormWithALimit(TwinsAside):
    kinds = ANY_VICTIM
    tolerance = 1e-5

    def defend(self, victim):
        return ClosedFormRVD(victim, k=6, max_in_degree=6, hubness_reduction="local_scaling")


def by_hand(defense, user):
    """How many of a user's vicinity rated each item."""
    profiles = [set(row.indices.tolist()) for row in defense.train]
    near = [v for v in defense.vicinity(np.array([user]))[0].tolist() if v >= 0]
    return [sum(item in profiles[v] for v in near) for item in range(N_ITEMS)]


@pytest.mark.parametrize("choices", [{}, {"max_in_degree": None}, {"include_user": True}])
@pytest.mark.parametrize("quorum", [1, 3, 9])
def test_an_item_is_eligible_if_so_many_neighbours_rated_it(quorum, choices):
    victim = trained("NSVD", "ranking")
    defense = Quorum(victim, k=9, quorum=quorum, **choices)
    for user in (0, FAKE, LONELY_USER):
        votes = by_hand(defense, user)
        assert defense.votes(np.array([user]))[0].tolist() == votes
        assert defense.eligible(np.array([user]))[0].tolist() == [n >= quorum for n in votes]
    assert np.array_equal(defense.score(USERS), victim.score(USERS))


@pytest.mark.parametrize("quorum", [1, 3, 300])
@pytest.mark.parametrize("lengths", [[300], [0, 1, 7, 300]])
def test_what_reaches_the_quorum_is_counted_without_overflow(quorum, lengths):
    """As the table of votes says, past the 255 that a byte holds, and in shorter vicinities."""
    rng = np.random.default_rng(1)
    train = sp.random_array((301, 9), density=0.5, rng=rng).tolil()
    train[:, 0] = 1
    scorer = SimpleNamespace(train=train.tocsr(), score=None, user_factors=None)
    choices = {"k": 300, "quorum": quorum, "neighbors": "random", "hubness_reduction": "none"}
    defense = shorten(Quorum(scorer, **choices), lengths)
    users = np.arange(6)
    expected = defense.votes(users) >= quorum
    assert np.array_equal(defense.eligible(users), expected)
    assert expected[-1 if len(lengths) == 1 else 3, 0]


@pytest.mark.parametrize("inner", [None, {"k": 5}])
def test_lists_keep_the_order_that_is_wrapped_and_end_where_the_quorum_does(inner):
    victim = trained("MF", "ranking")
    inside = victim if inner is None else ClosedFormRVD(victim, **inner)
    defense = Quorum(inside, k=9, quorum=3)
    lists = recommend(defense, USERS, victim.train, k=30)
    plain = recommend(inside, USERS, victim.train, k=N_ITEMS)
    eligible = defense.eligible(USERS)
    lengths = (lists >= 0).sum(axis=1)
    assert (lengths < 30).any()
    for row, whole, may in zip(lists, plain, eligible, strict=True):
        expected = [item for item in whole.tolist() if item >= 0 and may[item]]
        assert [item for item in row.tolist() if item >= 0] == expected[:30]


def test_filled_lists_go_on_with_what_fewer_neighbours_rated():
    victim = trained("MF", "ranking")
    defense = Quorum(victim, k=9, quorum=3, fill="votes")
    votes, scores = defense.votes(USERS), victim.score(USERS)
    lists = recommend(defense, USERS, victim.train, k=N_ITEMS)
    strict = recommend(Quorum(victim, k=9, quorum=3), USERS, victim.train, k=N_ITEMS)
    for n, user in enumerate(USERS):
        unseen = set(range(N_ITEMS)) - set(victim.train[user].indices.tolist())
        voted = [item for item in sorted(unseen) if votes[n, item]]
        expected = sorted(voted, key=lambda i, n=n: (-min(votes[n, i], 3), -scores[n, i]))
        found = lists[n][lists[n] >= 0].tolist()
        assert found == expected
        short = strict[n][strict[n] >= 0].tolist()
        assert found[: len(short)] == short
        assert len(found) > len(short)
    assert not defense.predicts_stars
    assert Quorum(victim, k=9).predicts_stars


def test_count_orders_by_votes_then_by_score():
    victim = trained("AutoRec", "rating")
    defense = Count(victim, k=9)
    votes, scores = defense.votes(USERS), victim.score(USERS)
    lists = recommend(defense, USERS, victim.train, k=20)
    for n, user in enumerate(USERS):
        unseen = set(range(N_ITEMS)) - set(victim.train[user].indices.tolist())
        expected = sorted(sorted(unseen), key=lambda i, n=n: (-votes[n, i], -scores[n, i]))
        assert lists[n].tolist() == expected[:20]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-40, 40), st.floats(-(2.0**99), 2.0**99, width=32)),
        min_size=1,
        max_size=12,
    )
)
def test_groups_come_first_and_scores_decide_within_them(cells):
    groups, scores = (np.array([column]) for column in zip(*cells, strict=True))
    found = ordered_by(groups, scores.astype(np.float32))[0]
    for (group, score), one in zip(cells, found, strict=True):
        for (other_group, other_score), other in zip(cells, found, strict=True):
            if group > other_group:
                assert one > other
            elif group == other_group and score > other_score:
                assert one >= other
    assert (found[groups[0] == 0] == scores[0][groups[0] == 0]).all()


def test_what_is_not_listed_or_diverged_stays_so_in_every_group():
    scores = np.array([[1, -np.inf, np.nan, 3], [-np.inf] * 4], dtype=np.float32)
    found = ordered_by(np.array([[0, 2, 1, 1]] * 2), scores)
    assert found[0].tolist()[:2] == [1, -np.inf]
    assert np.isnan(found[0, 2])
    assert found[0, 3] > 3
    assert (found[1] == -np.inf).all()


def test_anything_that_scores_can_be_wrapped():
    """Arrays, or anybody's model: a score, the ratings, and vectors unless overlap is asked for."""
    rng = np.random.default_rng(0)
    table, train = rng.random((40, 25)), sp.random_array((40, 25), density=0.3, rng=rng).tocsr()
    scorer = SimpleNamespace(score=lambda users: table[users], train=train)
    overlap = {"distance": "profile_overlap", "hubness_reduction": "none"}
    defense = Quorum(scorer, k=5, quorum=2, **overlap)
    users = np.array([3, 0])
    assert np.array_equal(defense.score(users), table[users])
    assert 0 < defense.eligible(users).mean() < 1
    scorer.user_factors = lambda: rng.standard_normal((40, 3))
    assert Quorum(scorer, k=5, quorum=2).votes(users).max() > 0
    for wrong in ([-1], [40], [True], [0.5]):
        with pytest.raises(ValueError, match="users must be"):
            defense.eligible(wrong)


@pytest.mark.parametrize("name", ["quorum", "count"])
def test_nobody_votes_in_more_vicinities_than_there_are_neighbours_unless_said(name):
    victim, method = trained("MF", "rating"), DEFENSES[name]
    for choices, most in (({}, 7), ({"max_in_degree": 9}, 9)):
        defense = method(victim, k=7, **({"quorum": 2} if name == "quorum" else {}), **choices)
        rows = defense.vicinity(EVERYONE)
        assert np.bincount(rows[rows >= 0]).max() <= most
    unlimited = method(victim, k=7, max_in_degree=None)
    assert np.bincount(unlimited.vicinity(EVERYONE).ravel()).max() > 9
    assert method(victim, k=7, neighbors="random").config.max_in_degree is None
    assert method(victim, k=7, max_overlap=0.5).config.max_in_degree is None


@pytest.mark.parametrize("quorum", [1, 2, 4])
def test_an_item_reaches_no_more_users_than_its_raters_have_places_for(quorum):
    """#eligible ≤ raters × B / q, fakes among the raters."""
    victim, choices = trained("MF", "ranking"), {"k": 4, "quorum": quorum}
    raters = np.bincount(victim.train.indices, minlength=N_ITEMS)
    reached = Quorum(victim, **choices).eligible(EVERYONE).sum(axis=0)
    assert (reached <= raters * 4 / quorum).all()
    assert reached.max() > 10


@pytest.mark.parametrize("quorum", [1, 2])
def test_four_hubs_reach_everybody_unless_they_are_limited(quorum):
    """They alone rated item 0, and are next to everybody, who is far from everybody else."""
    vectors, rated = np.vstack([np.zeros((4, 40)), np.eye(40)]), np.eye(44, 45, k=1)
    rated[:4, 0] = 1
    scorer = SimpleNamespace(
        score=lambda users: np.zeros((len(users), 45)),
        train=sp.csr_matrix(rated),
        user_factors=lambda: vectors,
    )
    choices = {"k": 4, "quorum": quorum, "hubness_reduction": "none"}
    others = np.arange(4, 44)
    free = Quorum(scorer, **choices, max_in_degree=None)
    assert free.eligible(others)[:, 0].all()
    capped = Quorum(scorer, **choices, max_in_degree=8)
    assert 0 < capped.eligible(others)[:, 0].sum() <= 4 * 8 / quorum


FORMS = {
    "loop": (RVD, {"steps": 3}),
    "engine": (FastRVD, {"steps": 3}),
    "pulled engine": (FastRVD, {"steps": 3, "proximal_weight": 0.5}),
    "decoder by sgd": (FastRVD, {"steps": 3, "scope": "decoder", "optimizer": "sgd"}),
    "closed form": (ClosedFormRVD, {}),
    "groups": (ClosedFormRVD, {"groups": 2}),
}


def shorten(defense, lengths):
    """Lists as a limit may leave them: user u keeps ``lengths[u % len(lengths)]`` neighbours."""
    search = defense._neighbors

    def shortened(users):
        rows = search(users)
        keep = np.array(lengths)[np.asarray(users) % len(lengths)]
        return np.where(np.arange(rows.shape[1]) < keep[:, None], rows, -1)

    defense.__dict__["_neighbors"] = shortened
    return defense


@pytest.mark.parametrize("include_user", [False, True])
@pytest.mark.parametrize("kind", [("MF", "rating"), ("AutoRec", "ranking")], ids="-".join)
@pytest.mark.parametrize("form", FORMS)
def test_a_shorter_vicinity_is_served_as_one_of_fewer_neighbours(form, kind, include_user):
    victim, (method, choices) = trained(*kind), FORMS[form]
    lengths = [2, 4, 3, 4] if form == "groups" or not include_user else [2, 4, 0, 1]
    defense = shorten(method(victim, k=4, include_user=include_user, **choices), lengths)
    users = np.array([5, 0, 2, 3, 1, 2, 8])
    found = defense.score(users)
    rows = defense.vicinity(users)
    for user, row, scores in zip(users, rows, found, strict=True):
        length = lengths[user % 4]
        own = [user] if include_user else []
        assert row.tolist()[length:] == own + [-1] * (4 - length)
        if not length:
            continue
        alone = method(victim, k=length, include_user=include_user, **choices)
        assert alone.score(np.array([user]))[0] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("form", ["loop", "engine", "pulled engine", "closed form"])
def test_who_has_no_neighbour_at_all_is_served(form):
    victim, (method, choices) = trained("MF", "ranking"), FORMS[form]
    defense = shorten(method(victim, k=4, **choices), [0, 4])
    scores = defense.score(np.array([0, 1]))
    assert np.isfinite(scores).all()
    if form == "closed form":
        assert scores[0] == pytest.approx(victim.score(np.array([0]))[0], abs=1e-5)
    else:
        loop = shorten(RVD(victim, k=4, **choices), [0, 4])
        assert scores == pytest.approx(loop.score(np.array([0, 1])), abs=1e-4)


@pytest.mark.parametrize(
    ("method", "choices", "message"),
    [
        (Quorum, {"k": 5, "quorum": 6}, "quorum must be at most k = 5, got 6"),
        (Quorum, {"quorum": 0}, "quorum"),
        (Quorum, {"fill": "random"}, "fill"),
        (Quorum, {"neighbors": "none"}, "neighbors"),
        (Quorum, {"k": 0}, "k"),
        (Quorum, {"k": 9, "max_in_degree": 8}, "max_in_degree must be at least k = 9"),
        (Count, {"quorum": 2}, "quorum"),
        (RVD, {"k": 5, "max_in_degree": 4}, "max_in_degree must be at least k = 5.*got 4"),
        (ClosedFormRVD, {"k": 5, "max_in_degree": 0}, "max_in_degree"),
        (ClosedFormRVD, {"k": 5, "max_in_degree": 7.5}, "max_in_degree"),
        (ClosedFormRVD, {"max_in_degree": 90, "neighbors": "random"}, "neighbors='nearest'"),
        (FastRVD, {"max_in_degree": 90, "max_overlap": 0.5}, "max_overlap=1 alone"),
    ],
)
def test_choices_that_cannot_be_kept_are_refused(method, choices, message):
    with pytest.raises(ValidationError, match=message):
        method(trained("MF", "rating"), **choices)
