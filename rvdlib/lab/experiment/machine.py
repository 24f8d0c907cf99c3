"""What this machine is, and the memory that a process of it has held."""

import platform
import resource
import sys
from pathlib import Path


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
