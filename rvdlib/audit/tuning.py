"""How the choices of each remedy are made: on validation items, and on the defender's own attacks.

The defender attacks himself with seeds, targets and fakes of his own, none of which a report states, and
judges accuracy by validation items. Of all forms whose HR and NDCG are within ``BUDGET`` of the
undefended model's, relative, the one with the least lift under the worse of his attacks, on the worse
set of targets, is taken; lifts within ``EQUAL`` of it count as equal, and then accuracy decides. If none
is within, the most accurate one. ``BUDGET`` is half of what a verdict allows, so that what is chosen
does not stand where chance among test users turns its verdict.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rvdlib.arguments import check_one_of
from rvdlib.audit import remedies
from rvdlib.audit.attacking import DEFENDERS
from rvdlib.audit.clock import Clock
from rvdlib.audit.measuring import Bench
from rvdlib.audit.preparing import prepare
from rvdlib.audit.subject import ModelError, hyperparameters, subject_of
from rvdlib.audit.verdicts import DEAR, Cells
from rvdlib.data import Ratings
from rvdlib.defenses.forms import chain_of

BUDGET, EQUAL = DEAR / 2, 0.01
NO_TIME = "no time was left for it: give more --minutes"
# What a model, a remedy or an attack raises on data that it cannot work on: too few users, a singular matrix.
UNFIT = (ValueError, RuntimeError)


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

    @property
    def useful(self) -> bool:
        """Whether it costs at most what it may, and no attack gains by it."""
        return self.loss <= DEAR and self.lift <= self.undefended + EQUAL

    def __str__(self) -> str:
        return (
            f"of {self.trials} choices, on validation: under the worst of the defender's own attacks, "
            f"{100 * self.lift:.1f} % more users find a target in their list than without an attack "
            f"(undefended {100 * self.undefended:.1f} %), and accuracy changes by "
            f"{100 * (0 - self.loss):+.1f} %"
        )


class Tuner:
    """The defender: the model trained on poisoned sets of his own, and what he chose so far.

    Attributes:
        chosen: remedy → choice; ``waiting``: remedies that had no time yet.
        left_out: what → why.
    """

    def __init__(self, bench: Bench, clock: Clock, names: Sequence[str]):
        clock.says("choosing: training")
        self._bench, self._clock = bench, clock
        # Twice, with other targets and fakes, where that costs little.
        twice = bench.seconds["fit", "none"] < 0.012 * clock.all < np.inf
        self._repetitions = {seed: bench.targets(seed) for seed in range(-2 if twice else -1, 0)}
        self._sets = {
            attack: [bench.poisoned(attack, *each[::-1]) for each in self._repetitions.items()]
            for attack in ("none", *DEFENDERS)
        }
        self._trained = {attack: self._fit(attack) for attack in self._sets}
        self._n_cells = len(self._sets) * len(self._repetitions)
        self._bare = self._measured("none", {})
        self._model = self._trained["none"][0]
        self._undefended = _lift(self._bare)
        self.chosen: dict[str, Choice] = {}
        reasons = {name: remedies.why_not(name, bench.subject, self._model) for name in names}
        self.left_out = {name: reason for name, reason in reasons.items() if reason}
        self.waiting = [name for name in names if not reasons[name]]

    def spend(self, seconds: float) -> None:
        """Choose for whatever has no choice yet, in turn; what one leaves of its share, others get."""
        end = self._clock.seconds + seconds
        for at, name in enumerate(waiting := [*self.waiting]):
            now = self._clock.seconds
            until = now + (end - now) / (len(waiting) - at)
            trainings = remedies.TRAINS.get(name, 0) * self._n_cells
            if now + trainings * self._bench.seconds["fit", "none"] < until:
                self.waiting.remove(name)
                self._choose(name, until)

    def _choose(self, name: str, until: float) -> None:
        found: list[tuple[dict, float, float]] = []
        forms = self._forms(name)
        untried = [*forms]
        for form in forms:
            untried.remove(form)
            self._clock.says(f"choosing: {name}")
            start = self._clock.seconds
            try:
                found.append((form, *self._judge(name, form)))
            except ModelError:
                raise
            except UNFIT as error:
                self.left_out[name] = f"it cannot be had here: {error}"
                continue
            self._bench.seconds["choosing", name] = (self._clock.seconds - start) / self._n_cells
            if self._clock.seconds > until:
                break
        if found:
            self.left_out.pop(name, None)
            self.chosen[name] = Choice(*choose(found), self._undefended, len(found))
        if untried:
            self.left_out[f"{len(untried)} more choices of {name}"] = NO_TIME

    def _judge(self, name: str, form: dict) -> tuple[float, float]:
        """Lift under the worst attack on the worst set of targets, and the loss of accuracy."""
        found = self._measured(name, form)
        losses = [
            1 - found.mean("none", of) / max(self._bare.mean("none", of), 1e-12)
            for of in ("hits", "gains")
        ]
        return _kept(_lift(found)), _kept(max(losses))

    def _forms(self, name: str) -> list[dict]:
        split, subject, before = (
            self._bench.split,
            self._bench.subject,
            self.chosen.get("closed form"),
        )
        omega = hyperparameters(split.ratings.name, subject.name, "ranking") if subject.ours else []
        return remedies.candidates(
            name,
            n_users=split.train.shape[0],
            n_fakes=self._bench.n_fakes,
            latent=getattr(self._model, "latent", True),
            closed_form=before.form if before else None,
            omega=omega,
        )

    def _fit(self, attack: str, name: str = "none", form: Mapping | None = None) -> list[Any]:
        sets = zip(self._sets[attack], self._repetitions, strict=True)
        return [self._bench.fit(rows, seed, name, form) for rows, seed in sets]

    def _measured(self, name: str, form: dict) -> Cells:
        """On validation items; as if it were the undefended model."""
        chain, found = chain_of(form), {}
        for attack, bare in self._trained.items():
            models = self._fit(attack, name, form) if name in remedies.TRAINS else bare
            few = attack != "none"  # accuracy is that of nobody attacking
            for each, model in zip(self._repetitions.items(), models, strict=True):
                served = self._bench.measure(chain.wrap(model), each[1], few=few, validation=True)
                found[each[0], attack, "none"] = served
        return Cells(found)


def choose(found: list[tuple[dict, float, float]]) -> tuple[dict, float, float]:
    """Of (form, lift, loss): the least lift within the budget, the most accurate of equal ones."""
    affordable = [each for each in found if each[2] <= BUDGET]
    if not affordable:
        return min(found, key=lambda each: each[2])
    least = min(lift for _, lift, _ in affordable)
    return min((each for each in affordable if each[1] <= least + EQUAL), key=lambda each: each[2])


def choose_form(
    ratings: Ratings,
    model: str = "MF",
    remedy: str = "closed form",
    *,
    regime: str = "ranking",
    budget: float = 0.03,
    minutes: float | None = 10,
    seed: int = 0,
    show: bool = False,
) -> Choice:
    """``rvd tune``: choose k, q, ω, λ, or whatever the remedy has, without an audit around it.

    Arguments as of :func:`rvdlib.audit.audit`; ``remedy``: one of ``REMEDIES``.

    Raises:
        ValueError: as there, and for a remedy that the model cannot have.
        KeyboardInterrupt: if it is interrupted, or the minutes were over, before anything was chosen.
    """
    check_one_of("remedy", remedy, remedies.REMEDIES)
    clock, subject = Clock(minutes, show), subject_of(model, regime, ratings.name)
    names = (
        ["closed form", "closed form and quorum"]
        if remedy == "closed form and quorum"
        else [remedy]
    )
    with clock.running(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        tuner = Tuner(prepare(ratings, subject, clock, budget, seed), clock, names)
        tuner.spend(0.95 * clock.all - clock.seconds)
    if remedy not in tuner.chosen:
        reason = tuner.left_out.get(remedy, NO_TIME)
        raise ValueError(f"{remedy} cannot be had for {subject.name}: {reason}")
    return tuner.chosen[remedy]


def _lift(found: Cells) -> float:
    """Of the worst attack on the worst set of targets."""
    return float(np.mean([*found.worst()[2].values()]))


def _kept(value: float) -> float:
    return float(f"{value:.5g}")
