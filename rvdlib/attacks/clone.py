"""Fakes that are copies of real users, with the targets added: as they rate, or lower."""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from rvdlib.attacks.base import AttackConfig, attack
from rvdlib.attacks.profiles import assemble, templates
from rvdlib.threat_model import ThreatModel


@attack("clone", "A real user's ratings, F of them at random.")
def clone(threat: ThreatModel, rng: np.random.Generator, config: AttackConfig) -> sp.csr_matrix:
    """F random ratings of a random visible user, plus the targets at the top rating.

    Sources are drawn among the :func:`~rvdlib.attacks.profiles.templates`, each once as long as
    there are enough of them.
    """
    return _clones(threat, rng, 0.0)


class LowCloneConfig(AttackConfig):
    lowered: float = Field(
        0.5,
        ge=0,
        le=1,
        description="by how much each rating is lowered, as a share of the scale's range; at 1 all "
        "are at the bottom of the scale",
    )


@attack(
    "low clone",
    "A clone whose ratings are lowered by half of the scale's range, unless said.",
    LowCloneConfig,
)
def low_clone(
    threat: ThreatModel, rng: np.random.Generator, config: LowCloneConfig
) -> sp.csr_matrix:
    """A clone that rates low: the less it likes what else it rates, the more its targets stand out.

    The same users and items as :func:`clone` with the same random stream.
    """
    return _clones(threat, rng, config.lowered)


def _clones(threat: ThreatModel, rng: np.random.Generator, lowered: float) -> sp.csr_matrix:
    sources = templates(threat, threat.filler_size)
    n_sources = sources.shape[0]
    chosen = rng.choice(n_sources, threat.n_fakes, replace=n_sources < threat.n_fakes)
    rows = [np.arange(*sources.indptr[[user, user + 1]]) for user in chosen]
    kept = [rng.permutation(row)[: threat.filler_size] for row in rows]
    kept = np.array(kept, dtype=np.intp).reshape(threat.n_fakes, threat.filler_size)
    drop = lowered * threat.rating_range
    return assemble(threat, sources.indices[kept], sources.data[kept] - drop)
