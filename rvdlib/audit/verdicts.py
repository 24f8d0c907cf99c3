"""From measurements to verdicts: intervals, what they show, and what they leave open.

A unit of chance is a repetition: targets, fakes and first weights of its own, on one split. Intervals of
target hit ratios are Student's t over repetitions, 95 %; what is compared is compared within them.
Accuracy is compared user by user. What an interval does not show is not claimed: *undecided* is a verdict.

Users, split, and what is chosen on it are the same for every seed, which draws attackers and trainings.
So that another one does not turn a verdict, repetitions go to what is open: a question is closed before
the minutes are over only by an interval of 99.9 % (the rule of Haybittle and Peto for looking at data
while they come in), and what 95 % do not show at the end stays undecided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from rvdlib import metrics
from rvdlib.audit.attacking import STRONG
from rvdlib.audit.measuring import Measured
from rvdlib.intervals import Interval, t_interval, t_quantile

# Of users: the share of lists that an average item stands in at most, for a list has at most a twentieth
# of the catalogue. An attack that wins more makes of any item one that is listed more than most.
FOOLED = 0.05
REMOVED = 0.5  # of the lift, for a remedy to help
HARM = 0.01  # further users, for a remedy to harm
DEAR = 0.05  # of NDCG, relative: what a remedy may cost
LEAST = 4  # repetitions for a mean to be compared with others, where there are as many
_CLOSED = 0.999


def against(interval: Interval, threshold: float) -> str:
    """``yes`` if the interval lies above the threshold, ``no`` if below, else ``undecided``."""
    if interval.low > threshold:
        return "yes"
    return "no" if interval.high < threshold else "undecided"


def closed(interval: Interval, threshold: float) -> bool:
    """Whether even an interval of 99.9 % lies on one side of the threshold."""
    if interval.n < 2 * LEAST:  # of a few, two may be near to each other by chance
        return False
    wider = scipy.stats.t.ppf((1 + _CLOSED) / 2, interval.n - 1) / t_quantile(interval.n)
    return bool(abs(interval.mean - threshold) > wider * (interval.high - interval.mean))


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

    def of(self, attack: str, remedy: str = "none") -> dict[int, Measured]:
        """Repetition → what it measured."""
        return {r: each for (r, a, d), each in self.cells.items() if (a, d) == (attack, remedy)}

    def thr(self, attack: str, target_set: str, remedy: str = "none") -> dict[int, float]:
        """Repetition → target hit ratio."""
        found = self.of(attack, remedy).items()
        return {r: each.thr[target_set] for r, each in found if target_set in each.thr}

    def lift(self, attack: str, target_set: str, remedy: str = "none") -> dict[int, float]:
        """Repetition → THR less that of the same remedy while nobody attacks."""
        clean = self.thr("none", target_set, remedy)
        thr = self.thr(attack, target_set, remedy)
        return {r: value - clean[r] for r, value in thr.items() if r in clean}

    def worst(self, remedy: str = "none") -> tuple[str, str, dict[int, float]]:
        """The attack and the set of targets with the largest mean lift; and the lift.

        Of what was measured ``LEAST`` times, or as often as anything: of one draw, the largest is
        chance. Empty if nothing was measured.
        """
        pairs = [(a, s) for a in self.attacks for s in self.sets]
        lifts = [(*pair, self.lift(*pair, remedy)) for pair in pairs]
        least = max(1, min(LEAST, max((len(each[2]) for each in lifts), default=0)))
        often = [each for each in lifts if len(each[2]) >= least]
        return max(often, key=lambda each: np.mean([*each[2].values()]), default=("", "", {}))

    def lifts(self, attack: str) -> list[Interval]:
        """Of the undefended model, one a set of targets."""
        return [t_interval([*self.lift(attack, s).values()]) for s in self.sets]

    def often(self) -> dict[str, str]:
        """Attack → whether it is shown to be harmful, on any targets; of those of :meth:`worst`."""
        many = {a: len(self.of(a)) for a in self.attacks}
        least, shown = min(LEAST, max(many.values(), default=0)), {}
        for attack in [a for a in many if many[a] >= least]:
            said = {against(lift, FOOLED) for lift in self.lifts(attack)}
            shown[attack] = "yes" if "yes" in said else "no" if said == {"no"} else "undecided"
        return shown

    def accuracy_change(self, remedy: str) -> Interval:
        """Of NDCG, relative to the undefended model's: mean over users, and its interval."""
        served, bare = self.of("none", remedy), self.of("none")
        if not served:
            return t_interval([])
        gains = np.mean([[served[r].gains, bare[r].gains] for r in served], axis=0)
        tested = gains[:, ~np.isnan(gains[1])]
        base = tested[1].mean() if tested.size else 0.0
        return t_interval((tested[0] - tested[1]) / base if base > 0 else [])

    def mean(self, remedy: str, what: str) -> float:
        """Of what is measured while nobody attacks; NaN is left out, and the mean if there is nothing."""
        found = [np.atleast_1d(getattr(each, what)) for each in self.of("none", remedy).values()]
        return metrics.mean(np.concatenate([*found, []]))


