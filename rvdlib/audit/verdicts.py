"""From measurements to verdicts: intervals, what they show, and what they leave open.

A unit of chance is a repetition: targets, fakes and first weights of its own, on one split. Intervals of
target hit ratios are Student's t over repetitions, 95 %; what is compared is compared within them.
Accuracy is compared user by user. Each verdict has three values or more, and *undecided* is one: what an
interval does not show is not claimed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rvdlib.audit.attacking import STRONG
from rvdlib.audit.measuring import Measured
from rvdlib.intervals import Interval, t_interval

FOOLED = 0.02  # one user in fifty who is served a target because of the fakes
REMOVED = 0.5  # of the lift, for a remedy to help
HARM = 0.01  # further users, for a remedy to harm
DEAR = 0.05  # of NDCG, relative: what a remedy may cost


def against(interval: Interval, threshold: float) -> str:
    """``yes`` if the interval lies above the threshold, ``no`` if below, else ``undecided``."""
    if interval.low > threshold:
        return "yes"
    return "no" if interval.high < threshold else "undecided"


@dataclass(frozen=True, eq=False)
class Cells:
    """What was measured: (repetition, attack, remedy) → :class:`Measured`; ``none`` of both is clean."""

    cells: Mapping[tuple[int, str, str], Measured]

    @property
    def attacks(self) -> list[str]:
        return [a for a in dict.fromkeys(a for _, a, _ in self.cells) if a != "none"]

    @property
    def sets(self) -> list[str]:
        return list(dict.fromkeys(s for each in self.cells.values() for s in each.thr))

    def repetitions(self, attack: str, remedy: str) -> list[int]:
        return [r for r, a, d in self.cells if (a, d) == (attack, remedy)]

    def thr(self, attack: str, target_set: str, remedy: str = "none") -> dict[int, float]:
        """Repetition → target hit ratio."""
        found = {r: self.cells[r, attack, remedy] for r in self.repetitions(attack, remedy)}
        return {r: each.thr[target_set] for r, each in found.items() if target_set in each.thr}

    def lift(self, attack: str, target_set: str, remedy: str = "none") -> dict[int, float]:
        """Repetition → THR less that of the same remedy while nobody attacks."""
        clean = self.thr("none", target_set, remedy)
        thr = self.thr(attack, target_set, remedy)
        return {r: value - clean[r] for r, value in thr.items() if r in clean}

    def often(self, attack: str, remedy: str = "none") -> bool:
        """Whether an attack was measured in half of the repetitions of the most frequent one, or more."""
        many = {a: len(self.repetitions(a, remedy)) for a in self.attacks}
        return many.get(attack, 0) >= max(1, max(many.values(), default=0) / 2)

    def worst(self, remedy: str = "none") -> tuple[str, str] | None:
        """The attack and the set of targets with the largest mean lift; None if nothing was measured.

        Of what was measured in half of the repetitions or more: of one draw, the largest is chance.
        """
        lifts = {
            (a, s): [*self.lift(a, s, remedy).values()] for a in self.attacks for s in self.sets
        }
        most = max(map(len, lifts.values()), default=0)
        found = {pair: np.mean(of) for pair, of in lifts.items() if of and len(of) >= most / 2}
        return max(found, key=lambda pair: found[pair]) if found else None

    def accuracy_change(self, remedy: str) -> Interval:
        """Of NDCG, relative to the undefended model's: mean over users, and its interval."""
        there = self.repetitions("none", remedy)
        if not there:
            return t_interval([])
        gains = {
            d: np.mean([self.cells[r, "none", d].gains for r in there], axis=0)
            for d in ("none", remedy)
        }
        base = np.nanmean(gains["none"]) if (~np.isnan(gains["none"])).any() else np.nan
        changes = gains[remedy] - gains["none"]
        if not base > 0:
            return t_interval([])
        return t_interval(changes / base)

    def mean(self, remedy: str, of: str) -> float:
        found = [
            getattr(self.cells[r, "none", remedy], of) for r in self.repetitions("none", remedy)
        ]
        return float(np.mean(found)) if found else np.nan


@dataclass(frozen=True)
class Judged:
    """A remedy, judged.

    Attributes:
        thr: under the worst attack on the worst targets for this remedy, ``attack`` and ``targets``.
        verdict: ``helps`` (removes half of the lift or more, at what it may cost, both by their intervals), ``too dear``,
            ``harms`` (the attack gains by it), ``does not help``, or ``undecided``; a report also has
            ``not needed`` where the model is not fooled, and ``refused`` where neighbours mean nothing.
    """

    name: str
    thr: Interval
    attack: str
    targets: str
    accuracy: Interval
    verdict: str


def fooled(cells: Cells) -> tuple[str, Interval]:
    """Whether the worst attack lifts a target for more than one user in fifty, and by how much.

    ``no`` needs one of the strong attackers: that the weak ones fail shows nothing.
    """
    worst = cells.worst()
    lift = t_interval(list(cells.lift(*worst).values()) if worst else [])
    verdict = against(lift, FOOLED)
    if verdict == "no" and not any(map(cells.often, STRONG)):
        verdict = "undecided"
    return verdict, lift


def judge(cells: Cells, remedy: str) -> Judged | None:
    """None where the remedy was measured under no attack."""
    worst, own = cells.worst(), cells.worst(remedy)
    if worst is None or own is None:
        return None
    before, after = cells.lift(*worst), cells.lift(*own, remedy)
    both = [r for r in after if r in before]
    removed = t_interval([(1 - REMOVED) * before[r] - after[r] for r in both])
    worse = t_interval([after[r] - before[r] for r in both])
    accuracy = cells.accuracy_change(remedy)
    if worse.low > HARM:
        verdict = "harms"
    elif removed.high < 0:
        verdict = "does not help"
    elif accuracy.high < -DEAR:
        verdict = "too dear"
    elif removed.low > 0 and accuracy.low >= -DEAR:
        verdict = "helps"
    else:
        verdict = "undecided"
    thr = t_interval(list(cells.thr(*own, remedy).values()))
    return Judged(remedy, thr, *own, accuracy, verdict)


def remedy_verdict(
    is_fooled: str, judged: Sequence[Judged], keeps: Mapping[str, bool]
) -> tuple[str, str]:
    """``not needed``, ``found``, ``none`` or ``undecided``; and the remedy to take.

    That is the simplest that helps: of those that keep listing half of the catalogue that was listed
    (``keeps``), if there are any.
    """
    if is_fooled != "yes":
        return ("not needed" if is_fooled == "no" else "undecided"), ""
    helping = [each.name for each in judged if each.verdict == "helps"]
    if helping:
        return "found", next((name for name in helping if keeps[name]), helping[0])
    open_ones = [each for each in judged if each.verdict == "undecided"]
    return ("undecided" if open_ones or not judged else "none"), ""
