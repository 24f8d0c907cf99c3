"""Named random streams from one seed: the same seed and names give the same numbers, everywhere.

Split, targets, attack and model each draw from a stream of their own, so that changing one never
changes what another draws. Nothing in this library touches a global generator.
"""

import hashlib

import numpy as np


def _seed_sequence(seed: int, names: tuple[str | int, ...]) -> np.random.SeedSequence:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a non-negative integer, got {seed!r}")
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return np.random.SeedSequence([seed, *np.frombuffer(digest[:16], dtype="<u4").tolist()])


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for the stream called ``names``, e.g. ``stream(0, "split")``."""
    return np.random.Generator(np.random.PCG64(_seed_sequence(seed, names)))


def check_generator(rng: np.random.Generator) -> None:
    """Refuse what cannot be drawn from, before anything is drawn or computed.

    Raises:
        TypeError: if ``rng`` is no generator of NumPy: a seed, for one.
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            "rng must be a numpy.random.Generator, such as rvdlib.seeding.stream(0, 'split'), "
            f"got {rng!r}"
        )
