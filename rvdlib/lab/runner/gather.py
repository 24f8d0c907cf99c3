"""From ``.cache/cells`` into the repository's store of a profile."""

import json
from collections.abc import Iterable
from typing import Any

from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment import quality
from rvdlib.lab.experiment.committed import changes, store_of
from rvdlib.lab.experiment.lines import Kept, flat, key_of
from rvdlib.lab.experiment.parallel import Task
from rvdlib.lab.experiment.plain_values import encode, to_text
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.profiles import COMMITTED
from rvdlib.lab.runner.unchanged import OPTIMISED, TABLE, row_difference

TIMED = {"seconds", *quality.TIMED}  # columns that differ from run to run
DRAWN_TRAINING = "adversarial_poisoning_training"
# How far a row may be off on another processor, by what it is about, its attack or a method of its
# chain, where that is more than for others; of several the largest.
LOOSE = {
    # These magnify the last digits of a training: ratios of a bound to what is measured, and the lowest
    # loss that a search finds.
    "unlearning": OPTIMISED,
    "paths": OPTIMISED,
    # It maximises within: of a gradient that is all but 0 it takes the direction.
    "adversarial_training": OPTIMISED,
    # Where a gradient is all but 0, Adam turns a rounding into part of a step. Of 105 rows of RVD on
    # ML-100K, six victims in both regimes, three were off by more than a table's tolerance, by up to
    # 0.0009. No test item may cross rank 50: of 200 users one is 0.005 of HR@50.
    "rvd": 0.001,
    # Its fakes are drawn by a network that was trained, on another processor others: of 24 rows of RVD on
    # ML-1M under attacks that optimise five were off by more than theirs, all of this attack, by up to
    # 0.0115; one of the closed form by 0.01 in HR@50 and 0.03 in the share of the catalogue.
    "aush": 0.04,
    # It draws its own fakes by what it has learned so far, which differs in the last digits: on another
    # processor it is another draw. Of 133 rows of six victims, two regimes and two data sets none was
    # off by more than 0.042 in THR@50, 0.035 in HR@50 and 0.061 in anything else.
    DRAWN_TRAINING: 0.07,
}
LEAPS = {"fakes_near_fakes"}  # of a drawn training: they lie together, or they do not


def gather(profile: str, tasks: Iterable[Task], complete: bool = False) -> tuple[int, int]:
    """Put finished rows into a profile's store: how many were written, and how many dropped.

    A row of other code or data is replaced. One that counts as finished is left as it is while what
    was computed here says the same within :func:`tolerance`, as another processor computes it. What
    the paper profile's store has is not stored for another.

    Args:
        profile: one of :data:`rvdlib.lab.profiles.COMMITTED`.
        tasks: those of whose rows the profile makes use.
        complete: they are all; what no notebook of the profile uses is dropped.
    """
    cache, store = CellStore(), store_of(profile)
    above = [store_of(name) for name in COMMITTED[: COMMITTED.index(profile)]]
    wanted = {key_of(encode(task.spec)): task for task in tasks}
    known = {key_of(kept.spec): kept for kept in store.all()}
    found, dropped = [], known.keys() - wanted.keys() if complete else set()
    for key, task in wanted.items():
        if any(each.lookup(task.spec, task.fingerprint).rows for each in above):
            dropped |= {key} & known.keys()
            continue
        record = cache.record(task.spec)
        if record is None or changes(record["fingerprint"], task.fingerprint):
            continue
        own = Kept(record["spec"], record["rows"][0], record.get("cost", {}), record["fingerprint"])
        kept = known.get(key)
        if (
            kept is None
            or changes(kept.fingerprint, task.fingerprint)
            or disagreement(kept.row, own.row, own.spec)
        ):
            found.append(own)
    if found or dropped:
        store.write(found, without=dropped)
    return len(found), len(dropped)


def disagreement(old: dict, new: dict, spec: dict) -> str:
    """In what two encoded rows of one specification differ by more than the tolerance; or nothing."""
    free = TIMED | LEAPS if DRAWN_TRAINING in _methods(spec) else TIMED
    before, after = (
        {name: to_text(_in_order(value)) for name, value in row.items() if name not in free}
        for row in (old, new)
    )
    return row_difference(before, after, tolerance(spec))


def tolerance(spec: dict) -> float:
    """How far a row of an encoded specification may be off on another processor."""
    names = {spec.get("what"), dict(flat(spec)).get("attack"), *_methods(spec)}
    usual = OPTIMISED if optimises(spec) else TABLE
    return max([usual, *(LOOSE[name] for name in names & LOOSE.keys())])


def _in_order(encoded: Any) -> Any:
    """Keys in the order of the alphabet: an attack's options are the same in any order."""
    return json.loads(json.dumps(encoded, sort_keys=True))


def _methods(spec: dict) -> set[str]:
    return {step["method"] for step in dict(flat(spec)).get("chain", [])}


def optimises(spec: dict) -> bool:
    """Whether the attack of an encoded specification optimises, and so ends elsewhere elsewhere."""
    attack = dict(flat(spec)).get("attack", "none")
    return attack in ATTACKS and ATTACKS[attack].optimises
