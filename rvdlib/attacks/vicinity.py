"""VicinityAttack: the attacker who knows that he is up against RVD. Our own.

RVD fine-tunes on the k nearest of whom it serves, so fakes must be among them. The attacker trains a
surrogate of the victim (:mod:`rvdlib.attacks.surrogate`) on the users that he sees, finds their k
nearest there, and clones m of them:

- ``hubs``: those who stand in most lists;
- ``cover``: one after the other, whoever stands in most lists that hold no fake so far, their own
  among them; when all hold one, from the start again;
- ``allotted``: dealt out by user, as Wang et al. 2024 do ("Uplift modeling for target user attacks on
  recommender systems", arXiv 2403.02692): as many beside a user as are missing there to a quorum,
  the cheapest gains first (:func:`rvdlib.attacks.sources.allotted`);
- or, beside chosen ``target_users``, those users and then their neighbours.

Against a defence that asks for a quorum of q raters among neighbours, a fake alone says nothing: of
each source there are ``copies`` clones, and to ``allotted`` these are the quorum.

Sources are looked for among users with F + copies − 1 ratings at least, if there are any. A clone
keeps F ratings of its source, ``random`` ones or the ``nearest``: those that, together with the
targets at the top rating, place it nearest to the source in the surrogate, taken greedily. Where the
source has fewer, random items fill up, at their visible mean. A source that must serve again gives
random ones.

Ratings are ``lowered``. A user's bias takes up what they have in common, so that the clone stays
where it is, and the less it expects of everything, the more do its top ratings say for the targets.
The low clone attack (:mod:`rvdlib.attacks.clone`) lowers as well, and knows of no neighbourhood: what
it does less is owed to where clones stand. The forebear of *hubs* is the power user attack of Wilson
and Seminario 2013 (:mod:`rvdlib.attacks.power_user`), which copies those who stand in most
neighbourhoods of rating similarity and knows of no defence; of ``target_users``, UNAttack (Chen et al.,
arXiv 1912.04109), which is made against recommenders that are neighbourhoods.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field, SkipValidation

from rvdlib.arguments import as_indices
from rvdlib.attacks.base import attack
from rvdlib.attacks.profiles import assemble, filler_candidates, item_moments
from rvdlib.attacks.sources import allotted, beside, cover, hubs, long_enough
from rvdlib.attacks.surrogate import USER, Surrogate, SurrogateConfig
from rvdlib.data import round_to_levels
from rvdlib.neighbors import NeighborSearch
from rvdlib.neighbors.balanced import BalancedSearch
from rvdlib.threat_model import ThreatModel


class VicinityAttackConfig(SurrogateConfig):
    k: int = Field(
        30, ge=1, description="how many neighbours the attacker believes the defence to take"
    )
    distance: Literal["euclidean", "cosine", "inner_product", "profile_overlap"] = Field(
        "euclidean", description="of the neighbours, as the attacker believes"
    )
    hubness_reduction: Literal["none", "local_scaling", "mutual"] = Field(
        "none", description="of the neighbours, as the attacker believes"
    )
    max_in_degree: int | None = Field(
        None,
        ge=1,
        description="in how many neighbourhoods the defence lets a user stand, as the attacker "
        "believes; below k: k; None: any number",
    )
    sources: Literal["hubs", "cover", "allotted"] = Field("cover", description="whom to clone")
    copies: int = Field(
        1,
        ge=1,
        description="clones of each source; as many as the quorum that the attacker believes the "
        "defence to ask for",
    )
    target_users: SkipValidation[Sequence[int] | None] = Field(
        None,
        description="rows of the visible users to stand beside, in place of sources (a list of whole "
        "numbers)",
    )
    fillers: Literal["nearest", "random"] = Field(
        "nearest", description="which of the source's ratings are kept"
    )
    lowered: float = Field(
        0.5, ge=0, le=1, description="by how much, as a share of the scale's range"
    )
    sweeps: int = Field(20, ge=1, description="of alternating least squares")


@attack(
    "vicinity",
    "Our own, made against RVD: low clones of users who stand in the neighbourhoods of the most others.",
    VicinityAttackConfig,
    knows_defense=True,
)
def vicinity(
    threat: ThreatModel, rng: np.random.Generator, config: VicinityAttackConfig
) -> sp.csr_matrix:
    """Low clones in many neighbourhoods, or beside chosen users.

    Raises:
        ValueError: if ``target_users`` are not visible users.
    """
    target_users = config.target_users
    if target_users is not None:
        target_users = as_indices("target_users", target_users, threat.visible.shape[0])
        if not len(target_users):
            raise ValueError("target_users must be one visible user or more, got none")
    surrogate = config.train(threat, rng, config.sweeps)
    neighbors = neighbors_in(
        surrogate, config.k, config.distance, config.hubness_reduction, config.max_in_degree
    )
    if target_users is not None:
        order = np.repeat(beside(neighbors, target_users), config.copies)
    else:
        order = _sources(threat, neighbors, config.sources, config.copies)
    drop = config.lowered * threat.rating_range
    near = surrogate if config.fillers == "nearest" else None
    items, stars = clone_sources(threat, rng, np.resize(order, threat.n_fakes), drop, near)
    return assemble(threat, items, stars)


def _sources(threat: ThreatModel, neighbors: np.ndarray, how: str, copies: int) -> np.ndarray:
    """Rows of visible users: the sources of the fakes, in order; if they are fewer, to be repeated."""
    # Of a source with as many ratings as fillers, all clones would be the same.
    users = long_enough(threat, threat.filler_size + copies - 1)
    if how == "allotted":
        rated = threat.visible[:, threat.targets].toarray() > 0
        return allotted(neighbors, users, threat.n_fakes, rated, copies)
    # All clones of a source enter the same lists: one that holds one holds all.
    ranked = {"hubs": hubs, "cover": cover}[how](neighbors, users, -(-threat.n_fakes // copies))
    return np.repeat(ranked, copies)


def neighbors_in(
    surrogate: Surrogate,
    k: int,
    distance: str = "euclidean",
    hubness_reduction: str = "none",
    max_in_degree: int | None = None,
) -> np.ndarray:
    """The k nearest of each visible user, nearest first: (visible users, k), or all others.

    Where ``max_in_degree`` leaves a list shorter, the user's own row fills it up.
    """
    n_users = len(surrogate.users)
    if n_users == 1:
        return np.empty((1, 0), dtype=np.intp)
    k, users = min(k, n_users - 1), np.arange(surrogate.n_visible)
    search = NeighborSearch
    if max_in_degree is not None:
        search = partial(BalancedSearch, max_in_degree=max(k, max_in_degree))
    found = search(
        surrogate.users[:, 1:-1],
        k,
        distance,
        hubness_reduction=hubness_reduction,
        ratings=surrogate.ratings,
    )(users)
    return np.where(found < 0, users[:, None], found)


def clone_sources(
    threat: ThreatModel,
    rng: np.random.Generator,
    sources: np.ndarray,
    drop: float,
    near: Surrogate | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Fillers (m, F) of clones of ``sources`` and their stars, ``drop`` below the sources' own.

    Those that keep a clone nearest to its source in ``near``, or random ones.
    """
    size, candidates = threat.filler_size, filler_candidates(threat)
    means, _ = item_moments(threat)
    rows = threat.visible[sources].toarray()
    seen: set[int] = set()
    items, stars = np.empty((len(sources), size), dtype=np.intp), np.empty((len(sources), size))
    for fake, (source, row) in enumerate(zip(sources.tolist(), rows, strict=True)):
        shuffled = rng.permutation(candidates)
        shuffled = shuffled[np.argsort(row[shuffled] == 0, kind="stable")]
        rated = shuffled[: max(size, np.count_nonzero(row[candidates]))]
        values = round_to_levels(np.where(row > 0, row, means) - drop, threat.levels)
        # The nearest fillers of one source would be the same again.
        if near is not None and source not in seen and len(rated) > size:
            rated = rated[nearest(threat, near, source, rated, values[rated])]
        seen.add(source)
        items[fake] = rated[:size]
        stars[fake] = values[items[fake]]
    return items, stars


