"""Checks of the gradients of ``row_loss``, and of a few steps along them."""

import copy

import numpy as np
import torch

from rvdlib.defenses.any_model.checks.subject import Problem, Subject, named
from rvdlib.defenses.any_model.functional import (
    moving_parameters,
)


def gradient_reaches_what_moves(subject: Subject):
    """row_loss moves every parameter that shall move."""
    gradients = gradients_of(subject, subject.users)
    never = [name for name, value in gradients.items() if value is None]
    if len(never) == len(gradients):
        raise Problem(
            "no gradient of row_loss reaches a parameter: no detach(), .data, numpy or no_grad on "
            "the way, and the loss must be that of the parameters themselves"
        )
    if never:
        raise Problem(
            f"row_loss gives no gradient to {', '.join(never)}: they would stay as trained; leave "
            "them out by parameters=..., or call requires_grad_(False) on them"
        )


def gradients_are_finite(subject: Subject):
    """No NaN, no infinity."""
    for name, value in gradients_of(subject, subject.users).items():
        if value is not None and not torch.isfinite(value.to_dense()).all():
            raise Problem(
                f"the gradient of row_loss for {name} is not finite, though the loss is: sqrt, norm "
                "and log need room at zero, also in the branch that torch.where does not take"
            )


def gradients_of(subject: Subject, users: np.ndarray) -> dict[str, torch.Tensor | None]:
    """Of the sum of the users' losses."""
    names = moving_parameters(subject.model, subject.config.parameters)
    model = copy.deepcopy(subject.model)
    values = [model.get_parameter(name).requires_grad_() for name in names]
    with torch.enable_grad():
        loss = model.row_loss(torch.from_numpy(users).to(values[0].device)).sum()
        if not loss.requires_grad:
            return dict.fromkeys(names)
        return dict(zip(names, torch.autograd.grad(loss, values, allow_unused=True), strict=True))


def can_be_fine_tuned(subject: Subject):
    """A few steps of the optimiser run."""
    try:
        subject.defended_whole().score(subject.users[:2])
    except ValueError as error:  # it diverges
        raise Problem(str(error)) from error
    except Exception as error:
        raise Problem(
            "a step of the optimiser fails: keep no tensors from call to call, and let gradients "
            f"be dense (torch.nn.Embedding without sparse=True) ({named(error)})"
        ) from error
