import dataclasses
import math

import numpy as np
import pytest

from rvdlib.data import HeldOut, Ratings, leave_one_out, random_holdout
from rvdlib.eligibility import only_eligible
from rvdlib.evaluation import evaluate, recommend, rmse
from rvdlib.seeding import stream

LEVELS = np.arange(1, 6, dtype=np.float32)
TARGETS = np.array([0, 2, 40])
NO_BLOCK_SIZES = (0, -1, -512, 1.5, True, None, "7")
BLOCK_SIZE = "block_size must be a whole number of users, 1 or more"


class Fixed:
    """A recommender with a score table; remembers whom it was asked about."""

    def __init__(self, table):
        self.table = table
        self.asked = []

    def score(self, users):
        self.asked.append(users)
        return self.table[users]


@pytest.fixture(scope="module")
def split():
    """60 users, 50 items; ten users have too few ratings to be tested."""
    rng = np.random.default_rng(0)
    sizes = np.r_[np.full(10, 3), rng.integers(5, 25, size=50)]
    triples = [
        (user, item, rng.choice(LEVELS))
        for user, size in enumerate(sizes)
        for item in rng.choice(50, size, replace=False)
    ]
    users, items, stars = zip(*triples, strict=True)
    ratings = Ratings.from_triples(users, items, stars, name="small", levels=LEVELS)
    return leave_one_out(ratings, stream(0, "split"))


@pytest.fixture
def recommender():
    # One decimal, so that there are ties; beyond the scale at both ends, so that clipping matters.
    return Fixed(np.round(np.random.default_rng(1).normal(3, 2, (60, 50)), 1).astype(np.float32))


def brute_force(table, split, targets, k):
    """Every metric by lists and loops."""
    lists = []
    for user in range(split.train.shape[0]):
        seen = set(split.train[user].indices.tolist())
        free = [item for item in range(split.train.shape[1]) if item not in seen]
        lists.append(sorted(free, key=lambda i: (-table[user, i], i))[:k])
    shares, shares_with_raters = [], []
    for target in targets:
        raters = set(split.train[:, [target]].nonzero()[0].tolist())
        hit = [target in lists[user] for user in range(len(lists)) if user not in raters]
        shares.append(sum(hit) / len(hit))
        shares_with_raters.append(sum(hit) / len(lists))
    hits, gains, errors = [], [], []
    for user, item, stars in zip(*split.test, strict=True):
        hits.append(item in lists[user])
        gains.append(1 / math.log2(lists[user].index(item) + 2) if hits[-1] else 0)
        errors.append((min(max(table[user, item], 1), 5) - stars) ** 2)
    return {
        "target_hit_ratio": np.mean(shares),
        "target_hit_ratio_with_raters": np.mean(shares_with_raters),
        "hit_ratio": np.mean(hits),
        "ndcg": np.mean(gains),
        "rmse": math.sqrt(np.mean(errors)),
        "catalogue_share": len(set().union(*lists)) / split.train.shape[1],
        "list_length": np.mean([len(found) for found in lists]),
    }


@pytest.mark.parametrize("k", [1, 7, 20])
def test_the_summary_agrees_with_brute_force(split, recommender, k):
    expected = brute_force(recommender.table, split, TARGETS, k)
    assert evaluate(recommender, split, TARGETS, k=k).summary() == pytest.approx(expected)


class Choosy(Fixed):
    """Serves what a table allows."""

    def __init__(self, table, allowed):
        super().__init__(table)
        self.allowed = allowed

    def eligible(self, users):
        return self.allowed[users]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
@pytest.mark.parametrize("block_size", [7, 512])
def test_what_is_not_eligible_is_as_if_it_were_seen_but_for_its_score(
    split, recommender, share, block_size
):
    """Ranks and lists are those of scores of −inf, RMSE is that of the scores."""
    table = recommender.table
    allowed = np.random.default_rng(2).random(table.shape) < share
    before = table.copy()
    options = {"k": 20, "block_size": block_size}
    found = evaluate(Choosy(table, allowed), split, TARGETS, **options)
    masked = evaluate(Fixed(np.where(allowed, table, -np.inf)), split, TARGETS, **options)
    for name in ("target_ranks", "test_ranks", "lists"):
        assert np.array_equal(getattr(found, name), getattr(masked, name), equal_nan=True)
    assert np.isinf(found.target_ranks[~allowed[:, TARGETS]]).all()
    plain = evaluate(recommender, split, TARGETS, k=20)
    assert found.rmse == plain.rmse
    assert found.list_length == (found.lists >= 0).sum() / 60 < plain.list_length
    assert plain.list_length == 20
    listed = recommend(Choosy(table, allowed), np.arange(60), split.train, **options)
    assert np.array_equal(listed, found.lists)
    assert np.array_equal(table, before)


