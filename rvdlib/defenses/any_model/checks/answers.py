"""Checks of what a model is made of, and of what it answers."""

import numpy as np
import torch

from rvdlib.defenses.any_model.checks.subject import (
    METHODS,
    N_ASKED,
    Problem,
    Subject,
    alike,
    named,
    state_of,
)
from rvdlib.defenses.any_model.functional import moving_parameters


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


def runs(subject: Subject):
    """Row numbers in, tensors out."""
    for name in METHODS:
        try:
            found = subject.ask(name, subject.users)
        except Exception as error:
            last = len(subject.users) - 1
            raise Problem(
                f"{name} fails for the users 0 to {last}, given as a LongTensor (without n_users, "
                f"{N_ASKED} are asked for): {named(error)}"
            ) from error
        if not isinstance(found, torch.Tensor):
            raise Problem(f"{name} must return a torch.Tensor, got {type(found).__name__}")


def shapes_fit(subject: Subject):
    """(B, d) latent vectors, (B,) losses, (B, items) scores, floating, whatever B."""
    for name, wanted in METHODS.items():
        widths = set()
        for size in (len(subject.users), 2, 1):
            found = subject.ask(name, subject.users[:size])
            if not found.is_floating_point():
                raise Problem(f"{name} must be floating, got {found.dtype}")
            if found.ndim != 1 + (name != "row_loss") or len(found) != size:
                hint = ": the loss of each row, not their sum or mean" * (name == "row_loss")
                raise Problem(
                    f"{name} must have the shape {wanted}{hint}; for B = {size} it has "
                    f"{tuple(found.shape)} (is a squeeze() or a reduction in the way?)"
                )
            widths.add(found.shape[1:])
        if len(widths) > 1:
            raise Problem(f"{name} must be {wanted} for every B, the second number changes with B")


def values_are_finite(subject: Subject):
    """No NaN, no infinity."""
    for name in METHODS:
        found = subject.values(name, subject.users)
        if not np.isfinite(found).all():
            row = subject.users[np.nonzero(~np.isfinite(found))[0][0]]
            raise Problem(
                f"{name} is not finite for user {row}: mind empty profiles (a mean of nothing, a "
                "zero norm), and leave seen items unmasked; or training has diverged"
            )


def nothing_is_written(subject: Subject):
    """Calls leave parameters, buffers, arrays and modes as they were, by the bit, and keep nothing:
    what is kept of parameters is stale as soon as they move.
    """
    before = subject.untouched
    for name in METHODS:
        subject.ask(name, subject.users)
    after = dict(state_of(subject.model))
    changed = sorted(path for path in {**before, **after} if after.get(path) != before.get(path))
    if changed:
        raise Problem(
            f"calls write to {', '.join(changed[:5])}: work on copies, nothing in place, and keep "
            "nothing from call to call"
        )


def answers_repeat(subject: Subject):
    """The same users get the same bits again."""
    for name in METHODS:
        first, again = (subject.values(name, subject.users) for _ in range(2))
        if not np.array_equal(first, again):
            raise Problem(
                f"{name} differs from call to call in evaluation mode: give functional.dropout "
                "training=self.training, draw no random numbers, keep no counters"
            )


def rows_stand_alone(subject: Subject):
    """Neither the order of a batch nor who else is in it changes a user's answer."""
    backwards = list(range(len(subject.users)))[::-1]
    for name in METHODS:
        answers = subject.values(name, subject.users)
        for batch in (backwards, [0], [2, 0], [1, 0, 2]):
            if not alike(answers[batch], subject.values(name, subject.users[batch])):
                raise Problem(
                    f"{name} depends on the order of the users or on who else is in the batch: row b of "
                    "the answer must come from users[b] alone. No sorting, no running sums; no "
                    "statistics of the batch (batch norm needs running ones, or take layer norm); no "
                    "loss divided by its size, no negatives from its other rows"
                )


def last_user_is_known(subject: Subject):
    """There are n_users rows, or more: spare and padding rows are never asked for."""
    if subject.n_users is None or next(subject.model.parameters()).device.type != "cpu":
        return  # elsewhere a row out of range may end the process
    last = subject.n_users - 1
    for name in METHODS:
        try:
            subject.ask(name, np.array([last]))
        except Exception as error:
            raise Problem(
                f"{name} fails for user {last}, the last of n_users = {subject.n_users}: "
                f"{named(error)}"
            ) from error
