"""Who attacks, by how much they know, and what they promote."""

from collections.abc import Mapping

import numpy as np

from rvdlib.data import Split

# Attack → what its attacker knows, growing.
KNOWLEDGE = {
    "random": "public averages",
    "low_clone": "40 % of the profiles",
    "pga": "40 % of the profiles, and optimises",
    "centroid": "40 % of the profiles, and that neighbours count",
    "vicinity": "40 % of the profiles, and the defence with its choices",
}
STRONG = {"pga", "centroid", "vicinity"}  # who optimise, or know that or how neighbours count
DEFENDERS = ("low_clone", "vicinity")  # whom the defender simulates, with seeds of his own
N_TARGETS = 5
COLD = 5  # ratings of a cold item, at most

Targets = Mapping[str, np.ndarray]  # cold, middling or yours → (T,) item indices, none in two sets


def draw(split: Split, yours: np.ndarray | None, rng: np.random.Generator) -> Targets:
    """What a repetition promotes, all at once: some of your own list; else cold items (1 to 5 training
    ratings, or the least rated tenth) and middling ones (the middle fifth of all others).

    Raises:
        ValueError: if there is no item to promote: rated in training, but not by every user.
    """
    most = max(1, min(N_TARGETS, split.train.shape[1] // 8))

    def some(items: np.ndarray) -> np.ndarray:
        return np.sort(rng.choice(items, min(most, len(items)), replace=False))

    counts = np.bincount(split.train.indices, minlength=split.train.shape[1])
    rated = np.flatnonzero((counts > 0) & (counts < split.train.shape[0]))
    if yours is not None:
        if len(full := yours[counts[yours] == split.train.shape[0]]):
            raise ValueError(
                f"{split.ratings.name}: every user has rated the item "
                f"{split.ratings.item_ids[full[0]]}, so nobody is left to whom it could be promoted"
            )
        return {"yours": some(yours)}
    if not len(rated):
        raise ValueError(
            f"{split.ratings.name}: no item has a training rating of some users, not of all, so none can be "
            "promoted"
        )
    cold = rated[counts[rated] <= COLD]
    if len(cold) < most:
        by_count = rated[np.argsort(counts[rated], kind="stable")]
        cold = by_count[: max(most, len(rated) // 10)]
    sets, others = {"cold": some(cold)}, np.setdiff1d(rated, cold)
    if len(others) >= 5 * most:
        low, high = np.quantile(counts[others], [0.4, 0.6])
        sets["middling"] = some(others[(counts[others] >= low) & (counts[others] <= high)])
    return sets


def all_of(targets: Targets) -> np.ndarray:
    return np.sort(np.concatenate(list(targets.values())))
