"""Who attacks, by how much they know, and what they promote."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from rvdlib import attacks, paths
from rvdlib.data import Ratings, Split
from rvdlib.seeding import stream
from rvdlib.strict_yaml import read_yaml
from rvdlib.threat_model import build_threat_model

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


def fakes(
    name: str,
    split: Split,
    targets: Targets,
    seed: int,
    *,
    budget: float,
    regime: str,
    known: Mapping,
) -> sp.csr_matrix:
    """The profiles (m, items) of an attack.

    Args:
        budget: fakes per real user.
        known: the choices of the defence, of which ``vicinity`` knows how it looks for neighbours.

    Raises:
        ValueError: if the budget buys no fake, or the attack cannot be made on such data.
    """
    items = all_of(targets)
    size = min(max(1, split.ratings.mean_profile_size), split.train.shape[1] - len(items))
    threat = build_threat_model(
        split, items, stream(seed, "visible"), attack_size=budget, filler_size=size
    )
    options = dict(read_yaml(paths.PARAMS / "attacks.yml")[regime].get(name, {}))
    if name == "vicinity":
        told = {"k", "distance", "hubness_reduction"} & known.keys()
        options |= {each: known[each] for each in told}
        options |= {"copies": min(known["quorum"], threat.n_fakes)} if "quorum" in known else {}
    return attacks.craft(name, threat, stream(seed, "attack", name), **options)


def some_users(ratings: Ratings, rows: np.ndarray) -> Ratings:
    """The ratings of these users alone; the catalogue stays whole."""
    starts = ratings.matrix.indptr
    cells = np.concatenate([np.arange(starts[row], starts[row + 1]) for row in rows])
    times = None if ratings.times is None else ratings.times[cells]
    return replace(
        ratings, matrix=ratings.matrix[rows], user_ids=ratings.user_ids[rows], times=times
    )
