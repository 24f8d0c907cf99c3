"""Checks of what a torch model is made of: its methods, its parameters, and copies of it."""

import torch

from rvdlib.defenses.any_model.checks.subject import METHODS, Problem, Subject, named
from rvdlib.defenses.any_model.functional import (
    moving_parameters,
)


def has_the_methods(subject: Subject):
    """latent, row_loss and forward are there."""
    missing = [name for name in METHODS if not callable(getattr(subject.model, name, None))]
    if type(subject.model).forward is torch.nn.Module.forward:
        missing.append("forward")
    if missing:
        needed = ", ".join(f"{name}(users) -> {METHODS[name]}" for name in missing)
        raise Problem(f"lacks {needed}; users is a LongTensor (B,) of row numbers")


def has_parameters_to_move(subject: Subject):
    """What shall be fine-tuned exists."""
    try:
        moving_parameters(subject.model, subject.config.parameters)
    except ValueError as error:
        raise Problem(str(error)) from error


def can_be_copied(subject: Subject):
    """Threads serve from copies of their own."""
    try:
        subject.take_copy()
    except Exception as error:
        raise Problem(
            "copy.deepcopy fails on it; what it keeps must be copyable: tensors kept between calls "
            f"detached, no locks, no open files ({named(error)})"
        ) from error
