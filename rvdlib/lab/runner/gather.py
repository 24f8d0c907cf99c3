"""From ``.cache/cells`` into the repository's store of a profile."""

from collections.abc import Iterable

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
# Kinds of rows that magnify the last digits of a training: ratios of a bound to what is measured, and
# the lowest loss that a search finds.
LOOSE = {"unlearning", "paths"}


def gather(profile: str, tasks: Iterable[Task], complete: bool = False) -> tuple[int, int]:
    """Put finished rows into a profile's store: how many were written, and how many dropped.

    A row of other code or data is replaced. One that counts as finished is left as it is while what
    was computed here says the same within the tolerance of :mod:`rvdlib.lab.runner.unchanged`, as
    another processor computes it. What the paper profile's store has is not stored for another.

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
    before, after = (
        {name: to_text(value) for name, value in row.items() if name not in TIMED}
        for row in (old, new)
    )
    return row_difference(before, after, tolerance(spec))


def tolerance(spec: dict) -> float:
    """How far a row of an encoded specification may be off on another processor."""
    loose = spec.get("what") in LOOSE or optimises(spec)
    return OPTIMISED if loose else TABLE


def optimises(spec: dict) -> bool:
    """Whether the attack of an encoded specification optimises, and so ends elsewhere elsewhere."""
    attack = dict(flat(spec)).get("attack", "none")
    return attack in ATTACKS and ATTACKS[attack].optimises
