"""How the choices of each remedy are made: on validation items, and on the defender's own attacks.

The defender attacks himself with seeds, targets and fakes of his own, none of which a report states, and
judges accuracy by validation items. Of all forms whose HR and NDCG are within ``BUDGET`` of the
undefended model's, relative, the one with the least lift under the worse of his attacks, on the worse
set of targets, is taken; lifts within ``EQUAL`` of it count as equal, and then accuracy decides. If none
is within, the most accurate one. The same rule as that of the study's searches.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from rvdlib import metrics
from rvdlib.audit import remedies
from rvdlib.audit.attacking import DEFENDERS
from rvdlib.audit.clock import Clock
from rvdlib.audit.measuring import Bench, Measured
from rvdlib.audit.subject import ModelError

BUDGET, EQUAL = 0.05, 0.01
# What a remedy that trains takes, in trainings of the undefended model, about.
TRAININGS = {"unobserved weight": 2, "detection": 2, "adversarial training": 20}
TOO_SLOW = "it trains too slowly for the minutes: give more"
NO_TIME = "no time was left to choose for it: give more --minutes"
# What a remedy or an attack raises on data that it cannot work on: too few users, a singular matrix.
UNFIT = (ValueError, np.linalg.LinAlgError, RuntimeError)


@dataclass(frozen=True)
class Choice:
    """What was chosen of a remedy, and what it reached on validation.

    Attributes:
        form: ``{method, choices}`` or ``{chain}``.
        lift: of the worst of the defender's attacks; ``undefended``: the same without the remedy.
        loss: of HR or NDCG, the worse one, relative; below 0 it is a gain.
    """

    form: dict
    lift: float
    loss: float
    undefended: float
    trials: int


@dataclass(frozen=True)
class Tuned:
    chosen: dict[str, Choice]
    left_out: dict[str, str]


def tune(
    bench: Bench,
    clock: Clock,
    names: Sequence[str],
    repetitions: int,
    omega: list[dict],
    share: float = 0.35,
) -> Tuned:
    """Choose the form of each remedy in turn, as long as there is time for it.

    Args:
        repetitions: of the defender, each with targets and fakes of its own.
        omega: hyper-parameters of the ranking regime, the likeliest first.
        share: of the minutes that choosing may take.
    """
    clock.says("choosing: training")
    own = _Simulated(bench, repetitions)
    chosen: dict[str, Choice] = {}
    left_out: dict[str, str] = {}
    n_users, model = bench.split.train.shape[0], own.trained["none"][0]
    latent = getattr(model, "latent", True)
    for name in names:
        if reason := remedies.why_not(name, bench.subject, model):
            left_out[name] = reason
            continue
        tries = remedies.candidates(
            name, n_users, bench.n_fakes, latent, {n: c.form for n, c in chosen.items()}, omega
        )
        if name not in remedies.TRAINS and clock.seconds < share * clock.all:
            with suppress(*UNFIT):  # compiled before it is timed; what fails is told below
                own.warm(tries[0])
        slots = len(names) - list(names).index(name)
        deadline = clock.seconds + max(0.0, share * clock.all - clock.seconds) / slots
        if clock.seconds >= deadline:
            left_out[name] = NO_TIME
            continue
        expected = own.n_cells * TRAININGS.get(name, 0) * bench.fit_seconds["none"]
        if expected > 2 * (deadline - clock.seconds):
            left_out[name] = TOO_SLOW
            continue
        found = []
        for form in tries:
            clock.says(f"choosing: {name}")
            start = clock.seconds
            try:
                found.append((form, *own.judge(name, form)))
            except UNFIT as error:
                if isinstance(error, ModelError):
                    raise
                left_out[name] = f"it cannot be had here: {error}"
                continue
            cost = (clock.seconds - start) / own.n_cells
            bench.cell_seconds[name] = min(cost, bench.cell_seconds.get(name, cost))
            if clock.seconds > deadline:
                break
        if not found:
            continue
        left_out.pop(name, None)
        form, lift, loss = choose(found)
        chosen[name] = Choice(form, lift, loss, own.undefended, len(found))
        if len(found) < len(tries):
            left_out[f"{len(tries) - len(found)} more choices of {name}"] = (
                "no time: more --minutes"
            )
    return Tuned(chosen, left_out)


def choose(found: list[tuple[dict, float, float]]) -> tuple[dict, float, float]:
    """Of (form, lift, loss): the least lift within the budget, the most accurate of equal ones."""
    affordable = [each for each in found if each[2] <= BUDGET]
    if not affordable:
        return min(found, key=lambda each: each[2])
    least = min(lift for _, lift, _ in affordable)
    return min((each for each in affordable if each[1] <= least + EQUAL), key=lambda each: each[2])


class _Simulated:
    """The model trained on the defender's own poisoned sets."""

    def __init__(self, bench: Bench, repetitions: int):
        self._bench, self._seeds = bench, range(-repetitions, 0)
        self._targets = {seed: bench.targets(seed) for seed in self._seeds}
        self.trained: dict[str, list[Any]] = {"none": []}
        self._sets: dict[str, list] = {"none": [bench.split.train] * repetitions}
        self.trained["none"] = [bench.fit(bench.split.train, seed) for seed in self._seeds]
        for attack in DEFENDERS:
            self._sets[attack] = [
                bench.poisoned(attack, self._targets[seed], seed, {}) for seed in self._seeds
            ]
            self.trained[attack] = [
                bench.fit(train, seed)
                for train, seed in zip(self._sets[attack], self._seeds, strict=True)
            ]
        self.n_cells = repetitions * (1 + len(DEFENDERS))
        self._bare = self._measured("none", {})
        self.undefended = self._lift(self._bare)

    def judge(self, name: str, form: dict) -> tuple[float, float]:
        """Lift under the worst attack on the worst set of targets, and the loss of accuracy."""
        found = self._measured(name, form)
        losses = [
            1 - _accuracy(found["none"], of) / max(_accuracy(self._bare["none"], of), 1e-12)
            for of in ("hits", "gains")
        ]
        return _kept(self._lift(found)), _kept(max(losses))

    def warm(self, form: dict) -> None:
        """Serve some users by a form, so that nothing compiles when it is timed."""
        self._bench.milliseconds(remedies.chain_of(form).wrap(self.trained["none"][0]))

    def _lift(self, found: dict[str, list[Measured]]) -> float:
        clean = found["none"]
        return max(
            metrics.mean(
                np.array([f.thr[s] - c.thr[s] for f, c in zip(found[attack], clean, strict=True)])
            )
            for attack in DEFENDERS
            for s in clean[0].thr
        )

    def _measured(self, name: str, form: dict) -> dict[str, list[Measured]]:
        bench, chain = self._bench, remedies.chain_of(form)
        found: dict[str, list[Measured]] = {}
        for attack, trained in self.trained.items():
            found[attack] = []
            for at, seed in enumerate(self._seeds):
                model = trained[at]
                if name in remedies.TRAINS:
                    model = bench.fit(self._sets[attack][at], seed, name, form)
                served = chain.wrap(model)
                found[attack].append(bench.measure(served, self._targets[seed], validation=True))
        return found


def _accuracy(found: list[Measured], of: str) -> float:
    return metrics.mean(np.concatenate([getattr(each, of) for each in found]))


def _kept(value: float) -> float:
    return float(f"{value:.5g}")
