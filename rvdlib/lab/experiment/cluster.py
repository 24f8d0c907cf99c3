"""Groups of rows on the workers of a dask cluster; what comes back is kept here.

A worker needs the same code, parameters and package versions, which every group checks, and the data
sets. It computes as a process here does, one group at a time on one thread, and shares splits, fakes
and victims among the rows of a group. A group whose worker is lost goes to another one.
"""

import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from rvdlib import paths
from rvdlib.lab.errors import OtherStateError, StudyError
from rvdlib.lab.experiment.committed import Row
from rvdlib.lab.experiment.fingerprint import (
    MACHINERY,
    Fingerprint,
    code_digests,
    difference,
    file_digest,
    library_versions,
    processor_kernels,
)
from rvdlib.lab.experiment.parallel import Compute, Cost, Group, computed, in_time
from rvdlib.lab.experiment.store import CellStore

LOCAL, TIMEOUT = "local", "10s"
REMEDY = "the extra `cluster` is needed: pip install 'rvdlib[cluster]', or leave --scheduler out"
_one_at_a_time = threading.Lock()


@contextmanager
def connected(address: str, jobs: int) -> Iterator[Any]:
    """A client of the scheduler at ``address``; of a cluster of this machine's own for ``local``.

    Args:
        jobs: processes of a local cluster; -1: as many as there are cores.

    Raises:
        StudyError: if dask.distributed is not installed, or nobody answers.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise StudyError(REMEDY) from None
    workers = None if jobs == -1 else jobs
    own = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    with ExitStack() as opened:
        try:
            at = opened.enter_context(LocalCluster(**own)) if address == LOCAL else address
            client = opened.enter_context(Client(at, timeout=TIMEOUT))
        except (OSError, ValueError) as error:
            raise StudyError(
                f"no scheduler answers at {address} ({error}): start one by `dask scheduler` and give "
                "its address, as tcp://HOST:8786"
            ) from None
        yield client


def run_on_cluster(
    client: Any,
    groups: Sequence[Group],
    compute: Compute,
    store: CellStore,
    *,
    deadline: float = math.inf,
    fits: Callable[[Group], bool] = lambda group: True,
) -> Iterator[dict[str, Row]]:
    """As :func:`rvdlib.lab.experiment.parallel.run_groups`; a group is kept when it is through.

    Raises:
        OtherStateError: at once, if a worker has other code, parameters or versions.
        StudyError: when all others are through: of any group, or if several workers were lost, one after
            another, at the same group.
    """
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    ours, waiting, running, failed = state(), in_time(groups, deadline, fits), {}, {}

    def begin() -> Iterator[Any]:
        """As many as the workers of now, who may come and go, have use for."""
        at_once = 2 * max(1, sum(client.nthreads().values()))
        while len(running) < at_once:
            group = next(waiting, None)
            if group is None:
                return
            items = [task.item for task in group.values()]
            key = "rvd-" + hashlib.sha256("".join(group).encode()).hexdigest()
            running[key] = group
            yield client.submit(run_group, items, compute, ours, key=key)

    finished = as_completed([*begin()])
    for future in finished:
        group, done = running.pop(future.key), {}
        try:
            rows, versions = future.result()
        except OtherStateError:
            raise
        except StudyError as error:
            failed[str(error)] = None
        except KilledWorker as error:
            failed[
                f"workers were lost, one after another, while they computed {_named(group)}: does "
                f"their memory suffice? ({error})"
            ] = None
        else:
            for (key, task), (row, cost) in zip(group.items(), rows, strict=True):
                made = task.fingerprint | {"versions": versions}
                store.save(task.spec, made, [row], cost)
                done[key] = row
        yield done
        for each in begin():
            finished.add(each)
    if failed:
        raise StudyError("\n".join(failed))


def run_group(
    items: list, compute: Compute, theirs: Fingerprint
) -> tuple[list[tuple[Row, Cost]], dict[str, str]]:
    """On a worker: the rows of a group, and the versions that they were computed with."""
    if differs := difference(theirs, state()):
        raise OtherStateError(
            f"a worker differs from here: {differs}; install the same commit and requirements.lock "
            "there, and start its workers anew"
        )
    with _one_at_a_time:
        return [*computed(items, compute)], library_versions()


def state() -> Fingerprint:
    """What a worker must have as we have it; kernels of the processor may differ."""
    packages = library_versions()
    return {
        "code": code_digests(without=MACHINERY),
        "parameters": {path.name: file_digest(path) for path in paths.PARAMS.glob("*.yml")},
        "versions": {name: packages[name] for name in packages.keys() - processor_kernels().keys()},
    }


def _named(group: Group) -> str:
    return repr(next(iter(group.values())).item)
