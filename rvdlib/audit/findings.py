"""What an audit found, in JSON's types: the one source of its report."""

import math
from dataclasses import replace
from typing import Any

from rvdlib.attacks import ATTACKS
from rvdlib.audit.attacking import KNOWLEDGE
from rvdlib.audit.remedies import BY_NEIGHBORS, REMEDIES, TRAINS
from rvdlib.audit.run import Audit
from rvdlib.audit.tuning import NO_TIME
from rvdlib.audit.verdicts import Cells, Judged, fooled, judge, remedy_verdict, undefended
from rvdlib.defenses.forms import resolved
from rvdlib.intervals import Interval, t_interval
from rvdlib.theory.certificate import thr_bound

PROMISED = 0.1  # of users, whom a certificate keeps a new item from
_OTHERS = ", ".join(name for name in ATTACKS if name not in {*KNOWLEDGE, "from_file"})
ALWAYS_NOT_TRIED = {
    f"other attacks ({_OTHERS})": "rvd attack makes them",
    "attackers with other budgets or on other splits": "one budget and one split an audit",
    "attackers who demote an item, or promote it to chosen users only": (
        "an audit promotes, to everybody"
    ),
    "fakes among the ratings that you gave": "they count as real users here",
}


def findings(found: Audit) -> dict[str, Any]:
    """All of it; ``null`` where nothing was measured. Keys are those of ``audit.json``."""
    cells, ratings, bench = Cells(found.cells), found.ratings, found.bench
    subject = bench.subject
    (is_fooled, harmful), judged = fooled(cells), _judged(found, cells)
    half = cells.mean("none", "coverage") / 2
    keeps = {each.name: cells.mean(each.name, "coverage") >= half for each in judged}
    waiting = found.tuner.waiting if found.tuner else found.remedies
    untried = any(name not in TRAINS for name in waiting)  # to train takes the minutes of most
    verdict, recommended = remedy_verdict(is_fooled, judged, keeps, untried)
    return {
        "dataset": ratings.name,
        "users": ratings.n_users,
        "items": ratings.n_items,
        "ratings": ratings.n_ratings,
        "implicit": len(ratings.levels) == 1,
        "split": "by time" if ratings.times is not None else "at random",
        "audited_users": bench.split.train.shape[0],
        "regime": subject.regime,
        "model": subject.name,
        "hyperparameters": subject.tries[0] if subject.ours else None,
        "budget": bench.budget,
        "fakes": bench.n_fakes,
        "list_length": bench.list_length,
        "seed": bench.seed,
        "minutes": found.minutes,
        "repetitions": max(len(cells.of(name)) for name in cells.attacks),
        "attacks": [row for name in ["none", *cells.attacks] for row in _attack_rows(cells, name)],
        "remedies": [_remedy_row(found, cells, each) for each in [undefended(cells), *judged]],
        "verdicts": {"fooled": is_fooled, "harmful": harmful, "remedy": verdict},
        "sure": "undecided" not in (is_fooled, verdict),
        "recommended": recommended or None,
        "form": _form(found, recommended),
        "certificates": _certificates(found),
        "neighbor_agreement": found.agreement and _number(found.agreement.above_chance),
        "neighbors_by_chance": found.agreement and found.agreement.by_chance,
        "beaten_by_popularity": bench.beaten_by_popularity,
        "interrupted": found.interrupted or None,
        "not_tried": [{"what": w, "why": y} for w, y in _not_tried(found, cells).items()],
        "seconds": round(found.seconds, 1),
    }


def _judged(found: Audit, cells: Cells) -> list[Judged]:
    """Each remedy that was measured, the simplest first."""
    judged = [each for name in REMEDIES if name in found.chosen and (each := judge(cells, name))]
    harmless = fooled(cells)[0] == "no"  # of next to nothing, no share is worth a verdict
    by_chance = found.agreement is not None and found.agreement.by_chance
    for at, each in enumerate(judged):
        distance = resolved(found.chosen[each.name].form).get("distance")
        if by_chance and each.name in BY_NEIGHBORS and distance != "profile_overlap":
            judged[at] = replace(each, verdict="refused")
        elif harmless and each.verdict != "harms":
            judged[at] = replace(each, verdict="not needed")
    return judged


