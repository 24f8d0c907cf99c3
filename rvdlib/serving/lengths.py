"""Whether a form leaves users without a list: a quorum that was chosen for denser ratings does."""

import warnings

import numpy as np

from rvdlib.eligibility import eligible_items
from rvdlib.seeding import stream
from rvdlib.serving.snapshot import Snapshot

MOST_USERS, TOLERATED = 200, 0.05


def empty_share(snapshot: Snapshot) -> float:
    """Of at most ``MOST_USERS`` users, drawn alike each time, the share whose list is empty."""
    if not hasattr(snapshot.serving, "eligible"):  # whoever has none abstains from nothing
        return 0.0
    train = snapshot.state.arrays.train
    n_users, n_items = train.shape
    drawn = stream(0, "lengths").choice(n_users, min(n_users, MOST_USERS), replace=False)
    empty = []
    for row in drawn:
        eligible = eligible_items(snapshot.serving, np.array([row]), (1, n_items))
        free = np.ones(n_items, bool) if eligible is None else eligible[0].copy()
        free[train.indices[train.indptr[row] : train.indptr[row + 1]]] = False
        empty.append(not free.any())
    return float(np.mean(empty))


def warn_of_empty_lists(snapshot: Snapshot) -> None:
    """One UserWarning with the remedy, if more than a share of ``TOLERATED`` is empty."""
    share = empty_share(snapshot)
    if share > TOLERATED:
        warnings.warn(
            f"about {share:.0%} of users get an empty list: too few of their neighbours rated the same "
            "items for this defence to serve any; choose one for these ratings (`rvd tune`), serve "
            "another form, or ask for lists with a fallback",
            stacklevel=1,
        )
