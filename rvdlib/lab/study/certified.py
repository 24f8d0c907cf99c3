"""``rvd certify``: what a quorum with an in-degree cap promises on a data set, before any attack."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from rvdlib.arguments import check_one_of
from rvdlib.data import Ratings, Split, load_dataset
from rvdlib.defenses.quorum import Quorum, QuorumConfig
from rvdlib.evaluation import recommend
from rvdlib.lab.benchmark.serving import check_neighbors
from rvdlib.lab.experiment.hyperparameters import REGIMES, victim_hyperparameters
from rvdlib.lab.experiment.progress import progress
from rvdlib.lab.experiment.retraining import agreement_with_retraining
from rvdlib.lab.experiment.splits import split_of_seed
from rvdlib.models import MF, Victim
from rvdlib.neighbors.agreement import warn_if_by_chance
from rvdlib.refusals import refusal
from rvdlib.seeding import stream
from rvdlib.theory.certificate import survives, thr_bound

FIRST = 10  # items of a list whose survival is certified
ATTACK_SIZES = (0.01, 0.03, 0.05, 0.1, 0.2, 0.3)  # fakes per real user
RATERS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_BLOCK_USERS = 256


def certify_dataset(
    dataset: str | Ratings,
    *,
    k: int,
    quorum: int,
    max_in_degree: int,
    distance: str = "euclidean",
    regime: str = "ranking",
    seed: int = 0,
) -> dict:
    """Train MF as the study does, find vicinities, and certify.

    Where vicinities depend on the training it is trained twice, to see whether they mean anything.

    Args:
        dataset: a published one, a ratings file, or ratings.
        k: neighbours of a user.
        quorum: q, neighbours who must have rated what is served.
        max_in_degree: B, vicinities in which anybody may stand at most; at least k.
        distance: between users, as :class:`rvdlib.neighbors.NeighborSearch` has it.
        regime: ``ranking`` or ``rating``, in which MF is trained.

    Returns:
        In JSON's types: the arguments, ``n_users``, and

        - ``bounds``: rows of ``m`` fakes, ``honest_raters`` of the target and ``thr_bound``, whatever
          the geometry (:func:`rvdlib.theory.certificate.thr_bound`);
        - ``survives``: how many users' first ten items all have their quorum without f of their
          neighbours, whichever, f = 0 to k − q; of vicinities as they are, which new fakes move. At
          f = 0 that is everybody who is served anything;
        - ``neighbor_agreement``: how far the vicinities of the two trainings agree, the mean Jaccard
          index, and ``neighbor_agreement_by_chance``: the same of lists of two different users; None
          by profile overlap, which depends on no training.

    Raises:
        ValueError: for a data set or a choice that there is none of, before anything is trained.

    Warns:
        BeatenByReferenceWarning: if popularity is better on validation, as :class:`MF` does.
        NeighborsByChanceWarning: if the two trainings agree no more than by chance.
    """
    ratings = load_dataset(dataset)
    check_neighbors(ratings, k)
    limits = {"k": k, "quorum": quorum, "max_in_degree": max_in_degree, "distance": distance}
    choices = _choices(**limits)
    check_one_of("regime", regime, REGIMES)
    split = split_of_seed(ratings, seed)
    blocks = range(0, ratings.n_users, _BLOCK_USERS)
    steps, description = _steps(split, choices, regime, seed), f"training MF on {ratings.name}"
    _, agreement, *found = progress(steps, total=2 + len(blocks), description=description)
    survived = np.concatenate(found)
    if agreement:
        warn_if_by_chance(agreement)
    return {
        "dataset": ratings.name,
        **limits,
        "regime": regime,
        "n_users": ratings.n_users,
        "bounds": _bounds(ratings.n_users, quorum, max_in_degree),
        "survives": [int((survived >= f).sum()) for f in range(k - quorum + 1)],
        "neighbor_agreement": agreement and agreement.measured,
        "neighbor_agreement_by_chance": agreement and agreement.chance,
    }


def _choices(**asked: int | str) -> QuorumConfig:
    """The quorum's choices: local scaling, and what is asked for."""
    try:
        return QuorumConfig(**asked)
    except ValidationError as error:
        raise ValueError(refusal(error)) from None


def _bounds(n_users: int, quorum: int, max_in_degree: int) -> list[dict]:
    limits = {"quorum": quorum, "max_in_degree": max_in_degree, "n_users": n_users}
    return [
        {"m": m, "honest_raters": r, "thr_bound": float(thr_bound(r, m, **limits))}
        for m in sorted({max(1, int(round(size * n_users, 9))) for size in ATTACK_SIZES})
        for r in RATERS
        if r < n_users
    ]


def _steps(split: Split, choices: QuorumConfig, regime: str, seed: int) -> Iterator[Any]:
    """Nothing after the training, the agreement after a second one, then what each block survives."""
    everyone = np.arange(split.train.shape[0])
    victim = MF(**victim_hyperparameters(split.ratings.name, regime, MF.name))
    victim.fit(split.train, split.validation, split.ratings.levels, stream(seed, "model", MF.name))
    yield None
    defended = Quorum(victim, **choices.model_dump())
    table = defended.vicinity(everyone)

    def vicinities_of(victim: Victim) -> np.ndarray:
        return Quorum(victim, **choices.model_dump()).vicinity(everyone)

    trained = choices.distance != "profile_overlap"
    yield agreement_with_retraining(table, victim, split, vicinities_of, seed) if trained else None
    for start in range(0, len(everyone), _BLOCK_USERS):
        users = everyone[start : start + _BLOCK_USERS]
        lists = recommend(defended, users, split.train, k=min(FIRST, split.train.shape[1]))
        yield survives(table[users], split.train, lists, choices.quorum, displaced="any")


def as_text(report: dict) -> str:
    """The report as a reader wants it; :func:`certify_dataset` says what is in it."""
    r, n_users = report, report["n_users"]
    bounds = pd.DataFrame(r["bounds"]).pivot(index="m", columns="honest_raters", values="thr_bound")
    lines = [
        f"{r['dataset']}: {n_users:,} users. An item is served to a user if {r['quorum']} of the "
        f"user's {r['k']} neighbours rated it, and nobody stands in more than {r['max_in_degree']} "
        "vicinities.",
        "",
        "The most that a target's THR can be, whatever the fakes do, by the number of fakes and the",
        "target's real raters:",
        "",
        f"{'fakes':>14}" + "".join(f"{n:>8,}" for n in bounds),
    ]
    for m, row in bounds.iterrows():
        lines.append(f"{m:>6,} ({m / n_users:5.1%})" + "".join(f"{each:8.3f}" for each in row))
    lines += [
        "",
        f"Users whose first {FIRST} items would all keep their quorum without f of their neighbours, "
        "whichever (vicinities as they are; new fakes move them):",
        "",
        f"{'f':>4}{'users':>9}{'share':>9}",
    ]
    for f, users in enumerate(r["survives"]):
        lines.append(f"{f:>4}{users:>9,}{users / n_users:>9.1%}")
        if not users:
            break
    agreed = "Neighbours by profile overlap depend on no training."
    if r["neighbor_agreement"] is not None:
        agreed = (
            f"Neighbours agree between two trainings by {r['neighbor_agreement']:.3f} (mean Jaccard index), "
            f"by chance by {r['neighbor_agreement_by_chance']:.3f}."
        )
    return "\n".join([*lines, "", agreed])
