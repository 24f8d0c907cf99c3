"""A defender answers as the library does, by ids; and says what it cannot do."""

import numpy as np
import pytest
import torch
import yaml

from rvdlib.defenses import DEFENSES, FunctionalRVD, Quorum, VictimModule, defense
from rvdlib.evaluation import recommend
from rvdlib.models import VICTIMS
from rvdlib.serving import (
    UNDEFENDED,
    Arrays,
    CannotFoldIn,
    ListLength,
    RealTimeDefender,
    TooFewUsers,
    UnknownUser,
    UnusableForm,
    UnusableModel,
    UnusableRating,
    default_form,
)
from rvdlib.serving.cache import Cache
from tests.serving.conftest import FORM, FORMS, victim


def listed(form, model):
    """What the library serves everybody, one at a time."""
    for step in form.get("chain", [form]):
        model = defense(DEFENSES[step["method"]], **step["choices"]).wrap(model)
    return model


@pytest.mark.parametrize("regime", ["rating", "ranking"])
@pytest.mark.parametrize("name", VICTIMS)
@pytest.mark.parametrize("form", FORMS)
def test_lists_are_those_of_the_library(name, regime, form):
    trained = victim(name, regime)
    defender = RealTimeDefender(trained, form=FORMS[form])
    everyone, seen = np.arange(40), trained.train
    expected = recommend(listed(FORMS[form], trained), everyone, seen, k=10, block_size=1)
    answers = defender.recommend(everyone, 10)
    assert [list(a.items) for a in answers] == [row[row >= 0].tolist() for row in expected]
    assert any(answers[0].items)
    assert answers == defender.recommend(everyone, 10)


def test_ids_are_the_users_own_and_what_they_have_seen_is_out(ratings):
    defender = RealTimeDefender(victim(), ratings, form=FORM)
    for row in (0, 7):
        answer = defender.recommend(ratings.user_ids[row], 10, evidence=True)
        seen = ratings.item_ids[ratings.matrix[row].indices]
        assert answer.items
        assert not set(answer.items) & set(seen.tolist())
        assert not set(answer.evidence.undefended) & set(seen.tolist())


def test_evidence_counts_who_rated_what_and_what_the_quorum_survives(ratings):
    defender = RealTimeDefender(victim(), ratings, form=FORM)
    bare = RealTimeDefender(victim(), ratings, form=UNDEFENDED)
    for row in range(10):
        answer = defender.recommend(row, 10, evidence=True)
        found = answer.evidence
        rated = {user: set(ratings.matrix[user].indices.tolist()) for user in found.neighbors}
        assert row not in found.neighbors
        assert found.raters == tuple(
            tuple(user for user in found.neighbors if item in rated[user]) for item in answer.items
        )
        assert found.undefended == bare.recommend(row, 10).items
        if answer.items:
            assert found.survives == min(map(len, found.raters)) - 2 >= 0
    assert bare.recommend(0, 5, evidence=True).evidence.survives is None


def test_the_default_is_what_held_best_in_the_regime(tmp_path):
    form = default_form("ranking")
    (tmp_path / "chosen.yml").write_text(yaml.safe_dump({"regime": "ranking", **form}))
    for chosen in ({}, {"form": tmp_path / "chosen.yml"}):
        with pytest.raises(TooFewUsers, match=r"k = \d+ neighbours need more than .* there are 40"):
            RealTimeDefender(victim("MF", "ranking"), **chosen)
    assert [step["method"] for step in default_form("ranking")["chain"]] == [
        "closed_form",
        "quorum",
    ]
    assert [step["method"] for step in default_form("rating")["chain"]] == ["quorum"]


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"method": "closed_from"}, "did you mean 'closed_form'"),
        ({"method": "closed_form", "choices": {"K": 3}}, "no 'K', there are k, .* mean 'k'"),
        (
            {"method": "quorum", "choices": {"k": 10, "quorum": 20}},
            "quorum: quorum must be at most k = 10, got 20$",
        ),
        (
            {"method": "quorum", "choices": {"k": "many"}},
            "quorum: k should be a valid integer.*, got 'many'$",
        ),
        (
            {"method": "count", "choices": 3},
            r"choices of count must map names to values, .* got 3$",
        ),
        ({"method": "count", "choices": 0}, "choices of count must map names to values"),
        ({"method": "count", "choices": {3: 4}}, "choices of count: there is no 3"),
        ({"method": "count", "choices": {"method": "x"}}, "choices of count: there is no 'method'"),
        ({"chain": [], "choices": {"k": 3}}, "a chain has no choices of its own"),
        ({"method": "unobserved_weight"}, "in training"),
        ({"chain": [{"method": "quorum"}, {"method": "closed_form"}]}, "let it be the first"),
        ({"method": "quorum", "chain": []}, "either a method or a chain"),
        ({"regime": "rating"}, "no 'regime'"),
        ({"method": ["x"]}, r"a method is a name, got \['x'\]"),
        ({"method": "count", 3: 4, "x": 5}, "no 'x'"),
        ({"method": "count", "choices": [3]}, "choices of count"),
        (3, "a mapping or a YAML file of one, got 3"),
        ("absent.yml", "absent.yml cannot be read"),
    ],
)
def test_a_form_that_cannot_be_served_is_refused_by_name(form, problem):
    with pytest.raises(UnusableForm, match=problem):
        RealTimeDefender(victim(), form=form)