@dataclass(frozen=True)
class Judged:
    """A remedy, judged.

    Attributes:
        thr: under the worst attack on the worst targets for this remedy, ``attack`` and ``targets``.
        verdict: ``helps`` (removes half of the lift or more, at what it may cost, both by their
            intervals), ``too dear``, ``harms`` (the attack gains by it), ``does not help``, or
            ``undecided``; a report also has ``not needed`` where the model is not fooled, and
            ``refused`` where neighbours mean nothing.
        closed: whether more repetitions would hardly change what it removes.
    """

    name: str
    thr: Interval
    attack: str
    targets: str
    accuracy: Interval
    verdict: str = ""
    closed: bool = True


def undefended(cells: Cells) -> Judged:
    """The model without a remedy."""
    attack, targets, _ = cells.worst()
    thr = t_interval([*cells.thr(attack, targets).values()])
    return Judged("none", thr, attack, targets, t_interval([0.0]))


def judge(cells: Cells, remedy: str) -> Judged | None:
    """None where the remedy was measured under no attack."""
    before, (attack, targets, after) = cells.worst()[2], cells.worst(remedy)
    if not after:
        return None
    both = [r for r in after if r in before]
    removed = _share_removed([before[r] for r in both], [after[r] for r in both])
    worse = t_interval([after[r] - before[r] for r in both])
    accuracy = cells.accuracy_change(remedy)
    if worse.low > HARM:
        verdict = "harms"
    elif removed.high < REMOVED:
        verdict = "does not help"
    elif accuracy.high < -DEAR:
        verdict = "too dear"
    elif removed.low > REMOVED and accuracy.low >= -DEAR:
        verdict = "helps"
    else:
        verdict = "undecided"
    thr = t_interval([*cells.thr(attack, targets, remedy).values()])
    done = closed(removed, REMOVED) and (removed.mean > REMOVED or closed(worse, HARM))
    return Judged(remedy, thr, attack, targets, accuracy, verdict, done)


def _share_removed(before: Sequence[float], after: Sequence[float]) -> Interval:
    """1 − Σ after / Σ before, by the residuals of this ratio (Cochran, Sampling Techniques, ch. 6)."""
    bare, served = np.array(before), np.array(after)
    if not bare.sum() > 0:
        return t_interval([])
    left = served.sum() / bare.sum()
    return t_interval(1 - left - (served - left * bare) / bare.mean())


def fooled(cells: Cells) -> tuple[str, list[str]]:
    """``yes`` if an attack is harmful, ``no`` if all that were measured often are shown not to be; and
    which are.

    ``no`` needs one of the strong attackers: that the weak ones fail shows nothing.
    """
    shown = cells.often()
    harmful = [attack for attack, said in shown.items() if said == "yes"]
    harmless = set(shown.values()) == {"no"} and bool(STRONG & shown.keys())
    return "yes" if harmful else "no" if harmless else "undecided", harmful


def still_open(cells: Cells, remedies: Sequence[str]) -> tuple[list[str], list[str]]:
    """The attacks and the remedies of which more repetitions may change the verdict.

    A remedy is of interest where the model is fooled, and needs the attack that is worst for it, and the
    one that is worst without it.
    """
    attacks = set()
    for attack in cells.attacks:
        lifts = cells.lifts(attack)
        above = any(closed(lift, FOOLED) and lift.mean > FOOLED for lift in lifts)
        if not above and not all(closed(lift, FOOLED) for lift in lifts):
            attacks.add(attack)
    if fooled(cells)[0] != "yes":
        return [a for a in cells.attacks if a in attacks], []
    judged = {name: judge(cells, name) for name in remedies}
    waiting = {name: each for name, each in judged.items() if each is None or not each.closed}
    if waiting:
        attacks |= {cells.worst()[0], *(each.attack for each in waiting.values() if each)}
    return [a for a in cells.attacks if a in attacks], [*waiting]


def remedy_verdict(
    is_fooled: str, judged: Sequence[Judged], keeps: Mapping[str, bool], untried: bool = False
) -> tuple[str, str]:
    """``not needed``, ``found``, ``none`` or ``undecided``; and the remedy to take.

    That is the simplest that helps: of those that keep listing half of the catalogue that was listed
    (``keeps``), if there are any. ``none`` needs all to be tried that could be: ``untried`` says no.
    """
    if is_fooled != "yes":
        return ("not needed" if is_fooled == "no" else "undecided"), ""
    helping = [each.name for each in judged if each.verdict == "helps"]
    if helping:
        return "found", next((name for name in helping if keeps[name]), helping[0])
    is_open = untried or not judged or any(each.verdict == "undecided" for each in judged)
    return ("undecided" if is_open else "none"), ""
