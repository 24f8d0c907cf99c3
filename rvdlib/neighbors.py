"""Whom RVD learns from: the k nearest users, exactly, in bounded memory.

Distances (smaller is nearer): ``euclidean``, ``cosine`` and ``inner_product`` between latent
vectors, ``profile_overlap`` between the sets of rated items (one minus the Jaccard index). A user
is never her own neighbour; ties go to the lower row number.
"""

import numba
import numpy as np
import scipy.sparse as sp
from scipy.spatial.distance import cdist

from rvdlib.models import Victim

DISTANCES = ("euclidean", "cosine", "inner_product", "profile_overlap")


def nearest_users(
    victim: Victim,
    users: np.ndarray,
    k: int,
    distance: str = "euclidean",
    *,
    block_size: int = 1024,
) -> np.ndarray:
    """(B, k) row numbers of the k nearest training users of each of ``users``, nearest first.

    Everyone that the victim was trained on may be a neighbour, fakes included: a defender cannot
    tell them apart. Memory is about block_size × training users.

    Raises:
        ValueError: for an unknown distance, k not below the number of training users, ``users``
            that are not rows of the training matrix, or latent vectors that are not finite.
    """
    n_users = victim.train.shape[0]
    if distance not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}, got {distance!r}")
    if not 1 <= k < n_users:
        raise ValueError(f"k must be between 1 and {n_users - 1} (the other users), got {k}")
    users = np.asarray(users)
    if len(users) and not 0 <= users.min() <= users.max() < n_users:
        raise ValueError(f"users must be rows below {n_users}, got {users.min()} to {users.max()}")
    distances = _profile_distances if distance == "profile_overlap" else _latent_distances
    blocks = (users[start : start + block_size] for start in range(0, len(users), block_size))
    found = [_smallest(distances(victim, block, distance), block, k) for block in blocks]
    return np.concatenate(found) if found else np.empty((0, k), dtype=np.int64)


def _latent_distances(victim: Victim, users: np.ndarray, distance: str) -> np.ndarray:
    everyone = victim.user_factors().astype(np.float64)
    if not np.isfinite(everyone).all():
        raise ValueError("latent vectors are not finite: the victim has diverged")
    # Not by BLAS, whose rounding depends on where a row stands: equal users would not tie.
    if distance == "euclidean":
        return cdist(everyone[users], everyone, "sqeuclidean")
    if distance == "cosine":
        everyone /= np.maximum(np.linalg.norm(everyone, axis=1, keepdims=True), 1e-12)
    return -np.einsum("ud,vd->uv", everyone[users], everyone)


def _profile_distances(victim: Victim, users: np.ndarray, distance: str) -> np.ndarray:
    rated = sp.csr_matrix(victim.train, copy=True)
    rated.data = np.ones_like(rated.data)
    sizes = np.diff(rated.indptr)
    common = (rated[users] @ rated.T).toarray()
    union = sizes[users, None] + sizes - common
    return 1 - common / np.maximum(union, 1)


@numba.njit(cache=True)
def _smallest(distances, users, k):
    """Columns of the k smallest of each row but the user's own, ascending, ties by column."""
    found = np.empty((len(distances), k), dtype=np.int64)
    kept = np.empty(k)
    for row in range(len(distances)):
        kept[:] = np.inf
        found[row] = -1
        for column in range(distances.shape[1]):
            value = distances[row, column]
            if column == users[row] or not value < kept[k - 1]:
                continue
            place = k - 1
            while place > 0 and value < kept[place - 1]:
                kept[place], found[row, place] = kept[place - 1], found[row, place - 1]
                place -= 1
            kept[place], found[row, place] = value, column
    return found
