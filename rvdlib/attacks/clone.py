"""The clone attack: fakes that are copies of real users, with the targets added."""

import numpy as np
import scipy.sparse as sp

from rvdlib.attacks.profiles import assemble, templates
from rvdlib.threat_model import ThreatModel


def clone(threat: ThreatModel, rng: np.random.Generator) -> sp.csr_matrix:
    """F random ratings of a random visible user, plus the targets at the top rating.

    Sources are drawn among the :func:`~rvdlib.attacks.profiles.templates`, each once as long as
    there are enough of them.
    """
    sources = templates(threat, threat.filler_size)
    n_sources = sources.shape[0]
    chosen = rng.choice(n_sources, threat.n_fakes, replace=n_sources < threat.n_fakes)
    rows = [np.arange(*sources.indptr[[user, user + 1]]) for user in chosen]
    kept = [rng.permutation(row)[: threat.filler_size] for row in rows]
    kept = np.array(kept, dtype=np.intp).reshape(threat.n_fakes, threat.filler_size)
    return assemble(threat, sources.indices[kept], sources.data[kept])