@pytest.mark.parametrize("user", [99, -1, "3", 3.0, True, None, [1], float("nan"), "'; DROP"])
def test_an_unknown_user_is_named_or_served_what_is_popular(ratings, user):
    defender = RealTimeDefender(victim(), ratings, form=FORM)
    asked = user if not isinstance(user, list) else {"a": 1}
    with pytest.raises(UnknownUser, match="ids are like 0"):
        defender.recommend(asked)
    answer = defender.recommend(asked, 4, fallback="undefended", evidence=True)
    counts = np.bincount(ratings.matrix.indices)
    assert answer.fallback == "popularity"
    assert answer.defense == "none"
    assert answer.items == tuple(np.argsort(-counts, kind="stable")[:4])


def test_a_short_list_says_so_and_a_fallback_fills_it(ratings):
    strict = {"method": "quorum", "choices": {"k": 5, "quorum": 5}}
    with pytest.warns(UserWarning, match=r"about \d+% of users get an empty list.*`rvd tune`"):
        defender = RealTimeDefender(victim(), ratings, form=strict)
    bare = RealTimeDefender(victim(), ratings, form=UNDEFENDED)
    lengths = set()
    for row in range(40):
        own = defender.recommend(row, 6)
        assert (own.short, own.fallback, own.defense) == (6 - len(own.items), None, "quorum")
        for fallback in ("undefended", "popularity"):
            answer = defender.recommend(row, 6, fallback=fallback, evidence=True)
            assert answer.short == own.short
            assert answer.items[: len(own.items)] == own.items
            assert len(set(answer.items)) == 6
            assert answer.fallback == (fallback if own.short else None)
            assert answer.defense == ("quorum" if own.items else "none")
            assert answer.evidence.survives == (0 if own.items else None)
            if fallback == "undefended":
                rest = [i for i in bare.recommend(row, 6).items if i not in own.items]
                assert list(answer.items[len(own.items) :]) == rest[: own.short]
        lengths.add(len(own.items))
    assert {0} < lengths  # some are empty, others not
    numbers = defender.monitors.numbers(defender)
    assert numbers["rvd_empty_lists_total"] > 0
    # What a fallback added is not the defence's: it lists few of the undefended items, or none.
    assert numbers["rvd_list_changed_share_mean"] > 0.5


@pytest.mark.parametrize("n", [0, -3, 31, 2.0, True, "5", None])
def test_a_length_that_no_list_has_is_named(n):
    with pytest.raises(ListLength, match=r"from 1 to 30 \(the items\), got "):
        RealTimeDefender(victim(), form=FORM).recommend(0, n)


def test_numbers_that_are_none_are_refused_and_a_defence_that_fails_falls_back():
    own = Arrays.of(victim())
    for name in ("factors", "offsets", "silence", "decoder"):
        spoilt = getattr(own, name).copy()
        spoilt.flat[3] = np.nan
        with pytest.raises(UnusableModel, match=f"{name} hold a NaN"):
            RealTimeDefender(own.with_rows(**{name: spoilt}), form=FORM)
    defender = RealTimeDefender(own, form=FORM)
    serving = defender._snapshot.serving
    serving.score = lambda users: np.full((1, 30), np.nan, dtype=np.float32)
    with pytest.raises(UnusableModel, match="Quorum cannot serve: scores of row 0 hold NaN"):
        defender.recommend(0, 5)
    bare = RealTimeDefender(own, form=UNDEFENDED).recommend(0, 5)
    answer = defender.recommend(0, 5, fallback="undefended")
    assert (answer.items, answer.fallback) == (bare.items, "undefended")
    assert defender.recommend(0, 5, fallback="popularity").fallback == "popularity"
    assert defender.monitors.numbers(defender)['rvd_fallbacks_total{list="undefended"}'] == 1


