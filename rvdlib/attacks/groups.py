"""What a group of visible users has rated, for fakes that look like the group as a whole."""

from collections.abc import Sequence

import numpy as np

from rvdlib.attacks.profiles import filler_candidates, item_moments
from rvdlib.threat_model import ThreatModel


def tally(
    threat: ThreatModel, members: Sequence[int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many of ``members`` rated each item, and their mean in stars: both (items,).

    The mean of an item that none of them rated is that of all visible users.
    """
    rows = threat.visible[members]
    counts = np.bincount(rows.indices, minlength=threat.n_items)
    sums = np.bincount(rows.indices, rows.data.astype(np.float64), threat.n_items)
    means, _ = item_moments(threat)
    np.divide(sums, counts, out=means, where=counts > 0)
    return counts, means


def most_rated(threat: ThreatModel, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The filler candidates by ``counts`` (items,), then by visible popularity, then at random."""
    popularity = np.bincount(threat.visible.indices, minlength=threat.n_items)
    shuffled = rng.permutation(filler_candidates(threat))
    return shuffled[np.lexsort([-popularity[shuffled], -counts[shuffled]])]
