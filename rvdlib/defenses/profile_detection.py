"""A supervised detector on classic features of profiles, trained on attacks that the defender makes up.

Chirita et al. 2005 and Burke et al. 2006. With R(u) the items that u rated, N_i the ratings of item i
and m_i their mean:

    RDMA  (1/|R(u)|) Σ |r_ui − m_i| / N_i          rating deviation from mean agreement
    WDMA  (1/|R(u)|) Σ |r_ui − m_i| / N_i²         weighted deviation from mean agreement
    WDA   Σ |r_ui − m_i| / N_i                     weighted degree of agreement
    DegSim  mean similarity to the 25 users most similar, here the cosine of r − m_u
    LengthVar  | |R(u)| − mean | / Σ_v (|R(v)| − mean)²

Nobody has labels of the attack that comes. The defender adds fakes of simple attacks to the training
rows, one kind at a time, calls these fake and everybody else real, and fits a logistic regression in
which both weigh the same; the fakes among everybody else stay mislabelled. Users of the rows as they
are go if they look fake more likely than not. For an honest figure ``attacks`` must not hold the
attack that it is tested on.
"""

from typing import Literal

import numpy as np
import scipy.sparse as sp
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rvdlib.defenses.protocol import Choices, Defense
from rvdlib.defenses.remove_detected import without_users
from rvdlib.defenses.simulated_profiles import item_moments, profiles
from rvdlib.threads import single_thread

SimulatedAttack = Literal["random", "average", "bandwagon"]
MOST_SIMILAR, N_TARGETS, N_POPULAR = 25, 5, 10
_BLOCK_USERS = 512


class ProfileDetectionConfig(Choices):
    """The choices. Unknown names are refused."""

    attacks: tuple[SimulatedAttack, ...] = Field(
        ("random", "average", "bandwagon"), min_length=1, description="that are made up"
    )
    users: float = Field(0.05, gt=0, le=1, description="fakes of each, a share of the users")


class ProfileDetection(Defense):
    """Empties the rows of users whose profiles look like those of the made-up attacks."""

    Config = ProfileDetectionConfig
    config: ProfileDetectionConfig

    @single_thread()
    def clean(self, train, levels, rng):
        rated = np.diff(train.indptr) > 0
        examples, labels = [], []
        for name in self.config.attacks:
            n_fakes = max(1, round(self.config.users * rated.sum()))
            everybody = sp.vstack([train, simulated(name, train, levels, n_fakes, rng)], "csr")
            known = np.concatenate([rated, np.ones(n_fakes, dtype=bool)])
            examples.append(features(everybody)[known])
            labels.append(np.arange(len(known))[known] >= len(rated))
        detector = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        detector.fit(np.vstack(examples), np.concatenate(labels))
        looks_fake = detector.predict(features(train))
        return without_users(train, rated & looks_fake)


def simulated(
    attack: SimulatedAttack,
    train: sp.csr_matrix,
    levels: np.ndarray,
    n_fakes: int,
    rng: np.random.Generator,
) -> sp.csr_matrix:
    """(n_fakes, items) CSR of stars: random targets at the top, as many fillers as users rate.

    Fillers are random, rated by the moments of all ratings, or (``average``) of the item's own; of
    ``bandwagon`` some are the most popular items, at the top.
    """
    n_items, per_user = train.shape[1], np.diff(train.indptr)
    means, deviations = item_moments(train, levels)
    if attack != "average":
        means, deviations = (
            np.full(n_items, moment(train.data, dtype=np.float64)) for moment in (np.mean, np.std)
        )
    popular = np.argsort(-np.bincount(train.indices, minlength=n_items), kind="stable")
    popular = popular[: N_POPULAR if attack == "bandwagon" else 0]
    others = np.setdiff1d(np.arange(n_items), popular)
    targets = rng.choice(others, min(N_TARGETS, len(others)), replace=False)
    top = np.concatenate([targets, popular])
    others = np.setdiff1d(others, targets)
    size = round(per_user[per_user > 0].mean()) - len(popular)
    size = min(max(size, 1), len(others))
    fillers = np.array([rng.choice(others, size, replace=False) for _ in range(n_fakes)])
    stars = rng.normal(means[fillers], deviations[fillers])
    at_top = np.broadcast_to(top, (n_fakes, len(top)))
    items = np.hstack([at_top, fillers])
    return profiles(
        items, np.hstack([np.full(at_top.shape, float(levels[-1])), stars]), levels, n_items
    )


def features(train: sp.csr_matrix) -> np.ndarray:
    """(users, 5) RDMA, WDMA, WDA, DegSim, LengthVar of (users, items) CSR stars; 0 without a rating."""
    n_users, n_items = train.shape
    per_user, per_item = np.diff(train.indptr), np.bincount(train.indices, minlength=n_items)
    owners, stars = np.repeat(np.arange(n_users), per_user), train.data.astype(np.float64)
    sums = np.bincount(train.indices, weights=stars, minlength=n_items)
    means = sums / np.maximum(per_item, 1)
    deviations = np.abs(stars - means[train.indices]) / per_item[train.indices]
    agreement = np.bincount(owners, deviations, n_users)
    weighted = np.bincount(owners, deviations / per_item[train.indices], n_users)
    rated, length = per_user > 0, np.maximum(per_user, 1)
    unlike = np.where(rated, np.abs(per_user - per_user[rated].mean()), 0)
    variance = unlike / max((unlike**2).sum(), 1e-12)
    similar = degree_of_similarity(train)
    return np.column_stack([agreement / length, weighted / length, agreement, similar, variance])


def degree_of_similarity(train: sp.csr_matrix, k: int = MOST_SIMILAR) -> np.ndarray:
    """(users,) mean cosine to the ``k`` most similar other users, of ratings less the user's mean."""
    per_user = np.diff(train.indptr)
    owners, stars = np.repeat(np.arange(len(per_user)), per_user), train.data.astype(np.float64)
    means = np.bincount(owners, stars, len(per_user)) / np.maximum(per_user, 1)
    centred = stars - means[owners]
    norms = np.sqrt(np.bincount(owners, centred**2, len(per_user)))
    centred = centred / np.maximum(norms, 1e-12)[owners]
    unit = sp.csr_matrix((centred, train.indices, train.indptr), shape=train.shape)
    found, k = np.zeros(len(per_user)), min(k, len(per_user) - 1)
    for first in range(0, len(per_user), _BLOCK_USERS):
        block = (unit[first : first + _BLOCK_USERS] @ unit.T).toarray()
        rows = np.arange(len(block))
        block[rows, first + rows] = -np.inf
        found[first + rows] = np.sort(np.partition(block, -k, axis=1)[:, -k:], axis=1).mean(axis=1)
    return found
