"""What can be done: forms of defences, the simplest first, and what may be chosen of each.

A form is as :mod:`rvdlib.defenses.forms` has it.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from rvdlib.audit.subject import OurModel, OwnModel
from rvdlib.defenses.forms import chain_of
from rvdlib.seeding import stream

TRIALS = 12  # of a remedy, at most
# The simplest first: of those that help, the first is recommended.
REMEDIES = (
    "least support",
    "unobserved weight",
    "count",
    "quorum",
    "closed form",
    "hardened",
    "detection",
    "adversarial training",
)
TRAINS = ("unobserved weight", "detection", "adversarial training")
BY_NEIGHBORS = ("count", "quorum", "closed form", "hardened")


def trains(form: Mapping) -> bool:
    """Whether a form acts before or in training: it cannot be put before a model that is trained."""
    return chain_of(form).trains


def why_not(name: str, subject: OurModel | OwnModel, trained: Any) -> str:
    """Why a remedy cannot be had for this model; empty if it can."""
    if name == "unobserved weight" and subject.ours and subject.regime == "ranking":
        return "the model is trained with it already"
    if name in ("unobserved weight", "adversarial training") and not subject.ours:
        return "it changes how a model is trained: only ours can be told"
    if name in ("closed form", "hardened") and not getattr(trained, "linear", True):
        return f"it needs the model's arrays, and {trained.why_not_linear}"
    return ""


def candidates(
    name: str,
    n_users: int,
    n_fakes: int,
    latent: bool,
    chosen: Mapping[str, dict],
    omega: list[dict],
) -> list[dict]:
    """The forms to try; by neighbours, only k below ``n_users``.

    Args:
        latent: whether there are latent vectors to look for neighbours in.
        chosen: what was chosen of other remedies before.
        omega: hyper-parameters of the ranking regime, for training with an unobserved weight.
    """
    distances = ["profile_overlap", *(["euclidean"] if latent else [])]
    ks = [k for k in (10, 30, 100) if k < n_users] or [max(1, n_users - 1)]
    scaled: dict[str, Any] = {"hubness_reduction": "local_scaling"}
    if name == "least support":
        grid = sorted({2, 5, 10, 20, 50, 100, 200, n_fakes + 6, 2 * n_fakes + 6})
        return [_form("least_support", min_ratings=s) for s in grid]
    if name == "count":
        return [_form("count", k=k, distance=d) for k, d in product(ks, distances)]
    if name == "quorum":
        return [
            _form("quorum", k=k, quorum=max(1, round(share * k)), distance=d)
            for k, share, d in product(ks[-2:], (0.07, 0.13, 0.2, 0.3), distances)
        ][: TRIALS + 4]
    if name == "closed form":
        grid = [
            _form("closed_form", k=k, unobserved_weight=w, proximal_weight=p, **scaled)
            for k, w, p in product(ks, (0.03, 0.1, 0.3), (0.1, 1.0, 10.0))
        ]
        drawn = stream(0, "audit", "closed form").choice(len(grid), min(TRIALS, len(grid)), False)
        return [grid[at] for at in np.sort(drawn)]
    if name == "hardened":
        inner = chosen.get("closed form") or _form("closed_form", k=ks[0], **scaled)
        k = min(30, ks[-1])
        return [
            {"chain": [inner, _form("quorum", k=k, quorum=q)]}
            for q in sorted({max(1, round(share * k)) for share in (0.07, 0.13, 0.2, 0.3)})
        ]
    if name == "detection":
        return [
            _form("profile_detection"),
            _form("pca_detection"),
            _form("remove_detected", share=0.1),
        ]
    if name == "unobserved weight":
        return [
            _form(
                "unobserved_weight",
                unobserved_weight=each["unobserved_weight"],
                hyperparameters={n: v for n, v in each.items() if n != "unobserved_weight"},
            )
            for each in omega[:2]
        ]
    return [_form("adversarial_training")]


def _form(method: str, **choices: Any) -> dict:
    return {"method": method, "choices": choices}