def test_scores_beyond_what_numbers_hold_are_refused():
    own = Arrays.of(victim())
    parts = own.factors * 1e20, own.offsets, own.decoder[:, :-2] * 1e20, own.decoder[:, -2]
    with pytest.raises(UnusableModel, match="Arrays cannot serve: scores"):
        RealTimeDefender(Arrays.from_parts(*parts, own.train), form=UNDEFENDED)


def test_a_refused_update_counts_nothing_and_leaves_nothing_in_the_cache():
    form = {"method": "closed_form", "choices": {"k": 5, "hubness_reduction": "mutual"}}
    fresh, defender = (RealTimeDefender(victim(), form=form) for _ in range(2))
    (item,) = defender.recommend(0, 1).items
    expected = defender.monitors.numbers(defender).keys()

    def full():
        raise OSError("the disk is full")

    with pytest.raises(UnknownUser):
        defender.update([(0, item, 1.0)], remove=[99])
    with pytest.raises(OSError, match="the disk is full"):
        defender.update([(0, n, 5.0) for n in range(30)], keep=full)
    assert defender.version == 0
    assert defender.monitors.numbers(defender).keys() == expected
    for each in (fresh, defender):  # the version that was refused has the number of this one
        assert each.update([(0, item, 1.0)], remove=[9, 9]) == 1
    assert fresh.recommend(0, 9, evidence=True) == defender.recommend(0, 9, evidence=True)
    numbers = defender.monitors.numbers(defender)
    counted = ("rvd_clicks_total", 'rvd_click_hits_total{list="defended"}', "rvd_ratings_total")
    assert [numbers[name] for name in (*counted, "rvd_removed_users_total")] == [1, 1, 1, 1]


def test_a_torch_module_is_served_and_says_that_it_cannot_be_updated(ratings):
    module = VictimModule(victim())
    choices = {"k": 4, "steps": 2}
    defender = RealTimeDefender(module, ratings, form=choices)
    expected = recommend(FunctionalRVD(module, 40, **choices), [3], ratings.matrix, k=8)
    answer = defender.recommend(3, 8, evidence=True)
    assert answer.items == tuple(expected[0])
    assert len(answer.evidence.neighbors) == 4
    with torch.no_grad():
        scores = module(torch.tensor([3]))[0].numpy()
    scores[ratings.matrix[3].indices] = -np.inf
    assert answer.evidence.undefended == tuple(np.argsort(-scores, kind="stable")[:8])
    with pytest.raises(CannotFoldIn, match="holds its own data"):
        defender.update([(0, 1, 5.0)])


@pytest.mark.parametrize(
    ("rating", "problem"),
    [
        ((0, 77, 5), "no item 77"),
        (("0", 1, 5), "user '0' must be of the type int"),
        ((0, 1, 7), "from 1 to 5, got 7"),
        ((0, 1, float("nan")), "got nan"),
        ((0, 1, 10**400), "from 1 to 5, got 1000"),
        ((0, 1, -(10**5000)), "got a int that is too long"),
        ((0, 1, "5"), "must be a number"),
        ((0, 1, True), "must be a number"),
    ],
)
def test_a_rating_that_is_none_is_named_and_nothing_changes(rating, problem):
    defender = RealTimeDefender(victim(), form=FORM)
    with pytest.raises(UnusableRating, match=problem):
        defender.update([(0, 1, 4.0), rating])
    assert defender.version == 0
    assert defender.recommend(0) == RealTimeDefender(victim(), form=FORM).recommend(0)


def test_cdae_says_why_it_takes_no_new_user_and_arrays_why_none_changes():
    defender = RealTimeDefender(victim("CDAE"), form=FORM)
    assert defender.update([(0, 1, 4.0)]) == 1
    with pytest.raises(CannotFoldIn, match="serve AutoRec, which reads the profile alone"):
        defender.update([(100, 1, 4.0)])
    with pytest.raises(CannotFoldIn, match="no model says how to make one"):
        RealTimeDefender(Arrays.of(victim()), form=FORM).update([(0, 1, 4.0)])


