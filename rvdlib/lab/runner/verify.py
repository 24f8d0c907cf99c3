"""Committed rows held against rows computed now: a random sample of every kind.

Where the code has changed since, and the sample agrees, the other rows of the same kind are carried
over to the code of today.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.committed import CommittedStore, changes
from rvdlib.lab.experiment.lines import Kept, flat, key_of
from rvdlib.lab.experiment.parallel import Batch, Task, rows_of
from rvdlib.lab.experiment.plain_values import encode
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.runner.gather import disagreement, optimises
from rvdlib.lab.runner.unchanged import OPTIMISED, TABLE
from rvdlib.seeding import stream


class Kind(NamedTuple):
    """Rows of which one stands for the others."""

    dataset: str
    what: str  # a defence or chain of them, or a kind of rows without any
    optimises: bool  # the attack
    changed: bool  # the code, since they were computed or verified

    def __str__(self) -> str:
        attack = ", an attack that optimises" if self.optimises else ""
        return f"{self.dataset}, {self.what}{attack}"


class Verified(NamedTuple):
    """What :func:`verify` found.

    Attributes:
        checked: kind → how many of its rows were computed again, all of them in agreement.
        carried: how many rows were carried over to the code of today.
        left: kind → how many rows of changed code nobody computed again, and so were not carried.
        unknown: rows that no notebook of the profile asks for, or of other data.
    """

    checked: dict[Kind, int]
    carried: int
    left: dict[Kind, int]
    unknown: int


def verify(
    store: CommittedStore,
    batches: Sequence[Batch],
    sample: int,
    seed: int = 0,
    jobs: int = -1,
    datasets: Iterable[str] = (),
) -> Verified:
    """Compute a sample of committed rows again, compare, and carry the others over.

    Every line's checksum is looked at first. Rows are computed from the split on; fakes that the same
    code has crafted here before are taken from ``.cache/poison``.

    Args:
        batches: what computes the rows, as :mod:`rvdlib.lab.study.planned` has it.
        sample: rows in all, spread evenly over the kinds: each has one before any has two.
        seed: of the sample.
        datasets: only rows of these; all if it names none.

    Raises:
        StudyError: names the rows that disagree, and in what; a row that is damaged. Nothing is
            carried over then.
    """
    only, by_kind, rows, unknown = {*datasets}, defaultdict(list), {}, 0
    tasks = {key_of(encode(task.spec)): task for batch in batches for task in batch.tasks}
    for kept in store.all():
        key, kind = key_of(kept.spec), _kind(kept)
        if only and kind.dataset not in only:
            continue
        why = changes(kept.fingerprint, tasks[key].fingerprint) if key in tasks else "data"
        if why.startswith("data") or "; data" in why:
            unknown += 1
            continue
        rows[key] = kept
        by_kind[kind._replace(changed=bool(why))].append(key)
    drawn = _drawn(by_kind, sample, seed)
    chosen = {key for keys in drawn.values() for key in keys}
    for batch in batches:
        picked = {key_of(encode(task.spec)): task for task in batch.tasks}
        _compare(store, rows, {k: picked[k] for k in picked if k in chosen}, batch, jobs)
        chosen -= picked.keys()
    carried = [
        _carried(rows[key], tasks[key], drawn[kind], seed)
        for kind, keys in by_kind.items()
        if kind.changed and drawn[kind]
        for key in keys
    ]
    if carried:
        store.write(carried)
    left = {kind: len(keys) for kind, keys in by_kind.items() if kind.changed and not drawn[kind]}
    checked = {kind: len(keys) for kind, keys in drawn.items() if keys}
    return Verified(checked, len(carried), left, unknown)


def _kind(kept: Kept) -> Kind:
    columns = dict(flat(kept.spec))
    what = columns.get("oracle") or kept.spec.get("what") or next(iter(kept.spec))
    if "chain" in columns:
        what = " + ".join(step["method"] for step in columns["chain"])
    return Kind(columns["dataset"], what or "no defence", optimises(kept.spec), False)


def _drawn(by_kind: dict[Kind, list[str]], sample: int, seed: int) -> dict[Kind, list[str]]:
    """Kind → the keys that are drawn of it."""
    rng = stream(seed, "verify")
    order = [[*by_kind][n] for n in rng.permutation(len(by_kind))]
    waiting = {kind: [*rng.permutation(sorted(by_kind[kind]))] for kind in order}
    drawn: dict[Kind, list[str]] = {kind: [] for kind in order}
    for _ in range(max(map(len, waiting.values()), default=0)):
        for kind in order:
            if sample and waiting[kind]:
                drawn[kind].append(str(waiting[kind].pop()))
                sample -= 1
    return drawn


def _compare(
    store: CommittedStore, rows: dict[str, Kept], picked: dict[str, Task], batch: Batch, jobs: int
) -> None:
    if not picked:
        return
    with tempfile.TemporaryDirectory() as folder:
        found = rows_of(
            [*picked.values()], batch.compute, CellStore(Path(folder)), jobs, batch.unit
        )
    wrong = []
    for key, row in zip(picked, found, strict=True):
        kept = rows[key]
        if different := disagreement(kept.row, encode(row), kept.spec):
            wrong.append(f"{store.path(kept.spec)}, key {key}, {_kind(kept)}: {different}")
    if wrong:
        raise StudyError(
            "committed rows are not what is computed now:\n" + "\n".join(wrong) + "\nEither the "
            "code computes something else now: then compute its rows anew, rvd study --recompute; "
            "or the rows were altered: then take them from git again (git checkout)"
        )


def _carried(kept: Kept, task: Task, sample: list[str], seed: int) -> Kept:
    tolerance = OPTIMISED if optimises(kept.spec) else TABLE
    by = {"seed": seed, "sample": sorted(sample), "tolerance": tolerance}
    return kept._replace(carried_to=task.fingerprint, verified_by=by)
