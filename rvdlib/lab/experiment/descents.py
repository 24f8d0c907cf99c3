"""The paper's theory held against real users under real attacks, as rows: does it hold, how loose is
it, and does what it speaks of go with what matters?

Of each user of a sample, the vicinity that RVD would fine-tune on; descent that moves the decoder
alone, on the victim's *whole loss* by the step of Theorem 1, or on the *data term* by that of Theorem 2
(:mod:`rvdlib.theory.unlearning`); the distance to the optimum of the vicinity without its fakes, and
its bounds. Only an experimenter can say this distance: a defender does not know who is fake. For
single users, descent that moves every parameter (Theorem 3).

What matters to a user is how far the attacker's targets fall in the user's list. *Unlearning
strength* is the share of the distance to the clean optimum that descent has gone; if it predicts
anything, users in whom more is unlearned see the targets fall further: a rank correlation over the
users of one victim. The distance before any step is the control: what correlates as much with it is
owed to the user, and not to descent.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator

from rvdlib import metrics
from rvdlib.attacks import ATTACKS
from rvdlib.defenses import RVD
from rvdlib.lab.experiment.cells import Attacked, Scenario, carry_out, sample_users
from rvdlib.lab.experiment.fingerprint import cell_fingerprint
from rvdlib.lab.experiment.hyperparameters import victim_hyperparameters
from rvdlib.lab.experiment.parallel import Batch, Task, rows_of
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.statistics import rank_correlation
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream
from rvdlib.theory import path, unlearning
from rvdlib.theory.ridge import VicinalRidge, decoder_of, latent_of
from rvdlib.theory.unlearning import BY_ITEM, OURS, PAPER, PAPER_CLEAN, QUADRATIC, THEOREMS

MODULE = "lab/experiment/descents.py"
WHOLE, DATA = "whole loss", "data term"
LOSSES = {WHOLE: "coupled", DATA: "none"}  # part of the victim's loss → its regularizer
FORMS = {WHOLE: (PAPER, PAPER_CLEAN, OURS, BY_ITEM), DATA: (PAPER, OURS, QUADRATIC)}
WHERE = ["regime", "target_set", "victim", "attack", "seed"]
QUANTITIES = ["start", "distance", "bound", "strength", "strength_targets"]
OUTCOMES = ["octaves_down", "hits_removed"]
LOOSENESS = ["orders", "left", "bounded", "exceeded", "exceeded_with_fakes"]
LIST_LENGTH = 50
PATH = ["mu", "lowest", "highest", "fell", "promised", "covered", "exceeded"]
_BOUNDS = ["form", "epochs", "user", "n_fakes", "start", "measured", "bound", "exceeded"]


class Descent(BaseModel):
    """Descent for each of a sample of users, with the decoder alone.

    ``k`` neighbours, fakes among them; ``n_users`` of the sample; ``epochs`` after which distances and
    losses are held against bounds, ``served_after``, after which a user is served, among them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Literal["unlearning"] = "unlearning"
    scenario: Scenario
    k: int
    n_users: int
    loss: Literal["whole loss", "data term"]
    epochs: tuple[int, ...]
    served_after: int

    @model_validator(mode="after")
    def _is_served(self) -> "Descent":
        if self.served_after not in self.epochs:
            raise ValueError(
                f"served_after must be one of epochs, {self.epochs}: {self.served_after}"
            )
        return self


