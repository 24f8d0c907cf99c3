"""Oracles: what could be served if somebody told who is fake. No defence knows that; these are bounds.

*Retraining*: the victim trained without the fakes, which is the victim that nobody attacked: its rows,
under the name of the attack.

*Influence unlearning* (Zhang et al. 2023, "Recommendation Unlearning via Influence Function", IFRU):
the trained parameters moved by one step that takes the fakes' share of the loss out,

    θ' = θ̂ + (H + δI)⁻¹ ∇L_fakes(θ̂),    H the Gauss-Newton matrix of the real users' loss

and solved by conjugate gradients. H is that of a sum of squares and thus has no negative direction,
where the Hessian of a factorisation has. Where training came to rest, the fakes' gradient is minus the
real users'; if the loss is quadratic there, as it is in the decoder, θ' is what training without the
fakes gives. Of victims whose encoder reads profiles the decoder alone moves.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict

from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.cells import Cell, Scenario, carry_out, evaluate_cell
from rvdlib.lab.experiment.fingerprint import Fingerprint, cell_fingerprint
from rvdlib.lab.experiment.hyperparameters import victim_hyperparameters
from rvdlib.lab.experiment.parallel import Batch, Task, rows_of
from rvdlib.lab.experiment.store import CellStore
from rvdlib.models import MF, VICTIMS, Victim
from rvdlib.models.base import DECODER, Parameters

MODULE = "lab/experiment/oracles.py"
RETRAINED, UNLEARNED = "oracle: retrained without fakes", "oracle: influence unlearning"
ORACLES = (RETRAINED, UNLEARNED)
DAMPING, STEPS = 1e-3, 50  # δ as a share of the mean curvature, and conjugate gradients at most


class Told(BaseModel):
    """A scenario served by somebody who is told who is fake."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: Scenario
    oracle: Literal[*ORACLES]
    n_users: int | None = None


