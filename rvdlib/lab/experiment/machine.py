"""What this machine can do: the yardsticks that a time is held against."""

import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

_REPEATS = 5
_MATRIX_SIZE = 2048
_COPIED_NUMBERS = 2**26  # of four bytes: far more than any cache holds


def matmul_gflops(clock: Callable[[], float] = time.perf_counter) -> float:
    """10⁹ float32 operations a second in a large matrix product, the best of a few."""
    left, right = torch.ones(2, _MATRIX_SIZE, _MATRIX_SIZE)
    out = torch.empty_like(left)
    return 2e-9 * _MATRIX_SIZE**3 / _least(lambda: torch.mm(left, right, out=out), clock)


def copy_gigabytes(clock: Callable[[], float] = time.perf_counter) -> float:
    """10⁹ bytes a second, read and written, in a copy of 256 MiB, the best of a few."""
    source = torch.ones(_COPIED_NUMBERS)
    target = torch.empty_like(source)
    return 8e-9 * _COPIED_NUMBERS / _least(lambda: target.copy_(source), clock)


def peak_mib() -> float:
    """The most memory that this program has held so far.

    Linux tells in /proc; getrusage's maximum outlives exec there, so that a child's begins at what
    its parent held.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def cpu_model() -> str:
    """The processor, as it calls itself."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _least(work: Callable[[], object], clock: Callable[[], float]) -> float:
    work()  # pages are there, threads are awake
    seconds = []
    for _ in range(_REPEATS):
        start = clock()
        work()
        seconds.append(clock() - start)
    return min(seconds)