def test_whole_numbers_that_are_eligible_keep_all_their_digits():
    scores = np.array([[2**24, 2**24 + 1, 7]])  # as float32 the first two are one number
    chosen = Choosy(scores, np.array([[True, True, False]]))
    found = only_eligible(chosen, np.array([0]), scores)
    assert found.tolist() == [[2**24, 2**24 + 1, -np.inf]]


def test_where_everything_is_eligible_nothing_changes(split, recommender):
    plain = evaluate(recommender, split, TARGETS, k=20)
    chosen = evaluate(
        Choosy(recommender.table, np.ones((60, 50), dtype=bool)), split, TARGETS, k=20
    )
    assert chosen.summary() == plain.summary()


@pytest.mark.parametrize(
    "allowed",
    [np.ones((60, 49), dtype=bool), np.ones((60, 50)), np.ones(60, dtype=bool)],
    ids=["items", "numbers", "users"],
)
def test_eligible_is_a_bool_for_each_score(split, recommender, allowed):
    wrong = Choosy(recommender.table, allowed)
    for serve in (
        lambda: evaluate(wrong, split, TARGETS, k=5),
        lambda: recommend(wrong, [0, 1], split.train, k=5),
    ):
        with pytest.raises(ValueError, match=r"Choosy.eligible gave .*, expected bool of \("):
            serve()


def test_a_score_that_is_nan_is_found_where_it_is_not_eligible_too(split, recommender):
    table = recommender.table.copy()
    table[3, 7] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        evaluate(Choosy(table, np.zeros((60, 50), dtype=bool)), split, TARGETS, k=5)


@pytest.mark.parametrize("block_size", [1, 7, 60, 10_000])
def test_blocks_bound_what_is_scored_at_once_and_change_nothing(split, recommender, block_size):
    whole = evaluate(Fixed(recommender.table), split, TARGETS, k=5)
    blocks = evaluate(recommender, split, TARGETS, k=5, block_size=block_size)
    assert max(map(len, recommender.asked)) <= block_size
    for field in dataclasses.fields(whole):
        assert np.array_equal(getattr(whole, field.name), getattr(blocks, field.name), True) or (
            field.name == "k"
        )


@pytest.mark.parametrize("block_size", [1, 7, 60, 512])
def test_lists_come_in_the_order_of_the_users_and_hold_no_block_too_many(
    split, recommender, block_size
):
    users = np.array([41, 3, 3, 59, 0, 17, 8, 25])  # in any order; who comes twice is served twice
    lists = recommend(recommender, users, split.train, k=7, block_size=block_size)
    assert lists.shape == (8, 7)
    assert max(map(len, recommender.asked)) <= block_size
    for user, found in zip(users, lists, strict=True):
        seen = set(split.train[user].indices.tolist())
        free = [item for item in range(50) if item not in seen]
        assert found.tolist() == sorted(free, key=lambda i: (-recommender.table[user, i], i))[:7]


def test_nobody_gets_no_list(split, recommender):
    assert recommend(recommender, [], split.train, k=7).shape == (0, 7)
    assert recommender.asked == []


@pytest.mark.parametrize(
    ("users", "k", "message"),
    [
        ([0, 60], 7, "users must be row numbers from 0 to 59, got 60"),
        ([-1], 7, "users must be row numbers from 0 to 59, got -1"),
        ([0], 51, r"k must be a whole number between 1 and 50 \(the items\), got 51"),
        ([0], 0, "k must be a whole number between 1 and 50"),
        ([0], True, "k must be a whole number"),
        ([0], 7.0, "k must be a whole number"),
        ([0], "7", "k must be a whole number"),
    ],
)
def test_lists_that_cannot_be_made_are_refused_before_anyone_is_scored(
    split, recommender, users, k, message
):
    with pytest.raises(ValueError, match=message):
        recommend(recommender, users, split.train, k=k)
    assert recommender.asked == []


def test_a_recommender_of_another_catalogue_is_named(split):
    with pytest.raises(
        ValueError, match=r"Fixed.score gave the shape \(2, 49\), expected \(2, 50\)"
    ):
        recommend(Fixed(np.zeros((60, 49))), [0, 1], split.train, k=20)


def test_fake_users_are_never_scored_and_never_count(split, recommender):
    # Thirty fakes whose lists are all targets: counted, they would lift the hit ratio.
    fakes = np.full((30, 50), -9, dtype=np.float32)
    fakes[:, TARGETS] = 9
    poisoned = Fixed(np.vstack([recommender.table, fakes]))
    result = evaluate(poisoned, split, TARGETS, k=5)
    assert np.concatenate(poisoned.asked).tolist() == list(range(60))
    assert result.summary() == evaluate(recommender, split, TARGETS, k=5).summary()
    with pytest.raises(ValueError, match="users must be row numbers from 0 to 59, got 60"):
        evaluate(poisoned, split, TARGETS, k=5, users=[3, 60])


