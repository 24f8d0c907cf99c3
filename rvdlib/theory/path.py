"""The Polyak-Łojasiewicz bound where all parameters move: its constants are measured, not proved.

Theorem 3 of :mod:`rvdlib.theory.unlearning` needs three numbers that no victim gives in advance once
its encoder moves too. They are taken from the path of descent itself:

- M, the largest eigenvalue of the Hessian, by Lanczos' method at the start, in the middle and at the end;
  the step is half of what it allows at the start. A Ritz value lies below the eigenvalue, and
  between these points nobody has looked.
- F*, the lowest value that L-BFGS reaches from the same start: perhaps not the lowest there is.
- μ, the least ‖∇F‖² / 2 (F − F*) of all points of the path.

So the bound is a measurement, not a guarantee: it cannot be known before descent has run. What it
can show is whether the inequality, at its very best, says anything about a loss that is not convex.

The product of the Hessian and a vector is a central difference of gradients in float64: the
victims' sparse products are differentiable once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from rvdlib.models import Victim
from rvdlib.models.loss import Loss
from rvdlib.threads import single_thread

_SHIFT = 1e-4  # of a central difference, along a unit vector
Gradient = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Path:
    """Descent with all parameters, and the constants that were found along it.

    Attributes:
        excess: (T + 1,) F(θ_t) − F*.
        mu, step: μ and η.
        curvature: the lowest and the highest Ritz value of the Hessian that were met; a lowest below
            0 says that F is not convex here.
    """

    excess: np.ndarray
    mu: float
    step: float
    curvature: tuple[float, float]

    @property
    def bound(self) -> np.ndarray:
        """(T + 1,) (1 − μη)^t (F(θ_0) − F*)."""
        return (1 - self.mu * self.step) ** np.arange(len(self.excess)) * self.excess[0]

    @property
    def covered(self) -> bool:
        """Whether η ≤ 1/M for the largest M that was met."""
        return self.step * self.curvature[1] <= 1

    @property
    def exceeded(self) -> bool:
        """Whether the excess lies above its bound anywhere."""
        return bool((self.excess > self.bound * (1 + 1e-9)).any())

    @property
    def promised(self) -> float:
        """Of the fall of the loss after T epochs, the share that the bound promises; 1 is tight."""
        fall = self.excess[0] - self.excess[-1]
        return float((self.excess[0] - self.bound[-1]) / fall) if fall > 0 else np.nan


@single_thread()
def measure(
    victim: Victim,
    rows: ArrayLike,
    epochs: int,
    rng: np.random.Generator,
    loss: Loss | None = None,
    lowest_after: int = 50,
) -> Path:
    """Descend with all parameters on the loss of ``rows`` (k,), and measure the path.

    Args:
        epochs: T, at least 1.
        rng: of the first vector of Lanczos' method.
        lowest_after: iterations of L-BFGS in search of F*.
    """
    gradient, start = _flat(victim, rows, loss)
    first = rng.standard_normal(len(start))
    seen = [extreme_curvatures(gradient, start, first)]
    step = 1 / (2 * seen[0][1])
    point, values, slopes = start, [], []
    for epoch in range(epochs + 1):
        value, slope = gradient(point)
        values.append(value)
        slopes.append(slope @ slope)
        if epoch in (epochs // 2, epochs):
            seen.append(extreme_curvatures(gradient, point, first))
        point = point - step * slope
    options = {"maxiter": lowest_after, "maxcor": 5}
    found = minimize(gradient, start, jac=True, method="L-BFGS-B", options=options)
    excess = np.array(values) - min(found.fun, *values)
    # At the lowest point itself, if it is on the path, both sides are 0.
    mu = min(
        (s / (2 * e) for s, e in zip(slopes[:-1], excess[:-1], strict=True) if e > 0), default=0.0
    )
    lows, highs = zip(*seen, strict=True)
    return Path(excess, float(mu), step, (min(lows), max(highs)))


def extreme_curvatures(
    gradient: Gradient, point: np.ndarray, first: np.ndarray, steps: int = 12
) -> tuple[float, float]:
    """The lowest and the highest Ritz value of the Hessian at ``point``, by Lanczos from ``first``.

    Both lie within the Hessian's eigenvalues; the highest is near the largest after a few steps.
    ``gradient``: point → value and gradient.
    """
    steps = min(steps, len(first))
    basis, diagonal, beside = np.zeros((steps + 1, len(first))), [], []
    basis[0] = first / np.linalg.norm(first)
    for step in range(steps):
        shift = _SHIFT * basis[step]
        product = (gradient(point + shift)[1] - gradient(point - shift)[1]) / (2 * _SHIFT)
        diagonal.append(product @ basis[step])
        for _ in "twice":  # orthogonal to rounding
            product -= (basis[: step + 1] @ product) @ basis[: step + 1]
        length = np.linalg.norm(product)
        if length <= 1e-10 * max(map(abs, diagonal)):
            break
        beside.append(length)
        basis[step + 1] = product / length
    beside = beside[: len(diagonal) - 1]
    values = np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, -1))
    return float(values[0]), float(values[-1])


def _flat(victim: Victim, rows: ArrayLike, loss: Loss | None) -> tuple[Gradient, np.ndarray]:
    """The loss as a function of one float64 vector of all parameters that move, and its start."""
    objective = victim.objective(victim.rows(rows), loss)
    trained = {name: value.double() for name, value in victim.parameters.items()}
    names = [name for name in trained if name not in victim.constants]
    sizes = [trained[name].numel() for name in names]

    def gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
        flat = torch.from_numpy(point).requires_grad_()
        parts = zip(names, flat.split(sizes), strict=True)
        value = objective(trained | {name: part.view_as(trained[name]) for name, part in parts})
        value.backward()
        assert flat.grad is not None
        return value.item(), flat.grad.numpy()

    start = torch.cat([trained[name].ravel() for name in names]).numpy()
    return gradient, start
