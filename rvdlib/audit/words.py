"""The findings in sentences: what a reader of the first screen is told."""

from typing import Any

from rvdlib.audit.attacking import KNOWLEDGE
from rvdlib.audit.verdicts import LEAST
from rvdlib.defenses.forms import chain_of

ITEMS = {
    "cold": "an item that hardly anybody rated",
    "middling": "a middling item",
    "yours": "an item of yours",
}
NAMED = {
    "least support": "never listing an item with few ratings",
    "unobserved weight": "training with a weight on what is not rated",
    "count": "ordering by the votes of neighbours",
    "quorum": "listing only what enough neighbours rated",
    "closed form": "the closed form of the vicinal defence",
    "closed form and quorum": "the closed form and a quorum of neighbours",
    "detection": "removing users who look fake before training",
    "adversarial training": "adversarial training",
}
# Said of a form that acts before or in training.
TRAINS = (
    "acts before or in training and cannot be served before a model that is trained already: train the "
    "model under it, then serve that model as it is"
)
FOOLED = {
    "yes": "Yes, it is fooled:",
    "no": "No, these attacks hardly move it:",
    "undecided": "It is undecided whether it is fooled:",
}


def percent(value: float | None, digits: int = 1) -> str:
    return "not known" if value is None else f"{100 * value:.{digits}f} %"


def with_interval(row: dict, value: str, low: str, high: str) -> str:
    """``12.0 % [10.1 %, 13.9 %]``; without an interval the number alone."""
    span = "" if row.get(low) is None else f" [{percent(row[low])}, {percent(row[high])}]"
    return percent(row[value]) + span


def answer(f: dict[str, Any]) -> list[str]:
    """Up to four sentences: is it fooled, what helps, what does it cost, how sure."""
    tried, helps, cost = f["remedies"][1:], recommendation(f)[:-1], []
    if f["recommended"]:
        row = next(row for row in tried if row["name"] == f["recommended"])
        helps = (
            f"{_named(f)}: it leaves {with_interval(row, 'thr', 'thr_low', 'thr_high')} under the attack that "
            f"is worst for it ({percent(row['thr_clean'])} without attack)"
        )
        cost = [f"It {_costs(f, row)}{_trains(f)}."]
    elif tried and f["verdicts"]["remedy"] != "not needed":
        best = min(tried, key=lambda row: row["thr"])
        helps += f"; so far {best['name']} leaves least, {percent(best['thr'])} ({best['verdict']})"
    return [_fooled(f), f"{helps}.", *cost, _repetitions(f)]


def recommendation(f: dict[str, Any]) -> str:
    """What to do, in a sentence without numbers."""
    verdict = f["verdicts"]["remedy"]
    if verdict == "found":
        return f"{_named(f)}{_trains(f)}."
    if verdict == "not needed":
        return "Nothing needs to be done against these attacks at this budget."
    if verdict == "none":
        return "No remedy that was tried removes half of the attack's effect at what it may cost."
    more = "--minutes" if f["minutes"] else "--repetitions"
    if f["verdicts"]["fooled"] == "undecided" or len(f["remedies"]) < 2:
        return f"No remedy is recommended before it is clear that one is needed: give more {more}."
    return f"Whether a remedy helps is undecided on these users and in these {more}."


def _named(f: dict[str, Any]) -> str:
    return f"What helps is {NAMED[f['recommended']]} ({f['recommended']})"


def _trains(f: dict[str, Any]) -> str:
    return f"; it {TRAINS}" if chain_of(f["form"]).trains else ""


def _fooled(f: dict[str, Any]) -> str:
    worst = f["remedies"][0]
    many = {row["name"]: row["repetitions"] for row in f["attacks"] if row["name"] in KNOWLEDGE}
    lack = [name for name in KNOWLEDGE if name not in many]
    seldom = [name for name in many if many[name] < min(LEAST, max(many.values()))]
    missing = f"; not tried: the attacks {', '.join(lack)}" if lack else ""
    missing += f"; tried too seldom to count: {', '.join(seldom)}" if seldom else ""
    return (
        f"{FOOLED[f['verdicts']['fooled']]} with {f['fakes']:,} fake users ({percent(f['budget'])} of the "
        f"real ones) an attacker who knows {KNOWLEDGE[worst['attack']]} has {ITEMS[worst['targets']]} listed "
        f"to {with_interval(worst, 'thr', 'thr_low', 'thr_high')} of users among their first "
        f"{f['list_length']} items, without an attack to {percent(worst['thr_clean'])}{missing}."
    )


def _costs(f: dict[str, Any], row: dict) -> str:
    bare, speed = f["remedies"][0], ""
    accuracy = "has a cost in accuracy that cannot be measured here"
    if row["accuracy_change"] is not None:
        low, high = row["accuracy_low"], row["accuracy_high"]
        span = "" if low is None else f" [{1 + low:.2f}, {1 + high:.2f}]"
        times = f"{1 + row['accuracy_change']:.2f}{span} times"
        accuracy = f"has {times} the NDCG@{f['list_length']} of no remedy"
    if row["ms_per_user"] is not None:
        speed = f", at {row['ms_per_user']:.2g} ms a user (without it {bare['ms_per_user']:.2g} ms)"
    return (
        f"{accuracy}, fills {row['list_length']:.0f} of {f['list_length']} places of a list and lists "
        f"{percent(row['coverage'])} of the catalogue (without it {percent(bare['coverage'])}){speed}"
    )


def _repetitions(f: dict[str, Any]) -> str:
    n, least = f["repetitions"], min(row["repetitions"] for row in f["attacks"] + f["remedies"])
    span = f"{least} to {n}" if least < n else str(n)
    said = f"This rests on {span} repetition{'s' * (n != 1)}, each with targets, fakes and a training of its own"
    said += f", on one split {f['split']}"
    said += ", which is too few for an interval" if n < 2 else ""
    ended = f"; the audit ended early, because {f['interrupted']}" if f["interrupted"] else ""
    return f"{said}{ended}."


def basis(f: dict[str, Any]) -> list[str]:
    """What the numbers rest on, and what weakens them."""
    said = [_repetitions(f)]
    if f["audited_users"] < f["users"]:
        said.append(
            f"{f['audited_users']:,} of {f['users']:,} users were audited, drawn at random."
        )
    if f["beaten_by_popularity"]:
        said.append(
            "On validation items the most popular items, the same for everybody, rank better than the model: "
            "a remedy may gain accuracy merely by being nearer to them, and a better model is the first remedy."
        )
    if f["neighbor_agreement"] is None:
        said.append("Whether neighbours mean anything was not measured.")
    elif f["neighbors_by_chance"]:
        said.append(
            "Two trainings agree on who is near to whom no more than by chance: remedies by latent "
            "neighbours are refused, whatever they reached."
        )
    else:
        agreement = f"{f['neighbor_agreement']:.2f} (0 is chance, 1 the same neighbours)"
        said.append(f"Two trainings agree on neighbours by {agreement}.")
    for row in f["certificates"]:
        some = f"no more than {percent(row['at_most'], 0)} of users"
        said.append(
            f"Proven, whatever the fakes look like: under {row['remedy']} up to {row['fakes']:,} fakes "
            f"({percent(row['share'])} of users) bring an item that no real user rated to "
            f"{some if row['at_most'] else 'nobody'}."
        )
    return [
        *said,
        "These are lower bounds: a stronger attacker may exist.",
    ]
