import numpy as np
import pandas as pd
import pytest

from rvdlib.data import Ratings, leave_one_out
from rvdlib.lab.experiment.cells import Scenario, carry_out
from rvdlib.lab.study.datasets import (
    TARGET_SETS,
    answer,
    describe,
    long_tail,
    split_dataset,
    target_popularity,
)
from rvdlib.seeding import stream


@pytest.fixture(scope="module")
def split():
    """20 users with 6 ratings each; item 0 is rated by everybody, the others by three at most."""
    users = np.repeat(np.arange(20), 6)
    items = np.concatenate([[0, *range(1 + 2 * u, 6 + 2 * u)] for u in range(20)])
    stars = 1 + (users + items) % 4 / 2
    ratings = Ratings.from_triples(users, items, stars, name="small", levels=[1, 1.5, 2, 2.5])
    return leave_one_out(ratings, stream(3, "split"))


def test_facts_are_those_of_a_brute_force_count(split):
    dense = split.ratings.matrix.toarray()
    in_train = (split.train.toarray() > 0).sum(axis=0)
    per_item = sorted((dense > 0).sum(axis=0), reverse=True)
    n_top = int(np.ceil(dense.shape[1] / 10))
    assert describe(split, attack_size=0.1) == {
        "dataset": "small",
        "users": 20,
        "items": dense.shape[1],
        "ratings": 120,
        "density": 120 / dense.size,
        "lowest_rating": 1.0,
        "highest_rating": 2.5,
        "rating_levels": 4,
        "ratings_per_user_median": 6.0,
        "top_share": sum(per_item[:n_top]) / 120,
        "filler_size": 6,
        "n_fakes": 2,
        "users_evaluated": 20,
        "train_ratings": 80,
        "train_unpopular_items": sum(1 <= n <= 5 for n in in_train),
        "train_unrated_items": sum(n == 0 for n in in_train),
    }
    assert sum(n == 0 for n in in_train) > 0


def test_the_long_tail_rises_ever_more_slowly_to_all_ratings_on_all_items(split):
    tail = long_tail(split)
    assert tail["rating_share"].iloc[0] == pytest.approx(20 / 120)
    assert tail.iloc[-1][["catalogue_share", "rating_share"]].tolist() == [1.0, 1.0]
    steps = np.diff(tail["rating_share"], prepend=0)
    assert (np.diff(steps) <= 1e-12).all()


def test_ml_100k_is_described_as_it_was_published(ml100k):
    facts = describe(split_dataset("ml-100k", 0))
    assert facts["filler_size"] == 106
    assert facts["n_fakes"] == 28
    assert facts["train_ratings"] == 100_000 - 2 * 943
    assert facts["top_share"] == pytest.approx(0.429, abs=0.001)


def test_the_targets_shown_are_the_ones_that_the_study_attacks(ml100k):
    shown = target_popularity("ml-100k", [2])
    for target_set in TARGET_SETS:
        attacked = carry_out(
            Scenario(dataset="ml-100k", victim="MF", regime="rating", target_set=target_set, seed=2)
        )
        rows = shown[shown["target_set"] == target_set]
        assert rows["item"].tolist() == attacked.targets.tolist()
        counts = np.bincount(attacked.split.train.indices, minlength=ml100k.n_items)
        assert rows["train_ratings"].tolist() == counts[attacked.targets].tolist()


def test_the_answer_spans_the_data_sets():
    facts = pd.DataFrame(
        {
            "dataset": ["a", "b"],
            "items": [100, 1000],
            "top_share": [0.6, 0.4],
            "train_unpopular_items": [20, 300],
            "n_fakes": [28, 12],
        }
    )
    targets = pd.DataFrame(
        {
            "dataset": [*"aaabb"],
            "target_set": ["random", "random", "unpopular", "random", "unpopular"],
            "train_ratings": [10, 20, 4, 7, 4],
        }
    )
    tail, rated, fakes = answer(facts, targets).splitlines()[2:]
    assert "fall 40 to 60 % of the ratings, while 20 to 30 % of the items have" in tail
    assert rated == "- A random target has 7 to 15 training ratings (median), an unpopular one 4."
    assert "The 12 to 28 fakes" in fakes
    assert "75 to 88 % are then the attacker's." in fakes
