"""The audit: what is carried out in which order, and how much of it fits into the minutes.

1. Prepare: as many users as there is room for, hyper-parameters, one training.
2. The defender chooses for each remedy, within a third of the minutes.
3. Repetitions. Each has its share of what is left, a quarter of it at first, and holds as much as fits,
   in the order of :func:`_next`; a remedy for which there was no time to choose has its turn again
   before each. After four, only what is still open is repeated, until nothing is, or the minutes are over.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import product
from typing import Any

import numpy as np

from rvdlib.arguments import check_one_of
from rvdlib.audit.attacking import KNOWLEDGE
from rvdlib.audit.clock import Clock, OutOfMinutes
from rvdlib.audit.measuring import MOST_SEEDS, Bench, Measured
from rvdlib.audit.preparing import prepare
from rvdlib.audit.remedies import REMEDIES, TRAINS
from rvdlib.audit.subject import ModelError, subject_of
from rvdlib.audit.tuning import UNFIT, Choice, Tuner
from rvdlib.audit.verdicts import LEAST, Cells, still_open
from rvdlib.data import Ratings
from rvdlib.defenses.forms import chain_of, resolved
from rvdlib.defenses.quorum import Quorum
from rvdlib.neighbors.agreement import Agreement, neighbor_agreement

MOST_REPETITIONS = 60
_TRAININGS = 6  # that there must be time for before the defender chooses anything
_CHOOSING = 0.35  # of the minutes, until when the defender chooses before anything is measured


class End(Enum):
    """How an audit ended."""

    COMPLETE, OUT_OF_MINUTES, INTERRUPTED, FAILED = auto(), auto(), auto(), auto()


@dataclass
class Audit:
    """What an audit asked and found; :mod:`rvdlib.audit.report` makes a report of it.

    Attributes:
        ratings: all that were given; ``bench`` measures on some or all of them.
        attacks, remedies: those that it was asked to try.
        cells: see :class:`rvdlib.audit.verdicts.Cells`.
        failed: what → why.
        vicinities: of the first two trainings; ``agreement``: of these, None where there are none.
        end: how it ended; ``interrupted``: why it ended early, in words, or nothing.
    """

    ratings: Ratings
    bench: Bench
    minutes: float | None
    attacks: list[str]
    remedies: list[str]
    tuner: Tuner | None = None
    cells: dict[tuple[int, str, str], Measured] = field(default_factory=dict)
    milliseconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    vicinities: list[np.ndarray] = field(default_factory=list)
    agreement: Agreement | None = None
    end: End = End.COMPLETE
    interrupted: str = ""
    seconds: float = 0.0

    @property
    def chosen(self) -> dict[str, Choice]:
        """Remedy → what was chosen of it; nothing of what failed since."""
        chosen = self.tuner.chosen if self.tuner else {}
        return {name: choice for name, choice in chosen.items() if name not in self.failed}


def audit(
    ratings: Ratings,
    model: str = "MF",
    *,
    regime: str = "ranking",
    budget: float = 0.03,
    targets: Sequence[Any] | None = None,
    minutes: float | None = 10,
    seed: int = 0,
    list_length: int = 0,
    repetitions: int | None = None,
    attacks: Sequence[str] = tuple(KNOWLEDGE),
    remedies: Sequence[str] = REMEDIES,
    show: bool = False,
) -> Audit:
    """Attack a recommender on these ratings, try remedies, and keep what was measured.

    Args:
        model: one of ``VICTIMS``, or ``mine.py:make_model`` (:mod:`rvdlib.audit.subject`).
        regime: of training: ``ranking`` (unobserved cells count as weak zeros) or ``rating``.
        budget: fakes per real user.
        targets: raw ids to promote; by default cold and middling items of each repetition's own.
        minutes: to be kept; None: as long as ``repetitions`` take.
        repetitions: exactly so many, of everything, at most ``MOST_SEEDS``; by default until nothing is
            open, or the minutes are over.
        attacks, remedies: those to try, of all that there are.
        show: a progress bar on stderr.

    Raises:
        ValueError: for arguments that fit nothing, ratings without a user of 5, a model that fails.
        KeyboardInterrupt: for a Ctrl-C, or minutes that are over.

    Whatever ends it once an attack was measured is not raised: ``interrupted`` names it, and what was
    measured until then is there.
    """
    for name in attacks:
        check_one_of("attacks", name, KNOWLEDGE)
    for name in remedies:
        check_one_of("remedies", name, REMEDIES)
    if list_length > ratings.n_items:
        raise ValueError(f"list_length is at most {ratings.n_items} (the items), got {list_length}")
    if not attacks:
        raise ValueError("attacks hold no name: give one or more")
    if repetitions is not None and not 1 <= repetitions <= MOST_SEEDS:
        raise ValueError(f"repetitions must be from 1 to {MOST_SEEDS}, got {repetitions}")
    yours = None if targets is None else np.unique(_places(ratings, targets))
    subject = subject_of(model, regime, ratings.name)
    clock = Clock(minutes, show)
    with clock.running(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        bench = prepare(ratings, subject, clock, budget, seed, yours, list_length)
        found = Audit(ratings, bench, minutes, [*attacks], [*remedies])
        try:
            _choose(found, clock, _CHOOSING * clock.all - clock.seconds)
            for repetition in range(repetitions or MOST_REPETITIONS):
                asked, served = _next(found, clock, repetition, exactly=repetitions is not None)
                if not asked:
                    break
                _repeat(found, clock, repetition, asked, served)
        except (KeyboardInterrupt, *UNFIT) as error:
            if not Cells(found.cells).attacks:
                raise
            found.end, found.interrupted = _early(error)
    found.seconds = clock.seconds
    return found


def _early(error: BaseException) -> tuple[End, str]:
    """What ended an audit, and in words."""
    if isinstance(error, OutOfMinutes):
        return End.OUT_OF_MINUTES, str(error)
    if isinstance(error, KeyboardInterrupt):
        return End.INTERRUPTED, str(error) or "it was interrupted"
    return End.FAILED, f"it failed: {error}"


def _next(
    found: Audit, clock: Clock, repetition: int, *, exactly: bool
) -> tuple[list[str], list[str]]:
    """The attacks and the remedies of a repetition: none if nothing is open, or there is no time for it.

    The simplest attack comes first, then the one that knows most, remedies that train nothing, the other
    attacks, and remedies that train: as many as fit into its share of the time. What it leaves goes to
    choosing for a remedy that had no time yet, half of it, for that is to be measured, too.
    """
    if exactly:
        return found.attacks, [*found.chosen]
    attacks, remedies = found.attacks, [*found.chosen]
    if repetition >= LEAST:
        cells = Cells(found.cells)
        again, remedies = still_open(cells, remedies)
        attacks = [a for a in attacks if a in again or a not in cells.attacks]
    attacks = [a for a in attacks if f"attack {a}" not in found.failed]
    first, slow = [*attacks[:1], *attacks[1:][-1:]], [n for n in remedies if n in TRAINS]
    share = clock.left / max(1, LEAST - repetition)
    taken: list[str] = []
    for name in [*first, *(n for n in remedies if n not in slow), *attacks[1:-1], *slow]:
        room = clock.left if name in first else share
        if _expected(found.bench, [*taken, name]) >= room and (taken or repetition):
            break
        taken.append(name)
    if repetition:
        before = [*found.chosen]
        _choose(found, clock, (share - _expected(found.bench, taken)) / 2)
        if new := [name for name in found.chosen if name not in before]:
            taken += [*new, *(first or found.attacks[-1:])]
    return [a for a in found.attacks if a in taken], [n for n in found.chosen if n in taken]


def _choose(found: Audit, clock: Clock, seconds: float) -> None:
    """For remedies that have no choice yet, if there is time for the trainings that it needs."""
    end = clock.seconds + seconds
    if not found.tuner and _TRAININGS * found.bench.seconds["fit", "none"] < seconds:
        found.tuner = Tuner(found.bench, clock, found.remedies)
    if found.tuner:
        found.tuner.spend(end - clock.seconds)


def _expected(bench: Bench, names: Sequence[str]) -> float:
    """Seconds of a repetition with these attacks and remedies.

    What was never timed counts twice what was last timed of the same remedy.
    """
    attacks = ["none", *(n for n in names if n in KNOWLEDGE)]
    total = 0.0
    for attack, remedy in product(attacks, ["none", *(n for n in names if n not in KNOWLEDGE)]):
        similar = [s for (_, name), s in bench.seconds.items() if name == remedy]
        total += bench.seconds.get((attack, remedy), 2 * similar[-1])
    return total


def _repeat(
    found: Audit, clock: Clock, repetition: int, asked: Sequence[str], remedies: list[str]
) -> None:
    bench = found.bench
    targets, known = bench.targets(repetition), _known(found)
    for attack in ["none", *asked]:
        if repetition and clock.left < sum(
            bench.seconds.get((attack, name), 0.0) for name in ["none", *remedies]
        ):
            return
        clock.says(f"repetition {repetition + 1}, attack {attack}")
        few = attack != "none"  # accuracy is that of nobody attacking
        start = clock.seconds
        try:
            rows = bench.poisoned(attack, targets, repetition, known)
        except UNFIT as error:
            if attack == found.attacks[0]:  # the simplest: the budget or the data are at fault
                raise
            found.failed[f"attack {attack}"] = f"it cannot be made here: {error}"
            continue
        bare = bench.fit(rows, repetition)
        for name in ["none", *remedies]:
            form = found.chosen[name].form if name in found.chosen else {}
            try:
                model = bench.fit(rows, repetition, name, form) if name in TRAINS else bare
                served = chain_of(form).wrap(model)
                found.cells[repetition, attack, name] = bench.measure(served, targets, few=few)
            except UNFIT as error:
                if isinstance(error, ModelError) or name == "none":
                    raise
                found.failed[name] = f"it failed under the attack {attack}: {error}"
                remedies = [n for n in remedies if n != name]
                continue
            if attack == "none":
                fastest = found.milliseconds.get(name, np.inf)
                found.milliseconds[name] = min(bench.milliseconds(served), fastest)
            bench.seconds[attack, name] = clock.seconds - start
            start = clock.seconds
        if attack == "none":
            _compare_neighbors(found, bare, repetition)


def _compare_neighbors(found: Audit, model: Any, repetition: int) -> None:
    """Of the first two clean trainings: the same rows, other first weights."""
    n_users = found.bench.split.train.shape[0]
    if repetition > 1 or n_users < 2 or not getattr(model, "latent", True):
        return
    k = min(30, n_users - 1)
    found.vicinities.append(
        Quorum(model, k=k, quorum=1, max_in_degree=None).vicinity(found.bench.users)
    )
    if len(found.vicinities) == 2:
        found.agreement = neighbor_agreement(*found.vicinities)


def _known(found: Audit) -> dict:
    """The choices of the neighbours' defence that an attacker would rather know."""
    for name in ("closed form and quorum", "quorum", "closed form", "count"):
        if name in found.chosen:
            return resolved(found.chosen[name].form)
    return {}


def _places(ratings: Ratings, targets: Sequence[Any]) -> np.ndarray:
    """Columns of raw ids; what is text and stands for a number is found, too."""
    if not len(targets):
        raise ValueError("targets hold no item id: give one or more, or leave them out")
    places = {str(raw): place for place, raw in enumerate(ratings.item_ids.tolist())}
    return np.array(
        [places[str(t)] if str(t) in places else ratings.item_index(t) for t in targets]
    )