def nearest(
    threat: ThreatModel, surrogate: Surrogate, source: int, items: np.ndarray, stars: np.ndarray
) -> np.ndarray:
    """Positions of the F of ``items``, rated with ``stars``, that place a clone near its source.

    Item factors stand still, so that a clone is placed by the ridge regression of its ratings, and
    one rating more is a change of rank one. Each is the best, given those before.
    """
    omega, size = surrogate.unobserved_weight, threat.filler_size
    factors = surrogate.items.astype(np.float64)
    rows, bias, goal = factors[:, USER], factors[:, -1], surrogate.users[source, 1:-1]
    cells = size + len(threat.targets) + omega * len(rows)
    kept = rows[threat.targets]
    # Residuals of ratings at the top, and of those to choose from.
    top = 1 - surrogate.baseline - (1 - omega) * bias[threat.targets]
    residuals = stars / threat.max_rating - surrogate.baseline - (1 - omega) * bias[items]
    matrix = omega * rows.T @ rows + (1 - omega) * kept.T @ kept
    inverse = np.linalg.inv(matrix + surrogate.reg * cells * np.eye(len(matrix)))
    placed = inverse @ (top @ kept - omega * bias @ rows)
    rows = rows[items]
    free, chosen = np.ones(len(items), dtype=bool), np.empty(size, dtype=np.intp)
    for step in range(size):
        moves = rows @ inverse
        leverage = 1 + (1 - omega) * np.einsum("if,if->i", moves, rows)
        gains = (residuals - (1 - omega) * rows @ placed) / leverage
        after = placed[1:] + gains[:, None] * moves[:, 1:]
        best = np.argmin(np.where(free, ((after - goal) ** 2).sum(axis=1), np.inf))
        placed = placed + gains[best] * moves[best]
        inverse -= (1 - omega) / leverage[best] * np.outer(moves[best], moves[best])
        chosen[step], free[best] = best, False
    return chosen