def test_arrays_keep_their_values_and_ratings_of_the_same_cells_give_the_ids(ratings):
    binary = ratings.matrix.copy()
    binary.data = np.ones_like(binary.data)
    own = Arrays.of(victim(), binary)
    form = FORMS["closed form"]
    expected, found = (RealTimeDefender(own, given, form=form) for given in (None, ratings))
    ids = ratings.item_ids
    for row in range(40):
        plain, named = expected.recommend(row), found.recommend(ratings.user_ids[row].item())
        assert named.scores == plain.scores
        assert named.items == tuple(ids[list(plain.items)].tolist())
    with pytest.raises(UnusableRating, match="must be from 1 to 1, got 5"):
        found.update([(0, 1, 5)])
    stars = RealTimeDefender(Arrays.of(victim(), ratings.matrix), ratings, form=form)
    assert stars.state.base.levels is ratings.levels

    fewer = binary.copy()
    fewer.data[3] = 0
    fewer.eliminate_zeros()
    for other, problem in [
        (
            fewer,
            rf"ratings have a rating of user 0 .* item {binary.indices[3]} .* arrays have none",
        ),
        (binary[:, :29], r"\(40, 29\) users and items, the ratings of \(40, 30\)"),
    ]:
        arrays = Arrays.from_parts(
            own.factors, own.offsets, own.decoder[: other.shape[1], :-2],
            own.decoder[: other.shape[1], -2], other,
        )  # fmt: skip
        with pytest.raises(UnusableModel, match=problem):
            RealTimeDefender(arrays, ratings, form=form)


def test_too_few_users_may_not_be_left():
    defender = RealTimeDefender(victim(), form=FORM)
    with pytest.raises(TooFewUsers, match="k = 5"):
        defender.update(remove=range(35))
    with pytest.raises(UnknownUser, match="no user 99"):
        defender.update(remove=[0, 99])
    assert defender.version == 0
    assert defender.update(remove=range(34)) == 1


def test_the_cache_stays_in_its_bound_and_is_never_out_of_date():
    defender = RealTimeDefender(victim(), form=FORMS["closed form"], cache_bytes=6000)
    fresh = RealTimeDefender(victim(), form=FORMS["closed form"], cache_bytes=0)
    for asked in range(200):
        answer = defender.recommend(asked % 40, 1 + asked % 7)
        assert answer == fresh.recommend(asked % 40, 1 + asked % 7)
        assert 0 < defender.cache.n_bytes <= 6000
    assert fresh.cache.n_bytes == 0
    with pytest.raises(ZeroDivisionError):
        defender.cache.get("bad", lambda: 1 / 0)
    assert defender.cache.get("bad", lambda: 2) == 2


@pytest.mark.parametrize("form", ["closed form", "none"])
def test_an_update_leaves_in_the_cache_what_it_does_not_concern(form):
    defender = RealTimeDefender(victim(), form=FORMS[form])
    defender.recommend(users := list(range(40)))
    for change in ({"ratings": [(3, 7, 1.0)]}, {"ratings": [(77, 1, 4.0)]}, {"remove": [9]}):
        defender.update(**change)
        hits, misses = defender.cache.hits_and_misses
        users = [user for user in users if user not in change.get("remove", ())]
        defender.recommend(users)
        found = np.subtract(defender.cache.hits_and_misses, (hits, misses))
        assert found.sum() == len(users)
        assert found[0] > len(users) * (0.4 if form == "closed form" else 0.95)


def test_what_serving_needs_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cachetools", None)
    with pytest.raises(ImportError, match=r"pip install 'rvdlib\[serving\]'"):
        Cache(10)


def test_a_quorum_alone_serves_arrays_of_anybody():
    rng = np.random.default_rng(0)
    train = victim().train
    arrays = Arrays.from_parts(
        rng.normal(size=(40, 3)), np.zeros(40), rng.normal(size=(30, 3)), np.zeros(30), train
    )
    form = {"method": "quorum", "choices": {"k": 5, "quorum": 2}}
    expected = recommend(Quorum(arrays, k=5, quorum=2), [4], train, k=30)
    answer = RealTimeDefender(arrays, form=form).recommend(4, 30)
    assert list(answer.items) == [item for item in expected[0] if item >= 0]
