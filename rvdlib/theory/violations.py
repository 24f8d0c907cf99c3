"""The certificates of a quorum held against what was measured under an attack."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from rvdlib.arguments import as_indices, check_csr
from rvdlib.theory.certificate import can_be_served, exposure, fakes_in_vicinity
from rvdlib.theory.counts import rated_by_neighbors


class Violations(NamedTuple):
    """How often what must not happen did; ``sum`` of it is 0 where the certificates hold.

    Attributes:
        total_support: targets that somebody was served, below |R_i| + m ≥ q.
        list: (user, target) pairs served with fewer than q raters and fakes in the vicinity.
        exposure: targets that are served to more users than :func:`~.certificate.exposure` has.
        in_degree: rows that stand in more than B of the vicinities.
    """

    total_support: int
    list: int
    exposure: int
    in_degree: int


def check(
    target_ranks: np.ndarray,
    targets: np.ndarray,
    neighbors: np.ndarray,
    ratings: sp.csr_matrix,
    *,
    n_real: int,
    quorum: int,
    max_in_degree: int | None = None,
) -> Violations:
    """Count violations of certificates 1 to 3 in one evaluation of a defence that abstains.

    Items that are not eligible must have the rank ∞; every finite rank of a target counts, not only
    those within the list. It needs to know who is fake, so it is for those who made the attack.

    Args:
        target_ranks: (U, T) as :class:`~rvdlib.evaluation.Evaluation` has them, of U real users,
            inf where the user rated the target.
        targets: (T,) item indices.
        neighbors: (U, k) rows of those users' vicinities as they were served, -1 for nobody, last;
            without the user's own row, where that joins.
        ratings: (n_real + m, items) CSR, what is stored is rated: the rows that the defence
            counted, fakes last.
        n_real: rows below this are real users.
        max_in_degree: B; None: the vicinities have no cap, and 3 promises nothing. It is about all
            real users: no sample shows that a cap is kept.

    Raises:
        ValueError: for arrays that do not go together.
    """
    check_csr("ratings", ratings)
    (n_rows, n_items), ranks = ratings.shape, np.asarray(target_ranks)
    targets = as_indices("targets", targets, n_items, of="items", distinct=True)
    if ranks.shape != (len(neighbors), len(targets)) or not n_real <= n_rows:
        raise ValueError(
            f"target_ranks must be (users, targets), got {ranks.shape} for {len(neighbors)} rows of "
            f"neighbors and {len(targets)} targets; n_real at most {n_rows}, got {n_real}"
        )
    if max_in_degree is not None and len(neighbors) != n_real:
        raise ValueError(
            f"max_in_degree is about all {n_real} real users, got the vicinities of {len(neighbors)}"
        )
    served, n_fakes = np.isfinite(ranks), n_rows - n_real
    real = neighbors < n_real
    honest = (rated_by_neighbors(neighbors, ratings, targets) & real[:, :, None]).sum(axis=1)
    raters = np.bincount(ratings[:n_real].indices, minlength=n_items)[targets]
    too_few = fakes_in_vicinity(honest, quorum) > (~real).sum(axis=1)[:, None]
    over, crowded = np.zeros(len(targets), dtype=bool), 0
    if max_in_degree is not None:
        limits = {"quorum": quorum, "max_in_degree": max_in_degree, "n_users": n_real}
        over = served.sum(axis=0) > exposure(raters, n_fakes, **limits)
        crowded = (np.bincount(neighbors[neighbors >= 0], minlength=n_rows) > max_in_degree).sum()
    alone = served.any(axis=0) & ~can_be_served(raters, n_fakes, quorum)
    return Violations(*(int(np.sum(each)) for each in (alone, served & too_few, over, crowded)))