def run_oracles(
    wanted: Sequence[Told], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """One row for each, as :func:`rvdlib.lab.experiment.cells.run_cells` has them; ``method`` is oracle."""
    tasks, compute, unit = batch(wanted)
    return pd.DataFrame(rows_of(tasks, compute, store, jobs, unit))


def batch(wanted: Sequence[Told]) -> Batch:
    """What :func:`run_oracles` computes."""
    tasks = [Task(each, _spec(each), _fingerprint(each), str(each.scenario)) for each in wanted]
    return Batch(tasks, _rows, "oracles")


def _rows(wanted: list[Told]) -> Iterator[dict]:
    return map(_row, wanted)


def _row(told: Told) -> dict:
    scenario = told.scenario
    if told.oracle == RETRAINED or scenario.attack == "none":
        without = {"attack": "none", "attack_size": 0.0, "attack_options": {}}
        served = carry_out(scenario.model_copy(update=without))
    else:
        served = carry_out(scenario)
        unlearned = copy.copy(served.victim)
        unlearned.parameters = without_fakes(served.victim, served.split.train.shape[0])
        served = type(served)(served.split, served.targets, unlearned, served.beaten_by)
    cell = Cell(scenario=scenario, defense=told.oracle, n_users=told.n_users)
    return evaluate_cell(cell, served) | {"method": "oracle"}


def without_fakes(
    victim: Victim,
    n_real: int,
    *,
    decoder_only: bool = False,
    damping: float = DAMPING,
    steps: int = STEPS,
) -> dict[str, torch.Tensor]:
    """The trained parameters after influence unlearning of all users from row ``n_real`` on.

    Args:
        decoder_only: move the decoder alone, as of any victim that is not an MF; the loss is then
            quadratic.
        damping: δ, as a share of the mean diagonal of H, estimated by one random vector.
        steps: of conjugate gradients, at most.
    """
    trained, decoder_only = victim.parameters, decoder_only or not isinstance(victim, MF)
    real, fakes = np.arange(n_real), np.arange(n_real, victim.train.shape[0])
    moving = [
        name
        for name in trained
        if name not in victim.constants and (name in DECODER or not decoder_only)
    ]
    slope = _gradient(victim, fakes, moving)
    for name in moving:
        if name.startswith("user_"):  # the fakes' own are read by nobody who is real
            slope[name][n_real:] = 0
    curved = _curvature(victim, real, moving)
    probe = {name: torch.sign(torch.sin(1 + torch.arange(v.numel()))) for name, v in slope.items()}
    probe = {
        name: value.reshape(slope[name].shape).to(slope[name]) for name, value in probe.items()
    }
    size = sum(value.numel() for value in probe.values())
    delta = damping * float(_dot(probe, curved(probe))) / size

    def damped(vector):
        return {name: value + delta * vector[name] for name, value in curved(vector).items()}

    moved = _conjugate_gradients(damped, slope, steps)
    return {
        name: value + moved[name].to(value.dtype) if name in moved else value
        for name, value in trained.items()
    }


def _gradient(victim: Victim, users: np.ndarray, moving: list[str]) -> dict[str, torch.Tensor]:
    """Of the loss of these users' rows as a sum over them."""
    parameters = {name: value.clone() for name, value in victim.parameters.items()}
    for name in moving:
        parameters[name].requires_grad_()
    loss = len(users) * victim.objective(users)(parameters)
    found = torch.autograd.grad(loss, [parameters[name] for name in moving])
    return {name: each.double() for name, each in zip(moving, found, strict=True)}


def _curvature(victim: Victim, users: np.ndarray, moving: list[str]):
    """The product of a vector with 2 (Jᵀ C J + n D), the Gauss-Newton matrix of that loss."""
    trained, encoder = victim.parameters, victim.encoder(users)
    rated = victim.train[users].copy()
    rated.data[:] = 1 - victim.loss.unobserved_weight
    weight = torch.from_numpy(rated.toarray()) + victim.loss.unobserved_weight
    weights = victim.regularizer_weights(users, victim.loss)

    start = {name: trained[name].clone().requires_grad_() for name in moving}
    parameters, leaves = {**trained, **start}, list(start.values())
    offset, factors = encoder(parameters)
    scores = offset[:, None] + factors @ parameters["item_factors"].T + parameters["item_bias"]
    # Jᵀs is linear in s, and so the slope of its product with v at any s is J v.
    any_s = torch.zeros_like(scores, requires_grad=True)
    transposed = torch.autograd.grad(scores, leaves, any_s, create_graph=True)

    def product(vector):
        tangent = [vector[name].to(scores.dtype) for name in moving]
        known = {"retain_graph": True}
        (moved,) = torch.autograd.grad(transposed, any_s, tangent, **known)
        back = torch.autograd.grad(scores, leaves, weight * moved, **known)
        return {
            name: 2 * (each.double() + len(users) * weights[name] * vector[name])
            for name, each in zip(moving, back, strict=True)
        }

    return product


def _dot(one: Parameters, other: Parameters) -> torch.Tensor:
    return sum((one[name] * other[name]).sum() for name in one)


def _conjugate_gradients(product, target, steps: int, tolerance: float = 1e-6):
    """x with product(x) = target, float64."""
    found = {name: torch.zeros_like(value) for name, value in target.items()}
    residual, direction = dict(target), dict(target)
    square = first = _dot(residual, residual)
    for _ in range(steps):
        if square <= tolerance**2 * first:
            break
        curved = product(direction)
        step = square / _dot(direction, curved)
        found = {name: value + step * direction[name] for name, value in found.items()}
        residual = {name: value - step * curved[name] for name, value in residual.items()}
        last, square = square, _dot(residual, residual)
        direction = {
            name: value + square / last * direction[name] for name, value in residual.items()
        }
    return found


def _spec(told: Told) -> dict:
    """All that identifies it; it must never be taken for a defended cell."""
    of = told.scenario.dataset, told.scenario.regime, told.scenario.victim
    return {**told.model_dump(mode="json"), "hyperparameters": victim_hyperparameters(*of)}


def _fingerprint(told: Told) -> Fingerprint:
    return cell_fingerprint(MODULE, told.scenario.dataset, looked_up(told.scenario))


def looked_up(scenario: Scenario) -> list:
    """The victim and the attack's function, whose code its rows depend on."""
    attacked = scenario.attack != "none"
    return [VICTIMS[scenario.victim], *([ATTACKS[scenario.attack].function] if attacked else [])]
