"""Power users: copies of those whom most others take advice from.

Wilson and Seminario 2013, "When power users attack: assessing impacts in collaborative recommender
systems" (RecSys). The authors select power users in three ways; this is
the one by in-degree. Users are similar by
Pearson's correlation over the items that both rated, with less weight if these are few (Herlocker et
al. 1999); each has the k most similar as a neighbourhood, and power users stand in most of these. It
is a heuristic of the days of user-based filtering and knows nothing of a defence.

A copy holds F random ratings of its source, where the authors take the whole profile, and sources
have F ratings or more, if there are such; else random items at their visible mean fill up.
"""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.attacks.base import AttackConfig, attack
from rvdlib.attacks.profiles import assemble
from rvdlib.attacks.sources import hubs, long_enough
from rvdlib.attacks.vicinity import clone_sources
from rvdlib.threat_model import ThreatModel

ENOUGH = 50  # items in common, below which a correlation counts for less
ROWS = 512  # of the table of similarities at a time


class PowerUserConfig(AttackConfig):
    k: int = Field(30, ge=1, description="users in a neighbourhood")


@attack(
    "power user",
    "Copies of the users who stand in most neighbourhoods of rating similarity "
    "(Wilson and Seminario 2013).",
    PowerUserConfig,
)
def power_user(
    threat: ThreatModel, rng: np.random.Generator, config: PowerUserConfig
) -> sp.csr_matrix:
    """F random ratings of the users with the highest in-degree, each a source in turn."""
    neighbors = most_similar(threat.visible, config.k)
    order = hubs(neighbors, long_enough(threat, threat.filler_size), threat.n_fakes)
    return assemble(threat, *clone_sources(threat, rng, np.resize(order, threat.n_fakes), 0.0))


def most_similar(visible: sp.csr_matrix, k: int) -> np.ndarray:
    """(users, k) rows of the most similar users of each, or of all others; ties to the lower row."""
    n_users = visible.shape[0]
    found = np.empty((n_users, min(k, n_users - 1)), dtype=np.intp)
    for first in range(0, n_users, ROWS):
        rows = np.arange(first, min(first + ROWS, n_users))
        similar = similarity(visible[rows], visible)
        similar[rows - first, rows] = -np.inf
        found[rows] = np.argsort(-similar, axis=1, kind="stable")[:, : found.shape[1]]
    return found


def similarity(ours: sp.csr_matrix, theirs: sp.csr_matrix) -> np.ndarray:
    """(B, users) correlation over the n items in common, times min(n, 50) / 50; 0 if undefined.

    Sums of stars that are halves are exact, so ties are ties on every machine.
    """
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    a_rated, b_rated = a.astype(bool).astype(np.float64), b.astype(bool).astype(np.float64)
    n, products, a_sum, b_sum, a_squares, b_squares = (
        (left @ right.T).toarray()
        for left, right in (
            *((a_rated, b_rated), (a, b), (a, b_rated), (a_rated, b)),
            *((a.power(2), b_rated), (a_rated, b.power(2))),
        )
    )
    spread = (n * a_squares - a_sum**2) * (n * b_squares - b_sum**2)
    correlation = np.zeros_like(n)
    np.divide(
        n * products - a_sum * b_sum,
        np.sqrt(np.maximum(spread, 0)),
        out=correlation,
        where=spread > 0,
    )
    return correlation * np.minimum(n, ENOUGH) / ENOUGH
