"""The paper's theory held against real users under real attacks: does it hold, how loose is it, and
does what it speaks of predict what matters?

Of each user of a sample, the vicinity that RVD would fine-tune on; descent that moves the decoder
alone, once on the victim's *whole loss* by the step of Theorem 1, once on the *data term* by that of
Theorem 2 (:mod:`rvdlib.theory.unlearning`); the distance to the optimum of the vicinity without its
fakes, and its bounds. Only an experimenter can say this distance: a defender does not know who is
fake. For a few users, descent that moves every parameter (Theorem 3).

What matters to a user is how far the attacker's targets fall in the user's list. *Unlearning
strength* is the share of the distance to the clean optimum that descent has gone; if it predicts
anything, users in whom more is unlearned see the targets fall further: a rank correlation over the
users of one victim. The distance before any step is the control: what correlates as much with it is
owed to the user, and not to descent.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rvdlib import metrics
from rvdlib.defenses import RVD
from rvdlib.lab.experiment.cells import Attacked, carry_out, sample_users
from rvdlib.lab.study.effects import as_set
from rvdlib.seeding import stream
from rvdlib.theory import path, unlearning
from rvdlib.theory.ridge import VicinalRidge, decoder_of, latent_of
from rvdlib.theory.unlearning import OURS
from rvdlib.threads import single_thread

WHOLE, DATA = "whole loss", "data term"
LOSSES = {WHOLE: "coupled", DATA: "none"}  # part of the victim's loss → its regularizer
WHERE = ["regime", "target_set", "victim", "attack", "seed"]
QUANTITIES = ["start", "distance", "bound", "strength", "strength_targets"]
OUTCOMES = ["octaves_down", "hits_removed"]
LIST_LENGTH = 50


class Measured(NamedTuple):
    """What :func:`measure` found, tidy.

    Attributes:
        bounds: a row a user, loss, form of a bound and number of epochs: ``measured``, ``bound``,
            ``exceeded``, ``n_fakes`` among the neighbours, ``start``.
        users: a row a user and loss: :data:`QUANTITIES` and :data:`OUTCOMES`, as users are served.
        paths: a row a user: what was measured along the path of all parameters.
    """

    bounds: pd.DataFrame
    users: pd.DataFrame
    paths: pd.DataFrame


@single_thread()
def measure(
    dataset: str,
    victims: Sequence[str],
    settings: Mapping[str, Mapping],
    seeds: Sequence[int],
    *,
    k: int,
    n_users: int,
    epochs: Sequence[int],
    served_after: int,
    path_users: int,
    path_epochs: int,
) -> Measured:
    """Train each victim under each attack, and descend for a sample of its users.

    Args:
        k: neighbours. A user all of whose neighbours are fakes is left out.
        n_users: of the sample; ``path_users``: how many of them are also served by descent with all
            parameters, for ``path_epochs``.
        epochs: T at which distances and losses are held against their bounds.
        served_after: T at which a user is served.
    """
    bounds, users, paths = [], [], []
    epochs = sorted({*epochs, served_after})
    for scenario in as_set(dataset, victims, settings, seeds):
        attacked = carry_out(scenario)
        victim = attacked.victim
        known = scenario.model_dump(include=set(WHERE))
        n_real = attacked.split.train.shape[0]
        sample = sample_users(n_real, n_users, scenario.seed)
        vicinities = RVD(victim, k=k).vicinity(sample)
        some = stream(scenario.seed, "users", "path").permutation(len(sample))[:path_users]
        start = decoder_of(victim)
        for name, regularizer in LOSSES.items():
            loss = victim.loss.variant(regularizer=regularizer)
            everyone = VicinalRidge.of(victim, np.arange(victim.train.shape[0]), loss)
            trained = everyone.trained_point(start)
            bound = unlearning.strongly_convex if name == WHOLE else unlearning.convex
            for user, rows in zip(sample, vicinities, strict=True):
                fakes = rows >= n_real
                if fakes.all():
                    continue
                vicinity = VicinalRidge.of(victim, rows, loss)
                found = bound(vicinity, fakes, start, trained, epochs)
                row = known | {"user": user, "loss": name, "n_fakes": int(fakes.sum())}
                bounds += [row | each for each in _by_form(found)]
                place = epochs.index(served_after)
                users.append(row | _served(attacked, user, start, found, place))
        for place in some:
            rng = stream(scenario.seed, "lanczos", int(sample[place]))
            paths.append(known | _path(attacked, vicinities[place], path_epochs, rng))
    return Measured(*map(pd.DataFrame, (bounds, users, paths)))


def _by_form(found: unlearning.Unlearning) -> list[dict]:
    return [
        {
            "form": form,
            "epochs": int(epochs),
            "measured": found.measured[form][place],
            "bound": found.bound[form][place],
            "exceeded": bool(found.exceeded(form)[place]),
            "start": found.start,
        }
        for form in found.bound
        for place, epochs in enumerate(found.epochs)
    ]


def _served(
    attacked: Attacked, user: int, start: np.ndarray, found: unlearning.Unlearning, place: int
) -> dict[str, float]:
    """What descent has unlearned for a user, and what became of the targets in the user's list."""
    targets, seen, end = attacked.targets, attacked.split.train[[user]], found.path[place]
    latent = latent_of(attacked.victim, np.array([user]))[0]
    ranks = [metrics.ranks((each @ latent)[None], seen, targets)[0] for each in (start, end)]
    before, after = (each[np.isfinite(ranks[0])] for each in ranks)
    left = [unlearning.distances(found.clean, each) for each in (start, end)]
    return {
        "start": float(np.linalg.norm(left[0])),
        "distance": float(np.linalg.norm(left[1])),
        "bound": found.bound[OURS][place],
        "strength": _gone(*left),
        "strength_targets": _gone(*(each[targets] for each in left)),
        "octaves_down": metrics.mean(np.log2(after / before)),
        "hits_removed": metrics.mean(1.0 * (before <= LIST_LENGTH) - (after <= LIST_LENGTH)),
    }


def _gone(before: np.ndarray, after: np.ndarray) -> float:
    """The share of a distance that is gone; NaN where there was none."""
    lengths = np.linalg.norm(before), np.linalg.norm(after)
    return float(1 - lengths[1] / lengths[0]) if lengths[0] > 0 else np.nan


def _path(attacked: Attacked, rows: np.ndarray, epochs: int, rng: np.random.Generator) -> dict:
    found = path.measure(attacked.victim, rows, epochs, rng)
    return {
        "mu": found.mu,
        "lowest": found.curvature[0],
        "highest": found.curvature[1],
        "fell": 1 - found.excess[-1] / found.excess[0],
        "promised": found.promised if found.covered and not found.exceeded else 0.0,
        "covered": found.covered,
        "exceeded": found.exceeded,
    }
