"""What serving takes of memory: the peak of a process of its own, which does nothing else."""

import multiprocessing

import numpy as np
import scipy.sparse as sp

from rvdlib.defenses import ClosedFormRVD
from rvdlib.lab.benchmark.serving import lists
from rvdlib.lab.experiment.machine import peak_mib
from rvdlib.models import Victim
from rvdlib.threads import on_threads


def of_one_call(
    victim: Victim, users: np.ndarray, seen: sp.csr_matrix, *, threads: int = 1, **choices
) -> dict[str, float]:
    """The closed form, of these ``choices``, serves ``users`` in one call: all scores are there at once.

    Returns:
        In MiB, the most that the process had held: ``before``, with libraries and victim loaded
        and nothing prepared, and ``peak``, with everybody's first 50 items found.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_serve, (victim, users, seen, threads, choices))


def _serve(victim, users, seen, threads, choices) -> dict[str, float]:
    before = peak_mib()
    with on_threads(threads):
        lists(ClosedFormRVD(victim, **choices), users, seen, block_size=len(users))
    return {"before": before, "peak": peak_mib()}
