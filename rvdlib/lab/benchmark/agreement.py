"""How far fast forms are from what they stand for: the plain loop, and the ridge solve item by item."""

import copy

import numpy as np
import scipy.sparse as sp
import torch

from rvdlib.defenses import ClosedFormRVD
from rvdlib.evaluation import Recommender
from rvdlib.lab.benchmark.serving import lists
from rvdlib.models import Victim
from rvdlib.models.base import DECODER

_SYSTEMS_AT_ONCE = 256  # in memory


def in_double(victim: Victim) -> Victim:
    """The same victim in float64, where rounding is out of the way."""
    victim = copy.copy(victim)
    victim.parameters = {name: value.double() for name, value in victim.parameters.items()}
    return victim


def compare(
    fast: Recommender, plain: Recommender, users: np.ndarray, seen: sp.csr_matrix
) -> dict[str, float]:
    """``max_abs_difference`` of their scores, in stars, and ``identical_lists``, the share of users
    whose first 50 items are the same in the same order."""
    difference = np.abs(fast.score(users) - plain.score(users)).max()
    same = (lists(fast, users, seen) == lists(plain, users, seen)).all(axis=1)
    return {"max_abs_difference": float(difference), "identical_lists": float(same.mean())}


def closed_form_error(defended: ClosedFormRVD, users: np.ndarray) -> float:
    """The largest difference, in stars, of the closed form from :func:`ridge_scores`."""
    vicinities = defended.vicinity(users)
    pairs = zip(users, vicinities, defended.score(users), strict=True)
    return max(
        float(np.abs(scores - ridge_scores(defended, user, rows)).max())
        for user, rows, scores in pairs
    )


def ridge_scores(defended: ClosedFormRVD, user: int, rows: np.ndarray) -> np.ndarray:
    """The user's scores (items,) in stars: each item's decoder row fitted by itself, in float64.

    Δ = (Zᵀ C Z + λI)⁻¹ Zᵀ C (y − s), d + 1 equations an item; see
    :mod:`rvdlib.defenses.regression`. Items that the same rows rated share their C, and
    (Zᵀ C Z + λI)⁻¹ z_u, with which z_u · Δ is a product.
    """
    config, victim = defended.config, in_double(defended.victim)
    members = np.append(rows, user)
    with torch.no_grad():
        offsets, factors = (part.numpy() for part in victim.encode(victim.parameters, members))
    biased = "item_bias" not in victim.constants
    latent = np.column_stack([factors, np.ones(len(members))]) if biased else factors
    decoder = [victim.parameters[name].numpy() for name in DECODER[: 1 + biased]]
    decoder = np.column_stack(decoder)
    scores = latent @ decoder.T + offsets[:, None]
    ratings = victim.train[rows]
    target = ratings.toarray().astype(np.float64)
    ratings.data = np.ones_like(ratings.data)
    observed = ratings.toarray() > 0
    target = np.where(observed, target, victim.unobserved_target(rows).numpy()[:, None])
    residual = np.where(observed, 1.0, config.unobserved_weight) * (target - scores[:-1])
    raters, kind = np.unique(observed.T, axis=0, return_inverse=True)
    weight, design = np.where(raters, 1.0, config.unobserved_weight), latent[:-1]
    share = np.empty((len(raters), len(latent.T)))
    for start in range(0, len(raters), _SYSTEMS_AT_ONCE):
        block = slice(start, start + _SYSTEMS_AT_ONCE)
        gram = np.einsum("cv,vd,ve->cde", weight[block], design, design, optimize=True)
        gram += config.proximal_weight * np.eye(len(latent.T))
        share[block] = np.linalg.solve(gram, latent[-1][:, None])[:, :, 0]
    moves = np.einsum("id,id->i", share[kind.ravel()], residual.T @ design)
    return (scores[-1] + moves) * victim.max_rating