def _attack_rows(cells: Cells, name: str) -> list[dict]:
    """One a set of targets."""
    return [
        {
            "name": name,
            "knowledge": KNOWLEDGE.get(name, "nobody attacks"),
            "targets": target_set,
            **_ratio(t_interval([*thr.values()]), ""),
            "lift": _number(t_interval([*cells.lift(name, target_set).values()]).mean),
            "repetitions": len(thr),
        }
        for target_set in cells.sets
        if (thr := cells.thr(name, target_set))
    ]


def _remedy_row(found: Audit, cells: Cells, judged: Judged) -> dict:
    name, accuracy = judged.name, judged.accuracy
    clean = t_interval([*cells.thr("none", judged.targets, name).values()])
    return {
        "name": name,
        **_ratio(judged.thr, "thr_"),
        "accuracy_change": _number(accuracy.mean),
        "accuracy_low": _number(accuracy.low),
        "accuracy_high": _number(accuracy.high),
        "ms_per_user": _number(found.milliseconds.get(name, math.nan), 3),
        "coverage": _number(cells.mean(name, "coverage")),
        "list_length": _number(cells.mean(name, "list_length")),
        "thr_clean": _number(clean.mean),
        "attack": judged.attack,
        "targets": judged.targets,
        "repetitions": judged.thr.n,
        "verdict": judged.verdict or None,
        "form": _form(found, name),
    }


def _form(found: Audit, name: str) -> dict | None:
    chosen = found.chosen.get(name)
    return {"regime": found.bench.subject.regime, **chosen.form} if chosen else None


def _certificates(found: Audit) -> list[dict]:
    """The most fakes of whom it is proven that an item without a real rating reaches few users."""
    rows = []
    for name, choice in found.chosen.items():
        n_users, chosen = found.bench.split.train.shape[0], resolved(choice.form)
        if name in ("quorum", "closed form and quorum") and chosen.get("max_in_degree"):
            limits = {"quorum": chosen["quorum"], "max_in_degree": chosen["max_in_degree"]}
            bounds = (thr_bound(0, m + 1, n_users=n_users, **limits) for m in range(n_users))
            fakes = next((m for m, bound in enumerate(bounds) if bound > PROMISED), n_users)
            rows.append({"remedy": name, "fakes": fakes, "at_most": PROMISED})
        elif name == "least support":
            rows.append(
                {"remedy": name, "fakes": max(0, chosen["min_ratings"] - 1), "at_most": 0.0}
            )
    return [row | {"share": _number(row["fakes"] / n_users)} for row in rows]


def _not_tried(found: Audit, cells: Cells) -> dict[str, str]:
    """What → why."""
    reason = f"the audit ended before: {found.interrupted}" if found.interrupted else NO_TIME
    asked = {f"attack {n}": n in found.attacks for n in KNOWLEDGE}
    asked |= {n: n in found.remedies for n in REMEDIES}
    tried = {
        *(f"attack {n}" for n in cells.attacks),
        *(d for _, a, d in cells.cells if a != "none"),
    }
    left = {n: reason if asked[n] else "not asked for" for n in asked if n not in tried}
    users = {}
    if (n := found.bench.split.train.shape[0]) < found.ratings.n_users:
        users = {"all users": f"{n:,}, drawn at random, fit into the minutes"}
    return (
        users
        | left
        | (found.tuner.left_out if found.tuner else {})
        | found.failed
        | ALWAYS_NOT_TRIED
    )


def _ratio(interval: Interval, prefix: str) -> dict:
    """``thr`` and its bounds, which no ratio exceeds."""
    low, high = (min(max(bound, 0.0), 1.0) for bound in (interval.low, interval.high))
    known = interval.n > 1
    return {
        "thr": _number(interval.mean),
        f"{prefix}low": _number(low) if known else None,
        f"{prefix}high": _number(high) if known else None,
    }


def _number(value: float, digits: int = 6) -> float | None:
    return None if math.isnan(value) else float(f"{value:.{digits}g}")