class WholePath(BaseModel):
    """Descent for one user of the sample, the ``place``-th of those drawn, with all parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Literal["paths"] = "paths"
    scenario: Scenario
    k: int
    n_users: int
    place: int
    epochs: int


def run(
    wanted: Sequence[Descent | WholePath], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """One row for each, in the order given, columns WHERE; what is on record is not descended again.

    Of a :class:`Descent`: ``loss``; ``users``, who have a real neighbour, and ``users_with_fakes``, who
    have a fake one too, and something to unlearn; ``cases``, users times epochs, and ``violated``, those
    in which the bound of a theorem is exceeded; by :func:`column`, each measure of :data:`LOOSENESS` of
    each form of a bound after so many epochs (``left | our form | 100``), and the rank correlation of
    each quantity with each outcome (``strength | octaves_down``).
    Of a :class:`WholePath`: what :func:`rvdlib.theory.path.measure` found, by the names of
    :data:`PATH`.
    """
    tasks, compute, unit = batch(wanted)
    return pd.DataFrame(rows_of(tasks, compute, store, jobs, unit))


def batch(wanted: Sequence[Descent | WholePath]) -> Batch:
    """What :func:`run` computes."""
    tasks = [
        Task(each, _spec(each), _fingerprint(each), ("unlearning", str(each.scenario)))
        for each in wanted
    ]
    return Batch(tasks, _rows, "victims")


def column(*of: str | int) -> str:
    """The name of what a row has of a measure, form and number of epochs, or of two quantities."""
    return " | ".join(map(str, of))


def _spec(each: Descent | WholePath) -> dict:
    of, own = each.scenario, each.model_dump(mode="json")
    chosen = victim_hyperparameters(of.dataset, of.regime, of.victim)
    return {"what": own.pop("what"), **own.pop("scenario"), **own, "hyperparameters": chosen}


def _fingerprint(each: Descent | WholePath) -> dict:
    of = each.scenario
    attack = [ATTACKS[of.attack].function] if of.attack != "none" else []
    return cell_fingerprint(MODULE, of.dataset, [VICTIMS[of.victim], *attack])


def _rows(wanted: list[Descent | WholePath]) -> Iterator[dict]:
    attacked = carry_out(wanted[0].scenario)
    n_real = attacked.split.train.shape[0]
    for each in wanted:
        users = sample_users(n_real, each.n_users, each.scenario.seed)
        known = each.scenario.model_dump(include=set(WHERE))
        row = _descended if isinstance(each, Descent) else _moved
        yield known | row(each, attacked, users)


def _descended(descent: Descent, attacked: Attacked, users: np.ndarray) -> dict:
    victim, n_real = attacked.victim, attacked.split.train.shape[0]
    loss = victim.loss.variant(regularizer=LOSSES[descent.loss])
    start = decoder_of(victim)
    everyone = VicinalRidge.of(victim, np.arange(victim.train.shape[0]), loss)
    trained = everyone.trained_point(start)
    bound = unlearning.strongly_convex if descent.loss == WHOLE else unlearning.convex
    bounds, served = [], []
    for user, rows in zip(users, RVD(victim, k=descent.k).vicinity(users), strict=True):
        fakes = rows >= n_real
        if fakes.all():
            continue  # there is no clean vicinity
        vicinity = VicinalRidge.of(victim, rows, loss)
        found = bound(vicinity, fakes, start, trained, descent.epochs)
        bounds += [
            {"user": user, "n_fakes": fakes.sum(), "start": found.start} | each
            for each in _by_form(found)
        ]
        place = descent.epochs.index(descent.served_after)
        served.append(_served(attacked, user, start, found, place))
    bounds = pd.DataFrame(bounds, columns=_BOUNDS)
    here = (bounds["n_fakes"] > 0) & (bounds["start"] > 0)
    violated = violations(bounds)
    return {
        "loss": descent.loss,
        "users": len(served),
        "users_with_fakes": int(bounds.loc[here, "user"].nunique()),
        "cases": len(violated),
        "violated": int(violated.sum()),
        **looseness(bounds),
        **correlations(pd.DataFrame(served, columns=[*QUANTITIES, *OUTCOMES])),
    }


def _by_form(found: unlearning.Unlearning) -> list[dict]:
    return [
        {
            "form": form,
            "epochs": int(epochs),
            "measured": found.measured[form][place],
            "bound": found.bound[form][place],
            "exceeded": bool(found.exceeded(form)[place]),
        }
        for form in found.bound
        for place, epochs in enumerate(found.epochs)
    ]


def violations(bounds: pd.DataFrame) -> pd.Series:
    """Whether any theorem's bound is exceeded, by user and number of epochs."""
    held = bounds[bounds["form"].isin(THEOREMS)]
    return held.groupby(["user", "epochs"])["exceeded"].any()


def looseness(bounds: pd.DataFrame) -> dict[str, float]:
    """How loose each form is, and how often it is exceeded, over users.

    ``orders``: the median of log10(bound / measured), of what is above a millionth of the start;
    ``left`` and ``bounded``: medians of what is measured and of its bound over the clean vicinity's
    start; ``exceeded``: the share of users, ``exceeded_with_fakes``: of those with a fake among their
    neighbours. Users who start at the optimum have nothing to measure.
    """
    here = bounds[bounds["start"] > 0]
    least = 1e-6 * here["start"]  # of what is below, digits that are shown may be rounding
    above, bound = here["measured"] > least, np.maximum(here["bound"], least)
    exceeded = here["exceeded"].astype(float)
    here = here.assign(
        orders=np.log10(bound.where(above) / here["measured"].where(above)),
        left=here["measured"] / here["start"],
        bounded=here["bound"] / here["start"],
        exceeded=exceeded,
        exceeded_with_fakes=exceeded.where(here["n_fakes"] > 0),
    )
    measures = dict.fromkeys(LOOSENESS[:3], "median") | dict.fromkeys(LOOSENESS[3:], "mean")
    found = here.groupby(["form", "epochs"], sort=False).agg(measures)
    return {
        column(measure, *of): float(row[measure])
        for of, row in found.iterrows()
        for measure in row.index
    }


def correlations(users: pd.DataFrame) -> dict[str, float]:
    """Spearman's ρ over users, of each quantity with each outcome; NaN where either is the same for
    all."""
    return {
        column(one, other): rank_correlation(users[one], users[other])
        for one, other in product(QUANTITIES, OUTCOMES)
    }


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


def _moved(asked: WholePath, attacked: Attacked, users: np.ndarray) -> dict:
    seed = asked.scenario.seed
    user = users[stream(seed, "users", "path").permutation(len(users))[asked.place]]
    rows = RVD(attacked.victim, k=asked.k).vicinity(np.array([user]))[0]
    rng = stream(seed, "lanczos", int(user))
    found = path.measure(attacked.victim, rows, asked.epochs, rng)
    fell = 1 - found.excess[-1] / found.excess[0]
    promised = found.promised if found.covered and not found.exceeded else 0.0
    measured = found.mu, *found.curvature, fell, promised, found.covered, found.exceeded
    return dict(zip(PATH, measured, strict=True))
