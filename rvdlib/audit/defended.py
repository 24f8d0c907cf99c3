"""A model under the form that an audit recommends, to be served."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from rvdlib.audit.subject import Trained
from rvdlib.defenses.forms import chain_of
from rvdlib.eligibility import eligible_items
from rvdlib.seeding import stream
from rvdlib.strict_yaml import read_yaml


class Defended:
    """Somebody's model, trained on ``ratings`` as a form says and served by it.

    Args:
        form: a file as ``defense.yml`` of an audit or ``rvd tune`` writes it, or such a mapping.
        model: an object with ``fit(ratings)`` and ``score(users)`` (:mod:`rvdlib.audit.subject`), which
            is trained here.
        ratings: (users, items) CSR of stars.

    Raises:
        ValueError: for a file that holds no form, a form that needs what the model does not show, and
            whatever is wrong with the model.
    """

    def __init__(self, form: str | Path | dict, model: Any, ratings: sp.csr_matrix):
        said = dict(form) if isinstance(form, dict) else read_yaml(Path(form))
        if (
            not isinstance(said, dict)
            or "regime" not in said
            or not {"method", "chain"} & said.keys()
        ):
            raise ValueError(
                f"{form} holds no form: it needs regime, and method with choices or a chain"
            )
        chain = chain_of(said)
        rows = chain.clean(ratings, np.unique(ratings.data), stream(0, "clean"))
        model.fit(rows.copy())
        trained = Trained(type(model).__name__, model, rows, said["regime"])
        if not trained.linear and "closed_form" in str(said):
            raise ValueError(
                f"the closed form needs the model's arrays, and {trained.why_not_linear}"
            )
        self._served, self._n_items = chain.wrap(trained), ratings.shape[1]

    def score(self, users: np.ndarray) -> np.ndarray:
        """Scores (B, items)."""
        return self._served.score(users)

    def eligible(self, users: np.ndarray) -> np.ndarray:
        """(B, items) bool: what each of ``users`` may be listed."""
        shape = (len(users), self._n_items)
        found = eligible_items(self._served, users, shape)
        return np.ones(shape, dtype=bool) if found is None else found
