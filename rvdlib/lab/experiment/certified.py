"""Whether a quorum kept its certificates in a cell: of all real users, fakes known."""

import numpy as np

from rvdlib.defenses.quorum import Quorum
from rvdlib.evaluation import Evaluation, Recommender
from rvdlib.theory.violations import check

_USERS_AT_ONCE = 512


def violations(recommender: Recommender, evaluation: Evaluation, n_real: int) -> float:
    """How often certificates 1 to 3 were broken: 0 if they hold, NaN where nothing is certified.

    Of those who were evaluated, the ranks as they were served; of other real users, whoever is
    eligible for a target counts as served.
    """
    if not isinstance(recommender, Quorum) or recommender.config.fill != "abstain":
        return float("nan")
    train, config, everyone = recommender.train, recommender.config, np.arange(n_real)
    targets = evaluation.targets
    rated = train[:n_real][:, targets].toarray() > 0
    ranks, neighbors = np.full(rated.shape, np.inf), []
    for start in range(0, n_real, _USERS_AT_ONCE):
        users = everyone[start : start + _USERS_AT_ONCE]
        ranks[users] = np.where(recommender.eligible(users)[:, targets], 1.0, np.inf)
        neighbors.append(recommender.vicinity(users))
    ranks[rated] = np.inf
    ranks[evaluation.users] = evaluation.target_ranks
    rows = np.concatenate(neighbors)
    if config.include_user:  # certificates count others alone; own ratings are no votes for targets
        own = rows == everyone[:, None]
        rows = np.take_along_axis(
            np.where(own, -1, rows), np.argsort(own, axis=1, kind="stable"), 1
        )
    return float(
        sum(
            check(
                ranks,
                targets,
                rows,
                train,
                n_real=n_real,
                quorum=config.quorum,
                max_in_degree=config.max_in_degree,
            )
        )
    )
