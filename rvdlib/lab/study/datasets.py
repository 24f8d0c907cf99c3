"""What the protocol finds in a data set: its size, its long tail, and where targets lie in it."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from rvdlib.data import Split
from rvdlib.lab.experiment.splits import split_of_seed as split_dataset
from rvdlib.lab.study import tables
from rvdlib.seeding import stream
from rvdlib.threat_model import build_threat_model, draw_targets

TARGET_SETS = ("unpopular", "random")


def describe(split: Split, attack_size: float = 0.03) -> dict:
    """Facts about a data set, and about what leave-one-out leaves of it.

    Returns:
        Name → number. ``top_share`` is the share of all ratings that fall on the tenth of the items
        rated most; ``filler_size`` and ``n_fakes`` are the budget of an attack of ``attack_size``;
        what begins with ``train`` counts training ratings, the rest counts all.
    """
    ratings = split.ratings
    per_item = np.sort(ratings.matrix.getnnz(axis=0))[::-1]
    in_train = split.train.getnnz(axis=0)
    budget = build_threat_model(split, np.array([0]), stream(0), attack_size=attack_size)
    return {
        "dataset": ratings.name,
        "users": ratings.n_users,
        "items": ratings.n_items,
        "ratings": ratings.n_ratings,
        "density": ratings.density,
        "lowest_rating": float(ratings.levels[0]),
        "highest_rating": float(ratings.levels[-1]),
        "rating_levels": len(ratings.levels),
        "ratings_per_user_median": float(np.median(ratings.matrix.getnnz(axis=1))),
        "top_share": per_item[: -(-ratings.n_items // 10)].sum() / ratings.n_ratings,
        "filler_size": budget.filler_size,
        "n_fakes": budget.n_fakes,
        "users_evaluated": len(split.test.users),
        "train_ratings": split.train.nnz,
        "train_unpopular_items": int(((in_train >= 1) & (in_train <= 5)).sum()),
        "train_unrated_items": int((in_train == 0).sum()),
    }


def long_tail(split: Split) -> pd.DataFrame:
    """Items by falling number of ratings: dataset, catalogue_share, rating_share, both cumulated."""
    per_item = np.sort(split.ratings.matrix.getnnz(axis=0))[::-1]
    return pd.DataFrame(
        {
            "dataset": split.ratings.name,
            "catalogue_share": np.arange(1, len(per_item) + 1) / len(per_item),
            "rating_share": per_item.cumsum() / per_item.sum(),
        }
    )


def target_popularity(dataset: str, seeds: Iterable[int]) -> pd.DataFrame:
    """The targets that the study attacks: dataset, seed, target_set, item, train_ratings."""
    frames = []
    for seed in seeds:
        split = split_dataset(dataset, seed)
        in_train = split.train.getnnz(axis=0)
        for target_set in TARGET_SETS:
            items = draw_targets(split, target_set, stream(seed, "targets", target_set))
            columns = {"item": items, "train_ratings": in_train[items]}
            frames.append(
                pd.DataFrame({"dataset": dataset, "seed": seed, "target_set": target_set} | columns)
            )
    return pd.concat(frames, ignore_index=True)


def answer(facts: pd.DataFrame, targets: pd.DataFrame) -> str:
    """The answer of 01, of rows of :func:`describe` and of :func:`target_popularity`."""
    rated = targets.groupby(["dataset", "target_set"])["train_ratings"].median().unstack()
    fakes = facts.set_index("dataset")["n_fakes"]
    top, rare, theirs = (
        tables.span(100 * shares, "{:.0f}") + " %"
        for shares in (
            facts["top_share"],
            facts["train_unpopular_items"] / facts["items"],
            fakes / (fakes + rated["unpopular"]),
        )
    )
    median, unpopular, n = (
        tables.span(counts, "{:g}") for counts in (rated["random"], rated["unpopular"], fakes)
    )
    return tables.answer(
        f"On a tenth of the items fall {top} of the ratings, while {rare} of the items have 1 to 5 "
        "training ratings.",
        f"A random target has {median} training ratings (median), an unpopular one {unpopular}.",
        f"The {n} fakes of a 3 % attack give each target as many top ratings: of an unpopular "
        f"target's ratings, {theirs} are then the attacker's.",
    )
