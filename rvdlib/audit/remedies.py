"""What can be done: forms of defences, the simplest first, and what may be chosen of each.

A form is as :mod:`rvdlib.defenses.forms` has it.
"""

import math
from itertools import product
from typing import Any

import numpy as np

from rvdlib.audit.subject import OurModel, OwnModel
from rvdlib.seeding import stream

TRIALS = 12  # of a remedy, at most
# The simplest first: of those that help, the first is recommended.
REMEDIES = (
    "least support",
    "unobserved weight",
    "count",
    "quorum",
    "closed form",
    "closed form and quorum",
    "detection",
    "adversarial training",
)
# What a remedy that acts before or in training takes, in trainings of the undefended model, about.
TRAINS = {"unobserved weight": 2, "detection": 2, "adversarial training": 20}
BY_NEIGHBORS = ("count", "quorum", "closed form", "closed form and quorum")
_QUORUMS = (0.13, 0.07, 0.2, 0.3)  # of k
_SCALED = {"hubness_reduction": "local_scaling"}


def why_not(name: str, subject: OurModel | OwnModel, trained: Any) -> str:
    """Why a remedy cannot be had for this model; empty if it can."""
    if name == "unobserved weight" and subject.ours and subject.regime == "ranking":
        return "the model is trained with it already"
    if name in ("unobserved weight", "adversarial training") and not subject.ours:
        return "it changes how a model is trained: only ours can be told"
    reason = getattr(trained, "why_not_linear", "")
    if name in ("closed form", "closed form and quorum") and reason:
        return f"it needs the model's arrays, and {reason}"
    return ""


def candidates(
    name: str, n_users: int, n_fakes: int, latent: bool, closed_form: dict | None, omega: list[dict]
) -> list[dict]:
    """The forms to try, the likeliest first, for time may end it; by neighbours, only k below ``n_users``.

    Args:
        latent: whether there are latent vectors to look for neighbours in.
        closed_form: what was chosen of it before.
        omega: hyper-parameters of the ranking regime, for training with an unobserved weight.
    """
    distances = ["profile_overlap", *(["euclidean"] if latent else [])]
    ks = [k for k in (30, 100, 10) if k < n_users] or [max(1, n_users - 1)]
    if name == "least support":
        enough = n_fakes + 6
        grid = sorted({2, 5, 10, 20, 50, 100, 200, enough, 2 * enough})
        grid.sort(key=lambda least: abs(math.log(least / enough)))
        return [_form("least_support", min_ratings=least) for least in grid]
    if name == "count":
        return [_form("count", k=k, distance=d) for k, d in product(ks, distances)]
    if name == "quorum":
        grid = product(ks[:2], _QUORUMS, distances)
        return [_form("quorum", k=k, quorum=_of(k, q), distance=d) for k, q, d in grid]
    if name == "closed form":
        forms = [
            _form("closed_form", k=k, unobserved_weight=w, proximal_weight=p, **_SCALED)
            for k, w, p in product(sorted(ks), (0.03, 0.1, 0.3), (0.1, 1.0, 10.0))
        ]
        rng = stream(0, "audit", "closed form")
        drawn = rng.choice(len(forms), min(TRIALS, len(forms)), replace=False)
        return [forms[at] for at in np.sort(drawn)]
    if name == "closed form and quorum":
        inner = closed_form or _form("closed_form", k=min(ks), **_SCALED)
        outer = [_form("quorum", k=ks[0], quorum=q) for q in {_of(ks[0], q): 0 for q in _QUORUMS}]
        return [{"chain": [inner, each]} for each in outer]
    if name == "detection":
        detectors = _form("profile_detection"), _form("pca_detection")
        return [*detectors, _form("remove_detected", share=0.1)]
    if name == "unobserved weight":
        weight = "unobserved_weight"
        others = [{n: v for n, v in each.items() if n != weight} for each in omega]
        pairs = zip(omega[:2], others, strict=False)
        return [_form(weight, unobserved_weight=o[weight], hyperparameters=h) for o, h in pairs]
    return [_form("adversarial_training")]


def _of(k: int, share: float) -> int:
    return max(1, round(share * k))


def _form(method: str, **choices: Any) -> dict:
    return {"method": method, "choices": choices}
