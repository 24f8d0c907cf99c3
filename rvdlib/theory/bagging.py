"""PORE's certificate for bagging: what many models, each trained on few users, show whatever fakes do.

Jia et al. 2023, "PORE: Provably Robust Recommender Systems against Data Poisoning Attacks" (USENIX
Security). Each model is trained on s of the n users, drawn without replacement; if u is among them,
it votes for N′ items for u, and u is served the k items of most votes. p_i is the probability that a
model votes for i for u. With e fakes, n′ = n + e, a model has drawn none of them with probability
c = C(n, s)/C(n′, s), and is then a model of the clean data; so that

    p′_i ≥ c p_i,    p′_j ≤ c p_j + δ,    Σ_{j∈C} p′_j ≤ c Σ_{j∈C} p_j + min(N′, |C|) δ,
    δ = s/n′ − c s/n

as δ is the share of models that have drawn both u and a fake, and each of these votes for N′ items.

Bagging is a training of its own, of thousands of models: none is run here. :func:`most_fakes` says how
many fakes it could stand at best, and where that is none there is nothing to run.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln


def survives(
    low: ArrayLike,
    high: ArrayLike,
    n_users: int,
    n_fakes: int,
    *,
    sample: int,
    voted: int,
    k: int,
) -> np.ndarray:
    """Whether each item stays among the k of most votes, whatever so many fakes do.

    Proof. If i is not among them, k others have at least p′_i. Of these take the w whose p_j are the
    lowest: the least of their p′ is at most the mean, (c Σ p_j + min(N′, w) δ)/w, and no k items have
    a larger one for any w than the k other items of the largest p_j. So i stays if c p_i is above it
    for some w.

    Args:
        low: (items,), at most p_i; ``high``: at least p_i.
        sample: s; ``voted``: N′, items that a model votes for.

    Returns:
        (items,) bool.
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    if not 1 <= sample <= n_users:
        raise ValueError(f"sample must be between 1 and {n_users}, the users, got {sample}")
    clean, both = _chances(n_users, n_fakes, sample)
    sizes = np.arange(1, k + 1)
    found = np.ones(len(low), dtype=bool)
    order = np.argsort(-high, kind="stable")
    for item in range(len(low)):
        others = order[order != item][:k]
        if len(others) < k:
            continue
        weakest = np.cumsum(high[others][::-1])
        bounds = (clean * weakest + np.minimum(voted, sizes) * both) / sizes
        found[item] = clean * low[item] > bounds.min()
    return found


def most_fakes(n_users: int, *, sample: int, voted: int, k: int) -> int:
    """The most fakes that any item is certified against, were all models unanimous and without number.

    Then N′ items have p = s/n, all others none; −1 if not even without fakes an item is certified.
    """
    chances = np.zeros(max(voted, 1) + k)
    chances[:voted] = sample / n_users
    known = {"sample": sample, "voted": voted, "k": k}
    found = -1
    while survives(chances, chances, n_users, found + 1, **known)[0]:
        found += 1
    return found


def _chances(n_users: int, n_fakes: int, sample: int) -> tuple[float, float]:
    """c, and δ."""
    n_all = n_users + n_fakes

    def choose(n):
        return gammaln(n + 1) - gammaln(n - sample + 1)

    clean = float(np.exp(choose(n_users) - choose(n_all)))
    return clean, sample / n_all - clean * sample / n_users
