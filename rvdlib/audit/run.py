"""The audit: how many repetitions fit into the minutes, and what is carried out in which order."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rvdlib.arguments import check_one_of
from rvdlib.audit.attacking import KNOWLEDGE
from rvdlib.audit.clock import Clock, OutOfMinutes
from rvdlib.audit.measuring import Bench
from rvdlib.audit.preparing import Audit, hyperparameters, prepare, subject_of
from rvdlib.audit.remedies import REMEDIES, TRAINS
from rvdlib.audit.subject import ModelError
from rvdlib.audit.tuning import TOO_SLOW, UNFIT, tune
from rvdlib.data import Ratings
from rvdlib.defenses.forms import chain_of, resolved
from rvdlib.defenses.quorum import Quorum
from rvdlib.neighbors.agreement import neighbor_agreement

MOST_REPETITIONS, LEAST_REPETITIONS = 12, 4


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
        repetitions: exactly so many, whatever the clock says; by default as many as fit, 12 at most.
        attacks, remedies: those to try, of all that there are.
        show: a progress bar on stderr.

    Raises:
        ValueError: for arguments that fit nothing, ratings without a user of 5, a model that fails.

    A Ctrl-C, or minutes that are over, ends it early: ``interrupted`` says so, and what was measured
    until then is there.
    """
    for name in attacks:
        check_one_of("attacks", name, KNOWLEDGE)
    for name in remedies:
        check_one_of("remedies", name, REMEDIES)
    yours = None if targets is None else np.unique(_places(ratings, targets))
    found = Audit(ratings, subject_of(model, regime, ratings), budget, seed, minutes, ratings)
    clock = Clock(minutes, show)
    try:
        with clock.running(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            _carry_out(found, clock, yours, list_length, repetitions, attacks, remedies)
    except OutOfMinutes:
        found.interrupted = "the minutes were over"
    except KeyboardInterrupt:
        found.interrupted = "it was interrupted"
    finally:
        clock.close()
    found.seconds = clock.seconds
    return found


def _carry_out(found, clock, yours, list_length, repetitions, attacks, wanted) -> None:
    found.prepared = bench = prepare(found, clock, yours, list_length)
    twice = repetitions is None and 12 * bench.fit_seconds["none"] < 0.15 * clock.all
    name = found.subject.name
    omega = hyperparameters(found.whole.name, name, "ranking") if found.subject.ours else []
    found.tuned = tune(bench, clock, wanted, 2 if twice else 1, omega)
    found.not_tried |= found.tuned.left_out
    left = {f"attack {name}": "not asked for" for name in KNOWLEDGE if name not in attacks}
    found.not_tried |= left | {name: "not asked for" for name in REMEDIES if name not in wanted}
    plan, factor = Plan(list(found.tuned.chosen), list(attacks)), 1.0
    for repetition in range(repetitions or MOST_REPETITIONS):
        if repetitions is None:
            planned = LEAST_REPETITIONS - repetition, factor, clock.left
            plan.cut(found, *planned)
            plan.restore(found, *planned)
            if repetition and clock.left < 1.05 * factor * plan.seconds(bench):
                break
        start = clock.seconds
        _repeat(found, clock, repetition, plan)
        factor = (clock.seconds - start) / plan.seconds(bench)


@dataclass
class Plan:
    """Which remedies and attacks a repetition has."""

    remedies: list[str]
    attacks: list[str]
    dropped: list[tuple[list[str], str]] = field(default_factory=list)

    def seconds(self, bench: Bench) -> float:
        """What a repetition takes, about: crafting comes besides."""
        cells = 1.5 * bench.fit_seconds["none"] + sum(bench.cell_seconds[n] for n in self.remedies)
        return (1 + len(self.attacks)) * cells

    def cut(self, found: Audit, repetitions: int, factor: float, left: float) -> None:
        """Leave out what keeps so many repetitions from fitting: slow trainings, then attacks.

        The simplest attack and the one that knows most stay.

        Args:
            factor: how much longer a repetition takes than :meth:`seconds` says.
            left: seconds.
        """
        cost = found.bench.cell_seconds
        while repetitions > 0 and repetitions * factor * self.seconds(found.bench) > left:
            slow = max((n for n in self.remedies if n in TRAINS), key=cost.__getitem__, default="")
            if slow:
                self.remedies.remove(slow)
                self.dropped.append((self.remedies, slow))
                found.not_tried[slow] = TOO_SLOW
            elif len(self.attacks) > 2:
                name = self.attacks.pop(min(2, len(self.attacks) - 2))
                self.dropped.append((self.attacks, name))
                found.not_tried[f"attack {name}"] = "no time in each repetition: give more minutes"
            else:
                return

    def restore(self, found: Audit, repetitions: int, factor: float, left: float) -> None:
        """Take back what was left out, the last first, where so many repetitions fit with it."""
        for where, name in reversed(self.dropped.copy()):
            where.append(name)
            if max(1, repetitions) * 1.05 * factor * self.seconds(found.bench) > left:
                where.pop()
                continue
            self.dropped.remove((where, name))
            found.not_tried.pop(name if where is self.remedies else f"attack {name}", None)
        self.attacks.sort(key=[*KNOWLEDGE].index)


def _repeat(found: Audit, clock: Clock, repetition: int, plan: Plan) -> None:
    bench, tuned = found.bench, found.tuned.chosen
    targets, known = bench.targets(repetition), _known(found)
    for attack in ["none", *plan.attacks]:
        clock.says(f"repetition {repetition + 1}, attack {attack}")
        try:
            rows = bench.poisoned(attack, targets, repetition, known)
        except UNFIT as error:
            if (
                attack == plan.attacks[0]
            ):  # the simplest of all: the budget or the data are at fault
                raise
            found.not_tried[f"attack {attack}"] = f"it cannot be made here: {error}"
            continue
        bare = bench.fit(rows, repetition)
        few = attack != "none"  # accuracy is that of nobody attacking
        found.cells[repetition, attack, "none"] = bench.measure(bare, targets, few=few)
        for name in [*plan.remedies]:
            form = tuned[name].form
            try:
                model = bench.fit(rows, repetition, name, form) if name in TRAINS else bare
                served = chain_of(form).wrap(model)
                found.cells[repetition, attack, name] = bench.measure(served, targets, few=few)
            except UNFIT as error:
                if isinstance(error, ModelError):
                    raise
                plan.remedies.remove(name)
                found.not_tried[name] = f"it failed under the attack {attack}: {error}"
                continue
            if attack == "none":
                _keep_fastest(found, name, bench.milliseconds(served))
        if attack == "none":
            _keep_fastest(found, "none", bench.milliseconds(bare))
            _compare_neighbors(found, bare, repetition)


def _compare_neighbors(found: Audit, model: Any, repetition: int) -> None:
    """Of the first two clean trainings: the same rows, other first weights."""
    if repetition > 1 or not getattr(model, "latent", True):
        return
    k = max(1, min(30, len(found.ratings.user_ids) - 1))
    lists = Quorum(model, k=k, quorum=1, max_in_degree=None).vicinity(found.bench.users)
    if repetition == 0:
        found.vicinities = lists
    elif found.vicinities is not None and len(lists) > 1:
        found.agreement = neighbor_agreement(found.vicinities, lists)


def _known(found: Audit) -> dict:
    """The choices of the neighbours' defence that an attacker would rather know."""
    chosen = [n for n in ("hardened", "quorum", "closed form", "count") if n in found.tuned.chosen]
    return resolved(found.tuned.chosen[chosen[0]].form) if chosen else {}


def _keep_fastest(found: Audit, name: str, milliseconds: float) -> None:
    found.milliseconds[name] = min(milliseconds, found.milliseconds.get(name, np.inf))


def _places(ratings: Ratings, targets: Sequence[Any]) -> np.ndarray:
    """Columns of raw ids; what is text and stands for a number is found, too."""
    if not len(targets):
        raise ValueError("targets hold no item id: give one or more, or leave them out")
    places = {str(raw): place for place, raw in enumerate(ratings.item_ids.tolist())}
    return np.array(
        [places[str(t)] if str(t) in places else ratings.item_index(t) for t in targets]
    )
