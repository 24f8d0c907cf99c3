"""Sets of items that many users of one kind share. Our own, made against profile overlap.

Whose neighbours are those with the most items in common (Jaccard) has no way to tell a user from a
list of what such users rate. Visible users are clustered by k-means on their sets of rated items, scaled
to length one; a fake rates the F items that most of a cluster rated. Those of one cluster are nearly
identical, so that they are in the same vicinities and together reach a quorum.
"""

import warnings

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize

from rvdlib.attacks.base import AttackConfig, attack
from rvdlib.attacks.groups import most_rated, tally
from rvdlib.attacks.profiles import assemble
from rvdlib.threat_model import ThreatModel


class PopularInClusterConfig(AttackConfig):
    n_clusters: int = Field(
        5, ge=1, description="of visible users, over which the fakes are dealt out; fewer if alike"
    )
    swapped: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of a fake's fillers in whose place others of the cluster's items come",
    )
    lowered: float = Field(
        0.5,
        ge=0,
        le=1,
        description="by how much below the cluster's mean, as a share of the scale's range",
    )


@attack(
    "popular in cluster",
    "Our own, against profile overlap: the items that most of a cluster of users rated, below their means.",
    PopularInClusterConfig,
    knows_defense=True,
)
def popular_in_cluster(
    threat: ThreatModel, rng: np.random.Generator, config: PopularInClusterConfig
) -> sp.csr_matrix:
    """The F most rated items of a cluster, but for those swapped, at the cluster's mean, lowered."""
    size = threat.filler_size
    clusters = [tally(threat, members) for members in clustered(threat, config.n_clusters, rng)]
    drop = config.lowered * threat.rating_range
    items, stars = np.empty((threat.n_fakes, size), dtype=np.intp), np.empty((threat.n_fakes, size))
    for fake in range(threat.n_fakes):
        counts, means = clusters[fake % len(clusters)]
        ranked = most_rated(threat, counts, rng)
        others = ranked[size:][counts[ranked[size:]] > 0]
        n_swapped = min(round(config.swapped * size), len(others))
        kept = rng.permutation(ranked[:size])[n_swapped:]
        items[fake] = [*kept, *rng.choice(others, n_swapped, replace=False)]
        stars[fake] = means[items[fake]] - drop
    return assemble(threat, items, stars)


def clustered(threat: ThreatModel, n_clusters: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of the visible users of each cluster, the largest cluster first."""
    rated = threat.visible.astype(np.float64)
    rated.data = np.ones_like(rated.data)
    n_clusters = min(n_clusters, rated.shape[0])
    search = KMeans(n_clusters, n_init=4, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():
        # Of users who are alike there are fewer clusters.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = search.fit_predict(normalize(rated))
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return sorted(members, key=lambda rows: (-len(rows), rows[0]))
