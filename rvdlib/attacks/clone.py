"""The clone attack: fakes that are copies of real users, with the targets added."""

import numpy as np
import scipy.sparse as sp

from rvdlib.attacks.profiles import assemble, by_popularity, item_moments
from rvdlib.threat_model import ThreatModel


def clone(threat: ThreatModel, rng: np.random.Generator) -> sp.csr_matrix:
    """F random ratings of a random visible user, plus the targets at the top rating.

    Sources are drawn among the visible users with at least F ratings besides the targets, each
    once as long as there are enough of them. If no visible user has that many, all are sources;
    their ratings stay whole, and the most popular items that a source has not rated fill up the
    budget, at their visible mean.
    """
    visible, size = threat.visible, threat.filler_size
    ranked, (means, _) = by_popularity(threat), item_moments(threat)
    is_filler = ~np.isin(visible.indices, threat.targets)
    lengths = np.diff(np.concatenate([[0], np.cumsum(is_filler)])[visible.indptr])
    sources = np.flatnonzero(lengths >= size)
    if not len(sources):
        sources = np.arange(len(lengths))
    chosen = rng.choice(sources, threat.n_fakes, replace=len(sources) < threat.n_fakes)

    fillers = np.empty((threat.n_fakes, size), dtype=np.intp)
    stars = np.empty((threat.n_fakes, size))
    for fake, user in enumerate(chosen):
        row = np.arange(visible.indptr[user], visible.indptr[user + 1])
        row = rng.permutation(row[is_filler[row]])[:size]
        items = visible.indices[row]
        extra = ranked[~np.isin(ranked, items)][: size - len(items)]
        fillers[fake] = np.concatenate([items, extra])
        stars[fake] = np.concatenate([visible.data[row], means[extra]])
    return assemble(threat, fillers, stars)
