"""What the attacks share: what visible ratings say about items, and how profiles are assembled."""

import numpy as np
import scipy.sparse as sp

from rvdlib.data import round_to_levels
from rvdlib.threat_model import ThreatModel


def filler_candidates(threat: ThreatModel) -> np.ndarray:
    """All items that are not targets, rated by a visible user or not: the catalogue is public."""
    return np.setdiff1d(np.arange(threat.n_items), threat.targets)


def by_popularity(threat: ThreatModel) -> np.ndarray:
    """The filler candidates, most visible ratings first, ties by item order."""
    candidates = filler_candidates(threat)
    counts = np.bincount(threat.visible.indices, minlength=threat.n_items)
    return candidates[np.argsort(-counts[candidates], kind="stable")]


def global_moments(threat: ThreatModel) -> tuple[float, float]:
    """Mean and standard deviation of the visible ratings; of the scale itself if there are none."""
    stars = threat.visible.data if threat.visible.nnz else threat.levels
    stars = stars.astype(np.float64)
    return stars.mean(), stars.std(ddof=1) if len(stars) > 1 else 0.0


def item_moments(threat: ThreatModel) -> tuple[np.ndarray, np.ndarray]:
    """Mean (items,) and sample standard deviation (items,) of each item's visible ratings.

    Each is the global one where it is undefined: the mean of an item without a rating, the
    standard deviation of an item with fewer than two.
    """
    items, stars = threat.visible.indices, threat.visible.data.astype(np.float64)
    counts = np.bincount(items, minlength=threat.n_items)
    sums = np.bincount(items, weights=stars, minlength=threat.n_items)
    means, variances = (
        np.full(threat.n_items, m) for m in np.power(global_moments(threat), [1, 2])
    )
    np.divide(sums, counts, out=means, where=counts > 0)
    squares = np.bincount(items, weights=(stars - means[items]) ** 2, minlength=threat.n_items)
    np.divide(squares, counts - 1, out=variances, where=counts > 1)
    return means, np.sqrt(variances)


def draw_fillers(
    rng: np.random.Generator, candidates: np.ndarray, n_fakes: int, size: int
) -> np.ndarray:
    """(n_fakes, size) items, uniformly at random, without a repeat inside a row."""
    rows = [rng.choice(candidates, size, replace=False) for _ in range(n_fakes)]
    return np.array(rows, dtype=np.intp).reshape(n_fakes, size)


def templates(threat: ThreatModel, size: int) -> sp.csr_matrix:
    """Real profiles to build fakes from: (users, items) CSR of stars, without the targets.

    They are the visible users with at least ``size`` ratings. If there is no such user, all visible
    users are templates; their ratings stay whole, and the most popular items that a user has not
    rated fill up the row, at their visible mean.
    """
    rows = threat.visible.copy()
    rows.data[np.isin(rows.indices, threat.targets)] = 0
    rows.eliminate_zeros()
    long_enough = np.diff(rows.indptr) >= size
    if long_enough.any():
        return rows[long_enough]
    ranked, (means, _) = by_popularity(threat), item_moments(threat)
    dense = rows.toarray()
    for row in dense:
        extra = ranked[row[ranked] == 0][: size - np.count_nonzero(row)]
        row[extra] = means[extra]
    return sp.csr_matrix(dense)


def assemble(threat: ThreatModel, fillers: np.ndarray, stars: np.ndarray) -> sp.csr_matrix:
    """Profiles (m, items) of the targets at the top rating and of fillers.

    Args:
        fillers: (m, F) item indices, no repeats inside a row, no targets.
        stars: (m, F) their ratings, rounded here to the scale and so clipped to its range.
    """
    targets = np.broadcast_to(threat.targets, (threat.n_fakes, len(threat.targets)))
    items = np.hstack([targets, fillers])
    values = np.hstack(
        [np.full(targets.shape, threat.max_rating), round_to_levels(stars, threat.levels)]
    )
    profiles = sp.csr_matrix(
        (
            values.ravel().astype(np.float32),
            items.ravel().astype(np.int32),
            np.arange(threat.n_fakes + 1, dtype=np.int32) * items.shape[1],
        ),
        shape=(threat.n_fakes, threat.n_items),
    )
    profiles.sort_indices()
    return profiles


def check_profiles(threat: ThreatModel, profiles: sp.csr_matrix) -> None:
    """Hold profiles (any number, items) against the budget and the scale.

    Raises:
        ValueError: for another number of items; a rating that is not finite or not on the scale;
            a target that is missing or not at the top rating; any other number of fillers than F.
            The message names the first profile at fault, counted from 0.
    """
    if profiles.shape[1] != threat.n_items:
        raise ValueError(f"profiles have {profiles.shape[1]} items, the data {threat.n_items}")
    rows = np.repeat(np.arange(profiles.shape[0]), np.diff(profiles.indptr))
    low, high = threat.levels[0], threat.levels[-1]
    # Range before scale: a value that no float32 holds must not reach the cast.
    for wrong, problem in (
        (~np.isfinite(profiles.data), "is not finite"),
        ((profiles.data < low) | (profiles.data > high), f"is outside {low:g} to {high:g}"),
    ):
        _refuse(wrong, rows, profiles, problem)
    off_scale = ~np.isin(profiles.data.astype(np.float32), threat.levels)
    _refuse(off_scale, rows, profiles, f"is not one of the scale {threat.levels.tolist()}")
    is_target = np.isin(profiles.indices, threat.targets)
    at_top = is_target & (profiles.data.astype(np.float32) == threat.levels[-1])
    complete = np.bincount(rows[at_top], minlength=profiles.shape[0]) == len(threat.targets)
    if not complete.all():
        raise ValueError(
            f"profile {np.argmin(complete)} does not have all targets "
            f"({threat.targets.tolist()}) at the top rating {high:g}"
        )
    fillers = np.bincount(rows[~is_target], minlength=profiles.shape[0])
    if (fillers != threat.filler_size).any():
        first = np.argmax(fillers != threat.filler_size)
        raise ValueError(
            f"profile {first} has {fillers[first]} filler ratings, the budget is exactly "
            f"{threat.filler_size}: trim or fill it, or set filler_size"
        )


def _refuse(wrong: np.ndarray, rows: np.ndarray, profiles: sp.csr_matrix, problem: str) -> None:
    if wrong.any():
        first = np.argmax(wrong)
        raise ValueError(
            f"profile {rows[first]}, item {profiles.indices[first]}: "
            f"rating {profiles.data[first]:g} {problem}"
        )
