"""Made-up ratings of any size: low-rank tastes, skewed popularity and activity."""

import numpy as np

from rvdlib.data.ratings import Ratings
from rvdlib.seeding import check_generator

LEAST_PROFILE = 5
# Shares of the ratings below 2, 3, 4 and 5 stars, near those of MovieLens-100K.
STAR_QUANTILES = (0.06, 0.17, 0.44, 0.78)
_BLOCK = 2**18


def synthetic_ratings(
    n_users: int,
    n_items: int,
    n_ratings: int,
    *,
    rng: np.random.Generator,
    rank: int = 8,
    noise: float = 0.5,
) -> Ratings:
    """Draw ``n_ratings`` ratings of 1 to 5 stars.

    Every user rates at least 5 items and at most half of them, every item is rated at least once.
    Popularity follows Zipf's law, profile sizes are log-normal. What a user thinks of an item is
    p_u · q_i / √rank with standard normal p and q, plus the item's quality, plus normal noise;
    stars are quantiles of that. Memory grows with the ratings, not with users × items.

    Args:
        rank: dimensions of taste.
        noise: standard deviation of the noise; taste has 1, quality 0.7.

    Raises:
        ValueError: if so many ratings do not fit the users and items.
    """
    check_generator(rng)
    most = n_items // 2
    if n_users < 1 or most < LEAST_PROFILE:
        raise ValueError(
            f"n_users must be at least 1 and n_items at least {2 * LEAST_PROFILE}, "
            f"got {n_users} and {n_items}"
        )
    fewest = max(LEAST_PROFILE * n_users, n_items)
    if not fewest <= n_ratings <= most * n_users:
        raise ValueError(
            f"n_ratings must be between {fewest:,} ({LEAST_PROFILE} a user, 1 an item) and "
            f"{most * n_users:,} (half of all pairs), got {n_ratings:,}"
        )
    users, items = _draw_pairs(_profile_sizes(n_users, n_ratings, most, rng), n_items, rng)
    user_factors = rng.standard_normal((n_users, rank), dtype=np.float32)
    item_factors = rng.standard_normal((n_items, rank), dtype=np.float32)
    quality = rng.normal(0, 0.7, n_items)
    opinions = quality[items] + rng.normal(0, noise, n_ratings)
    for start in range(0, n_ratings, _BLOCK):
        block = slice(start, start + _BLOCK)
        taste = (user_factors[users[block]] * item_factors[items[block]]).sum(axis=1)
        opinions[block] += taste / np.sqrt(rank)
    stars = 1 + np.searchsorted(np.quantile(opinions, STAR_QUANTILES), opinions)
    return Ratings.from_triples(
        users, items, stars, name=f"synthetic-{n_users}x{n_items}", levels=(1, 2, 3, 4, 5)
    )


def _profile_sizes(n_users: int, n_ratings: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Log-normal profile sizes between LEAST_PROFILE and ``most`` that add up to ``n_ratings``."""
    activity = rng.lognormal(size=n_users)
    sizes = np.full(n_users, LEAST_PROFILE)
    while left := n_ratings - sizes.sum():
        share = np.where(sizes < most, activity, 0)
        sizes = np.minimum(sizes + rng.multinomial(left, share / share.sum()), most)
    return sizes


def _draw_pairs(
    sizes: np.ndarray, n_items: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (user, item) pairs: items by popularity, without repeats in a profile.

    Each round draws what is missing, with replacement; repeats fall out and are drawn again.
    Users who have all their items leave the rounds.
    """
    popularity = rng.permutation(1 / np.arange(1, n_items + 1))
    cumulative = np.cumsum(popularity / popularity.sum())
    # A place for every item first, drawn among all places of all profiles.
    users = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))[:n_items]
    pairs = users * n_items + np.arange(n_items)
    wanted, finished = sizes.copy(), []
    while True:
        owners = pairs // n_items
        missing = wanted - np.bincount(owners, minlength=len(sizes))
        full = missing == 0
        finished.append(pairs[full[owners]])
        if full.all():
            return np.divmod(np.concatenate(finished), n_items)
        pairs = pairs[~full[owners]]
        wanted[full] = 0
        users = np.repeat(np.arange(len(sizes)), missing)
        items = np.searchsorted(cumulative, rng.random(len(users)), side="right")
        pairs = np.concatenate([pairs, users * n_items + items.clip(max=n_items - 1)])
        pairs.sort()
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