def test_a_rater_of_a_target_cannot_hit_it_however_high_it_scores(split, recommender):
    recommender.table[:, TARGETS] = 99
    result = evaluate(recommender, split, TARGETS, k=5)
    raters = split.train[:, TARGETS].toarray() > 0
    assert raters.any()
    assert np.array_equal(result.raters, raters)
    assert np.array_equal(np.isinf(result.target_ranks), raters)
    assert result.target_hit_ratio == 1
    assert result.target_hit_ratio_with_raters == pytest.approx(1 - raters.mean())


def test_the_share_of_the_catalogue_is_that_of_the_users_evaluated(split, recommender):
    recommender.table[:] = np.arange(50)  # the same order for everybody, less what each has seen
    alone = evaluate(recommender, split, [], k=5, users=[7])
    assert alone.catalogue_share == 5 / 50
    everyone = evaluate(recommender, split, [], k=5)
    assert everyone.catalogue_share == len(np.unique(everyone.lists)) / 50 > 5 / 50
    assert everyone.take(np.array([7, 7])).catalogue_share == alone.catalogue_share


def test_a_shorter_list_serves_no_item_more(split, recommender):
    recommender.table[:, 3:] = -np.inf
    assert evaluate(recommender, split, [], k=5).catalogue_share == 3 / 50


def test_hits_and_users_of_each_target_make_up_the_target_hit_ratio(split, recommender):
    result = evaluate(recommender, split, TARGETS, k=5)
    hits, users = (np.array(counts) for counts in result.target_counts.values())
    assert users.tolist() == (~result.raters).sum(axis=0).tolist()
    assert (hits / users).mean() == pytest.approx(result.target_hit_ratio)


def test_users_without_a_test_item_count_for_targets_only(split, recommender):
    result = evaluate(recommender, split, TARGETS, k=20)
    assert np.flatnonzero(np.isnan(result.test_ranks)).tolist() == list(range(10))
    assert np.flatnonzero(np.isnan(result.squared_errors)).tolist() == list(range(10))
    only = evaluate(recommender, split, TARGETS, k=20, users=np.arange(10)).summary()
    assert {name for name, value in only.items() if np.isnan(value)} == {
        "hit_ratio",
        "ndcg",
        "rmse",
    }


def test_a_sample_of_users_is_the_part_of_the_whole(split, recommender):
    sample = np.random.default_rng(0).permutation(60)[:20]
    part = evaluate(recommender, split, TARGETS, k=5, users=sample)
    taken = evaluate(recommender, split, TARGETS, k=5).take(sample)
    assert part.users.tolist() == sample.tolist()
    assert 0 < part.raters.sum() < part.raters.size
    for field in dataclasses.fields(part):
        assert np.array_equal(getattr(part, field.name), getattr(taken, field.name), True)


def test_no_targets_leave_accuracy_alone(split, recommender):
    without = evaluate(recommender, split, [], k=20).summary()
    assert np.isnan(without.pop("target_hit_ratio"))
    assert np.isnan(without.pop("target_hit_ratio_with_raters"))
    assert without.items() <= evaluate(recommender, split, TARGETS, k=20).summary().items()


