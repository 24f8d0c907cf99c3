"""What an optimising attack records of itself, and a progress bar for whoever waits for it."""

import time
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm


class History:
    """The objective of an optimising attack, step by step: lower is better for the attacker.

    An attack runs its loop over :meth:`steps` and calls :meth:`record` once a step. Whoever wants
    the numbers passes a history of his own: ``craft("revadv", threat, rng, history=history)``.

    Attributes:
        objectives: one number a step, in the attack's own units.
        seconds: CPU time spent in the steps so far, so that other work on the machine does not
            count.
    """

    def __init__(self) -> None:
        self.objectives: list[float] = []
        self.seconds = 0.0
        self._bar = tqdm(disable=True)

    def steps(self, limit: int, description: str) -> Iterator[int]:
        """0, 1, ... below ``limit``, timed; may be left early, and run again for a further stage.

        After five seconds a terminal shows a progress bar. Where standard error is no terminal,
        as in an executed notebook, nothing is shown.
        """
        start = time.process_time()
        try:
            with tqdm(range(limit), desc=description, delay=5, disable=None) as self._bar:
                yield from self._bar
        finally:
            self.seconds += time.process_time() - start

    def record(self, objective: float) -> None:
        """Append the objective of the step that has just been taken.

        Raises:
            ValueError: if it is not finite.
        """
        if not np.isfinite(objective):
            raise ValueError(
                f"the attack's objective is {objective} after {len(self.objectives)} finite "
                "steps: it diverged, use smaller steps"
            )
        self.objectives.append(float(objective))
        self._bar.set_postfix(objective=f"{objective:.4g}", refresh=False)
