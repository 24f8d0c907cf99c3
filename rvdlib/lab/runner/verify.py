"""Committed rows held against rows computed now: a random sample of every kind.

Where the code has changed since, and enough rows of a kind agree, its other rows are carried over to
the code of today.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.committed import CommittedStore, changes
from rvdlib.lab.experiment.lines import Kept, flat, key_of
from rvdlib.lab.experiment.parallel import Batch, Task, rows_of
from rvdlib.lab.experiment.plain_values import encode
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.runner.gather import disagreement, optimises, tolerance
from rvdlib.seeding import stream

ENOUGH = 3  # rows of a kind that agree, or all that it has, before its others are carried over
LISTED = 20  # rows that an error names


class Kind(NamedTuple):
    """Rows of which a few stand for the others."""

    dataset: str
    victim: str  # or another recommender
    regime: str
    what: str  # a defence or chain of them, or a kind of rows without any
    optimises: bool  # the attack
    changed: bool  # the code, since they were computed or verified

    def __str__(self) -> str:
        attack = ", an attack that optimises" if self.optimises else ""
        known = [self.dataset, self.victim, self.regime, self.what]
        return ", ".join(filter(None, known)) + attack

    def enough(self, rows: int) -> int:
        """How many of its rows must agree: for the others to be carried over, if code changed."""
        return min(ENOUGH if self.changed else 1, rows)


class Verified(NamedTuple):
    """What :func:`verify` found.

    Attributes:
        checked: kind → how many of its rows were computed again, all of them in agreement.
        carried: kind → how many of its rows were carried over to the code of today.
        left: kind → how many rows of changed code were not carried, as too few were computed again.
        unasked: how many rows no notebook of the profile asks for.
        other_data: how many rows are of other data than those of today, and count for nothing.
        enough: the smallest sample that leaves no kind.
        seed: of the sample.
    """

    checked: dict[Kind, int]
    carried: dict[Kind, int]
    left: dict[Kind, int]
    unasked: int
    other_data: int
    enough: int
    seed: int


def verify(
    store: CommittedStore,
    batches: Sequence[Batch],
    sample: int,
    seed: int | None = None,
    jobs: int = -1,
    datasets: Iterable[str] = (),
    allow_unasked: bool = False,
) -> Verified:
    """Compute a sample of committed rows again, compare, and carry the others over.

    Every line's checksum is looked at first. Rows are computed from the split on; fakes that the same
    code has crafted here before are taken from ``.cache/poison``, and rows that a run computed which was
    interrupted, or in which one disagreed, from ``.cache/verified``, if it had the same code, versions and
    processor. A run without a disagreement removes those that it made use of.

    Args:
        batches: what computes the rows, as :mod:`rvdlib.lab.study.planned` has it.
        sample: rows in all. Kinds whose code has changed come first; then rows are spread evenly, and
            each kind has as many as it needs (:meth:`Kind.enough`) before any has more.
        seed: of the sample; it follows from the store's checksums if it is None.
        datasets: only rows of these; all if it names none.
        allow_unasked: rows that no notebook asks for are counted, and are no error.

    Raises:
        StudyError: names the rows that disagree, and in what; rows that no notebook asks for; a row
            that is damaged; a data set of which there are none; if there is nothing to check.
            Nothing is carried over then.
    """
    only, by_kind, rows, unasked, other_data = {*datasets}, defaultdict(list), {}, [], 0
    seed, present = store.seed() if seed is None else seed, set()
    tasks = {key_of(encode(task.spec)): task for batch in batches for task in batch.tasks}
    for kept in store.all():
        key, kind = key_of(kept.spec), _kind(kept)
        present.add(kind.dataset)
        if only and kind.dataset not in only:
            continue
        if key not in tasks:
            unasked.append(f"{store.path(kept.spec)}, key {key}, {kind}")
            continue
        today = tasks[key].fingerprint
        if kept.fingerprint["data"] != today["data"]:
            other_data += 1
            continue
        rows[key] = kept
        by_kind[kind._replace(changed=bool(changes(kept.fingerprint, today)))].append(key)
    if missing := only - present:
        raise StudyError(
            f"{store.folder} has no rows of {', '.join(sorted(missing))}; it has rows of "
            f"{', '.join(sorted(present)) or 'nothing'}"
        )
    if unasked and not allow_unasked:
        raise StudyError(
            f"no notebook of the profile asks for these rows:\n{_listed(unasked)}\n"
            "Either they were altered: then take them from git again (git checkout); or the parameters "
            "have changed: then rvd study drops them, and --allow-unasked passes over them"
        )
    if not rows:
        raise StudyError(
            f"nothing was checked: {store.folder} has no row that can be computed again "
            f"({len(unasked)} are not asked for, {other_data} are of other data)"
        )
    drawn, here = _drawn(by_kind, sample, seed), CellStore(paths.VERIFIED)
    here.strict = True
    chosen, wrong = {key for keys in drawn.values() for key in keys}, []
    for batch in batches:
        picked = {key_of(encode(task.spec)): task for task in batch.tasks}
        picked = {key: picked[key] for key in picked if key in chosen}
        wrong += _compared(store, rows, picked, batch, here, jobs)
        chosen -= picked.keys()
    if wrong:
        raise StudyError(
            f"committed rows are not what is computed now:\n{_listed(wrong)}\nEither the code "
            "computes something else now: then compute its rows anew, rvd study --recompute; or the "
            "rows were altered: then take them from git again (git checkout)"
        )
    for key in (key for keys in drawn.values() for key in keys):
        here.path(tasks[key].spec).unlink(missing_ok=True)
    checked = {kind: len(keys) for kind, keys in drawn.items() if keys}
    changed = {kind: len(keys) for kind, keys in by_kind.items() if kind.changed}
    carried = {
        kind: count for kind, count in changed.items() if checked.get(kind, 0) >= kind.enough(count)
    }
    if carried:
        store.write(
            _carried(rows[key], tasks[key], drawn[kind], seed)
            for kind in carried
            for key in by_kind[kind]
        )
    left = {kind: count for kind, count in changed.items() if kind not in carried}
    enough = sum(kind.enough(count) for kind, count in changed.items())
    return Verified(checked, carried, left, len(unasked), other_data, enough, seed)


def _listed(rows: list[str]) -> str:
    more = [f"and {len(rows) - LISTED} more"] if len(rows) > LISTED else []
    return "\n".join([*rows[:LISTED], *more])


def _kind(kept: Kept) -> Kind:
    columns = dict(flat(kept.spec))
    what = columns.get("oracle") or kept.spec.get("what") or next(iter(kept.spec))
    if "chain" in columns:
        methods = " + ".join(step["method"] for step in columns["chain"]) or "no defence"
        what = f"{kept.spec['what']}, {methods}" if "what" in kept.spec else methods
    recommender = columns.get("victim") or columns.get("system") or ""
    known = columns["dataset"], recommender, columns.get("regime") or ""
    return Kind(*known, what, optimises(kept.spec), False)


def _drawn(by_kind: dict[Kind, list[str]], sample: int, seed: int) -> dict[Kind, list[str]]:
    """Kind → the keys that are drawn of it."""
    rng = stream(seed, "verify")
    order = [[*by_kind][n] for n in rng.permutation(len(by_kind))]
    order.sort(key=lambda kind: not kind.changed)
    waiting = {kind: [*rng.permutation(sorted(by_kind[kind]))] for kind in order}
    drawn: dict[Kind, list[str]] = {kind: [] for kind in order}
    for _ in range(max(map(len, waiting.values()), default=0)):
        for kind in order:
            needs = 1 if drawn[kind] else kind.enough(len(by_kind[kind]))
            for _ in range(min(needs, sample, len(waiting[kind]))):
                drawn[kind].append(str(waiting[kind].pop()))
                sample -= 1
    return drawn


def _compared(
    store: CommittedStore,
    rows: dict[str, Kept],
    picked: dict[str, Task],
    batch: Batch,
    here: CellStore,
    jobs: int,
) -> list[str]:
    """The rows that disagree, and in what."""
    if not picked:
        return []
    found = rows_of([*picked.values()], batch.compute, here, jobs, batch.unit)
    wrong = []
    for key, row in zip(picked, found, strict=True):
        kept = rows[key]
        if different := disagreement(kept.row, encode(row), kept.spec):
            wrong.append(f"{store.path(kept.spec)}, key {key}, {_kind(kept)}: {different}")
    return wrong


def _carried(kept: Kept, task: Task, sample: list[str], seed: int) -> Kept:
    by = {"seed": seed, "sample": sorted(sample), "tolerance": tolerance(kept.spec)}
    return kept._replace(carried_to=task.fingerprint, verified_by=by)