def test_a_recommender_that_does_not_predict_stars_has_no_rmse(split, recommender):
    recommender.predicts_stars = False
    summary = evaluate(recommender, split, TARGETS, k=20).summary()
    assert np.isnan(summary["rmse"])
    assert summary["hit_ratio"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": []}, "one real user or more, got none"),
        ({"users": [-1]}, "users must be row numbers from 0 to 59, got -1"),
        ({"users": [4, 4]}, "users repeat: 4 stands there twice"),
        ({"targets": [50]}, "targets must be item indices from 0 to 49, got 50"),
        ({"targets": [3, 3]}, "targets repeat: 3 stands there twice"),
        ({"targets": 3}, r"targets must be item indices in one dimension, got 3 \(of one: \[3\]\)"),
        ({"targets": [-1]}, "targets must be item indices from 0 to 49, got -1"),
        ({"k": 0}, "k must be a whole number between 1 and 50"),
        *(({"block_size": size}, BLOCK_SIZE) for size in NO_BLOCK_SIZES),
    ],
)
def test_arguments_out_of_range_are_refused(split, recommender, arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate(recommender, split, **({"targets": TARGETS, "k": 20} | arguments))


@pytest.mark.parametrize("size", NO_BLOCK_SIZES)
def test_what_is_no_block_size_is_refused_by_every_function_that_serves_in_blocks(
    split, recommender, size
):
    with pytest.raises(ValueError, match=BLOCK_SIZE):
        recommend(recommender, [0], split.train, k=3, block_size=size)
    with pytest.raises(ValueError, match=BLOCK_SIZE):
        rmse(recommender, split.test, split.ratings.levels, block_size=size)


def test_scores_of_a_wrong_shape_or_with_nan_are_refused(split, recommender):
    with pytest.raises(ValueError, match=r"Fixed\.score gave the shape \(60, 49\)"):
        evaluate(Fixed(recommender.table[:, :49]), split, TARGETS, k=20)
    recommender.table[59, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        evaluate(recommender, split, TARGETS, k=20, block_size=7)
    with pytest.raises(ValueError, match="NaN"):
        rmse(recommender, HeldOut(np.array([59]), np.array([3]), np.array([4.0])), LEVELS)


def test_implicit_data_have_rankings_and_no_rmse(split, recommender):
    ratings = split.ratings.matrix.tocoo()
    ones = Ratings.from_triples(ratings.row, ratings.col, np.ones(ratings.nnz), name="implicit")
    implicit = leave_one_out(ones, stream(0, "split"), min_ratings=3)
    evaluation = evaluate(recommender, implicit, [0, 1], k=3)
    assert np.isnan(evaluation.rmse)
    assert 0 <= evaluation.hit_ratio <= 1
    assert np.isnan(rmse(recommender, implicit.test, ones.levels))


def test_a_random_split_is_for_rmse_not_for_evaluate(split, recommender):
    holdout = random_holdout(split.ratings, stream(0, "split"))
    with pytest.raises(ValueError, match="leave-one-out"):
        evaluate(recommender, holdout, TARGETS, k=20)


@pytest.mark.parametrize("block_size", [1, 7, 512])
def test_rmse_on_a_random_split_in_any_order_agrees_with_numpy(split, recommender, block_size):
    held_out = random_holdout(split.ratings, stream(0, "split")).test
    order = np.random.default_rng(0).permutation(len(held_out.users))
    held_out = HeldOut(*(column[order] for column in held_out))
    assert len(np.unique(held_out.users)) < len(held_out.users)
    predictions = np.clip(recommender.table[held_out.users, held_out.items], 1, 5)
    expected = np.sqrt(np.mean((predictions.astype(float) - held_out.stars) ** 2))
    assert rmse(recommender, held_out, LEVELS, block_size=block_size) == pytest.approx(expected)
    assert max(map(len, recommender.asked)) <= block_size


def test_rmse_on_the_test_items_is_that_of_evaluate(split, recommender):
    assert rmse(recommender, split.test, LEVELS) == pytest.approx(
        evaluate(recommender, split, TARGETS, k=20).rmse
    )


def of_sizes(n_items, *sizes):
    """A split of users with these numbers of ratings, of which evaluation holds out two."""
    rng = np.random.default_rng(0)
    pairs = [
        (user, item)
        for user, size in enumerate(sizes)
        for item in rng.choice(n_items, size, replace=False)
    ] + [(len(sizes), item) for item in range(3)]
    extra = [(len(sizes) + 1, item) for item in range(n_items)]  # so that every item is there
    users, items = zip(*pairs, *extra, strict=True)
    ratings = Ratings.from_triples(users, items, np.ones(len(users)), name="s", levels=LEVELS)
    return leave_one_out(ratings, stream(0, "split"))


@pytest.mark.parametrize("k", [17, 20, 50])
def test_a_list_that_holds_all_that_is_left_to_rank_is_refused(k):
    split = of_sizes(20, 5, 6, 7)  # the least active of all has 17 items left
    with pytest.raises(ValueError, match=rf"k .*{k}.*20|k must be .* 1 and 20 .*, got {k}"):
        evaluate(Fixed(np.zeros((5, 20))), split, [], k=k)


def test_a_list_that_holds_all_that_some_have_left_is_a_warning_and_names_the_remedy():
    split = of_sizes(20, 5, 6, 16)
    recommender = Fixed(np.random.default_rng(0).random((5, 20)))
    message = r"k = 6 of 20 items: 1 of 3 users have no more than that left .*; a k below 6 avoids"
    with pytest.warns(UserWarning, match=message):
        whole = evaluate(recommender, split, [], k=6, users=[0, 1, 2])
    assert whole.test_ranks[2] <= 6
    evaluate(recommender, split, [], k=5, users=[0, 1, 2])
    evaluate(recommender, split, [], k=6, users=[0, 1])
