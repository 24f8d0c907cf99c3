"""What an audit found, in JSON's types: the one source of its report."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rvdlib.attacks import ATTACKS
from rvdlib.audit.attacking import KNOWLEDGE
from rvdlib.audit.preparing import Audit
from rvdlib.audit.remedies import BY_NEIGHBORS
from rvdlib.audit.verdicts import Cells, Judged, fooled, judge, remedy_verdict
from rvdlib.defenses.forms import resolved
from rvdlib.intervals import t_interval
from rvdlib.theory.certificate import thr_bound

PROMISED = 0.1  # of users, whom a certificate keeps a new item from
ALWAYS_NOT_TRIED = {
    "attackers with other budgets or on other splits": "one budget and one split an audit",
    "attackers who demote an item, or promote it to chosen users only": "an audit promotes, to everybody",
    "fakes among the ratings that you gave": "they count as real users here",
}


def findings(found: Audit) -> dict[str, Any]:
    """All of it; ``null`` where nothing was measured. Keys are those of ``audit.json``."""
    cells = Cells(found.cells)
    judged = [each for name in found.tuned.chosen if (each := judge(cells, name))]
    refused = _refused(found)
    is_fooled, lift = fooled(cells)
    if is_fooled == "no":  # of next to nothing, no share is worth a verdict
        judged = [
            each if each.verdict == "harms" else replace(each, verdict="not needed")
            for each in judged
        ]
    judged = [replace(each, verdict="refused") if each.name in refused else each for each in judged]
    half = cells.mean("none", "coverage") / 2
    keeps = {each.name: cells.mean(each.name, "coverage") >= half for each in judged}
    verdict, recommended = remedy_verdict(is_fooled, judged, keeps)
    ratings, bench = found.ratings, found.prepared
    return {
        "dataset": found.whole.name,
        "users": found.whole.n_users,
        "items": found.whole.n_items,
        "ratings": found.whole.n_ratings,
        "implicit": len(found.whole.levels) == 1,
        "split": "by time" if found.whole.times is not None else "at random",
        "audited_users": ratings.n_users,
        "regime": found.subject.regime,
        "model": found.subject.name,
        "hyperparameters": found.subject.tries[0] if found.subject.ours else None,
        "budget": found.budget,
        "fakes": bench.n_fakes if bench else None,
        "list_length": bench.list_length if bench else None,
        "seed": found.seed,
        "minutes": found.minutes,
        "repetitions": len(cells.repetitions("none", "none")),
        "attacks": _attack_rows(cells),
        "remedies": [_undefended(found, cells), *(_remedy_row(found, cells, j) for j in judged)],
        "verdicts": {"fooled": is_fooled, "remedy": verdict},
        "lift": _number(lift.mean),
        "lift_low": _number(lift.low),
        "lift_high": _number(lift.high),
        "recommended": recommended or None,
        "form": _form_of(found, recommended),
        "certificates": _certificates(found),
        "neighbor_agreement": found.agreement and _number(found.agreement.above_chance),
        "neighbors_by_chance": found.agreement and found.agreement.by_chance,
        "beaten_by_popularity": found.beaten_by_popularity,
        "interrupted": found.interrupted or None,
        "not_tried": [{"what": w, "why": y} for w, y in _not_tried(found, cells).items()],
        "seconds": round(found.seconds, 1),
    }


def form_file(regime: str, form: Mapping) -> dict[str, Any]:
    """What a file of choices holds: ``regime`` and ``method`` with ``choices``, or a ``chain``."""
    return {"regime": regime, **form}


def _attack_rows(cells: Cells) -> list[dict]:
    rows = []
    for name in ["none", *cells.attacks]:
        for target_set in cells.sets:
            found = cells.thr(name, target_set)
            if not found:
                continue
            thr, lift = (
                t_interval(list(found.values())),
                t_interval([*cells.lift(name, target_set).values()]),
            )
            rows.append(
                {
                    "name": name,
                    "knowledge": KNOWLEDGE.get(name, "nobody attacks"),
                    "targets": target_set,
                    **_ratio(thr, ""),
                    "lift": _number(lift.mean),
                    "repetitions": len(found),
                }
            )
    return rows


def _undefended(found: Audit, cells: Cells) -> dict:
    worst = cells.worst()
    thr = t_interval([*cells.thr(*worst).values()] if worst else [])
    return {
        "name": "none",
        **_ratio(thr, "thr_"),
        "accuracy_change": 0.0,
        "ms_per_user": _milliseconds(found, "none"),
        "coverage": _number(cells.mean("none", "coverage")),
        "list_length": _number(cells.mean("none", "list_length")),
        "thr_clean": _number(_clean(cells, worst[1], "none")) if worst else None,
        "attack": worst[0] if worst else None,
        "targets": worst[1] if worst else None,
        "verdict": None,
        "form": None,
    }


def _remedy_row(found: Audit, cells: Cells, judged: Judged) -> dict:
    return {
        "name": judged.name,
        **_ratio(judged.thr, "thr_"),
        "accuracy_change": _number(judged.accuracy.mean),
        "accuracy_low": _number(judged.accuracy.low),
        "accuracy_high": _number(judged.accuracy.high),
        "ms_per_user": _milliseconds(found, judged.name),
        "coverage": _number(cells.mean(judged.name, "coverage")),
        "list_length": _number(cells.mean(judged.name, "list_length")),
        "thr_clean": _number(_clean(cells, judged.targets, judged.name)),
        "attack": judged.attack,
        "targets": judged.targets,
        "verdict": judged.verdict,
        "form": _form_of(found, judged.name),
    }


def _clean(cells: Cells, target_set: str, remedy: str) -> float:
    return t_interval([*cells.thr("none", target_set, remedy).values()]).mean


def _refused(found: Audit) -> set[str]:
    """Remedies by latent neighbours, where two trainings agree on these no more than by chance."""
    if found.agreement is None or not found.agreement.by_chance:
        return set()
    return {
        name
        for name, choice in found.tuned.chosen.items()
        if name in BY_NEIGHBORS and resolved(choice.form).get("distance") != "profile_overlap"
    }


def _form_of(found: Audit, name: str) -> dict | None:
    return form_file(found.subject.regime, found.tuned.chosen[name].form) if name else None


def _certificates(found: Audit) -> list[dict]:
    """The most fakes of whom it is proven that an item without a real rating reaches few users."""
    rows, n_users = [], found.ratings.n_users
    for name, choice in found.tuned.chosen.items():
        chosen = resolved(choice.form)
        if name in ("quorum", "hardened") and chosen.get("max_in_degree"):
            limits = {"quorum": chosen["quorum"], "max_in_degree": chosen["max_in_degree"]}
            tolerated = 0
            while (
                tolerated < n_users
                and thr_bound(0, tolerated + 1, n_users=n_users, **limits) <= PROMISED
            ):
                tolerated += 1
            at_budget = float(thr_bound(0, found.bench.n_fakes, n_users=n_users, **limits))
        elif name == "least support":
            tolerated = max(0, chosen["min_ratings"] - 1)
            at_budget = 0.0 if found.bench.n_fakes <= tolerated else 1.0
        else:
            continue
        rows.append(
            {
                "remedy": name,
                "fakes": int(tolerated),
                "share": _number(tolerated / n_users),
                "at_most": PROMISED if name != "least support" else 0.0,
                "thr_at_budget": _number(at_budget),
            }
        )
    return rows


def _not_tried(found: Audit, cells: Cells) -> dict[str, str]:
    others = [n for n in ATTACKS if n not in KNOWLEDGE and n != "from_file"]
    stopped = [
        a for a in KNOWLEDGE if a not in cells.attacks and f"attack {a}" not in found.not_tried
    ]
    reason = found.interrupted or "it ended before"
    return (
        found.not_tried
        | {f"attack {name}": reason for name in stopped}
        | {f"other attacks ({', '.join(others)})": "rvd attack makes them"}
        | ALWAYS_NOT_TRIED
    )


def _ratio(interval: Any, prefix: str) -> dict:
    """``thr`` and its bounds, which no ratio exceeds."""
    low, high = (
        min(max(b, 0.0), 1.0) if not math.isnan(b) else b for b in (interval.low, interval.high)
    )
    return {
        "thr": _number(interval.mean),
        f"{prefix}low": _number(low),
        f"{prefix}high": _number(high),
    }


def _milliseconds(found: Audit, name: str) -> float | None:
    return _number(found.milliseconds.get(name, math.nan), 3)


def _number(value: float, digits: int = 6) -> float | None:
    return None if value is None or math.isnan(value) else float(f"{value:.{digits}g}")
