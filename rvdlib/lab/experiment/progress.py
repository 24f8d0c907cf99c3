"""A progress bar for whoever waits: in a terminal, in a live notebook, or under the study's runner.

A notebook that the runner executes is a document and must not hold a progress bar. The runner names
a file in ``RVD_PROGRESS`` instead, and shows in its own terminal what is written there.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext

from tqdm import tqdm

VARIABLE = "RVD_PROGRESS"


def progress(items: Iterable, *, total: int, description: str) -> Iterator:
    """Yield ``items``, showing how many of ``total`` are done and how long the rest will take."""
    path = os.environ.get(VARIABLE)
    with open(path, "a") if path else nullcontext() as file:
        yield from tqdm(items, total=total, desc=description, file=file, disable=not total)
