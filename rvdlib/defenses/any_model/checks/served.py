"""Checks of the gradients of ``row_loss``, of a few steps along them, and of the defended scores."""

import copy

import numpy as np
import torch

from rvdlib.defenses.any_model.checks.subject import Problem, Subject, alike, named
from rvdlib.defenses.any_model.functional import FunctionalRVD, moving_parameters


def gradient_reaches_what_moves(subject: Subject):
    """row_loss has a finite gradient for every parameter that shall move."""
    gradients = _gradients(subject)
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
    for name, value in gradients.items():
        if value is not None and not torch.isfinite(value.to_dense()).all():
            raise Problem(
                f"the gradient of row_loss for {name} is not finite, though the loss is: sqrt, norm "
                "and log need room at zero, also in the branch that torch.where does not take"
            )


def _gradients(subject: Subject) -> dict[str, torch.Tensor | None]:
    """Of the sum of the users' losses."""
    names = moving_parameters(subject.model, subject.config.parameters)
    model = copy.deepcopy(subject.model)
    values = [model.get_parameter(name).requires_grad_() for name in names]
    with torch.enable_grad():
        loss = model.row_loss(torch.from_numpy(subject.users).to(values[0].device)).sum()
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


def touched_changes_no_score(subject: Subject) -> str | None:
    """Fine-tuning what ``touched`` names gives the scores of fine-tuning all."""
    if not hasattr(subject.model, "touched"):
        return (
            "has no touched(vicinities), and needs none: all that moves is copied for every user, "
            "which is slower the larger it is, see rvdlib.defenses.any_model.functional"
        )
    whole = subject.defended_whole().score(subject.users)
    try:
        scores = subject.defended().score(subject.users)
    except Exception as error:
        raise Problem(
            "touched must take a LongTensor (B, k) of users and give two dicts: int64 rows (B, R) of "
            "parameters by name, none twice for one vicinity, and data (B, ...), which row_loss takes "
            f"for one vicinity in the place of users ({named(error)})"
        ) from error
    if not alike(whole, scores):
        raise Problem(
            "touched changes the scores: it must name every row that the vicinity's loss depends on, "
            "and row_loss of its data must be that loss, row r of a parameter being the one that "
            "stands r-th in places"
        )
    return None


def can_be_mapped(subject: Subject):
    """vmap runs it for several users at once, to the same scores."""
    if subject.config.chunk_size == 1:
        return
    users = subject.users[:2]
    try:
        at_once = subject.defended(chunk_size=2).score(users)
    except Exception as error:
        raise Problem(
            "torch.func.vmap cannot run it for several users at once: no Python numbers or branches of "
            "tensors (.item(), .tolist(), if), no boolean masks but torch.where, nothing in place, no "
            "sparse tensors; or serve one user at a time, slower, by chunk_size=1 "
            f"({named(error)})"
        ) from error
    if not alike(subject.defended().score(users), at_once):
        raise Problem("torch.func.vmap changes its scores: serve it with chunk_size=1")


def fine_tuning_moves_the_scores(subject: Subject):
    """Scores follow the parameters that row_loss trains."""
    before, after = (subject.defended(steps=steps).score(subject.users) for steps in (0, 2))
    moved = (before != after).any(axis=1)
    # A user without ratings may have a latent vector of zeros, which no decoder moves.
    if not moved.any() or not moved[np.ptp(before, axis=1) > 0].all():
        raise Problem(
            "fine-tuning leaves the scores as they were: forward must use the parameters that move "
            "(no cached tables), and row_loss must not be flat"
        )


def no_user_leaves_a_trace(subject: Subject):
    """Who was served before changes nothing for the next."""
    users, defense = subject.users[:2], subject.defended()
    first, second = (defense.score(users[[at]]) for at in (0, 1))
    if not (
        np.array_equal(first, defense.score(users[:1]))
        and alike(np.concatenate([first, second]), defense.score(users))
    ):
        raise Problem(
            "fine-tuning for one user changes the scores of the next: keep no state outside the "
            "module (class attributes, globals, caches)"
        )


def serves_as_chosen(subject: Subject):
    """With all users, neighbours and steps that were chosen, its scores are finite."""
    choices = subject.config.model_dump()
    if subject.n_users is None:  # how many there are to choose from, nobody says
        choices["k"] = min(choices["k"], len(subject.users) - 1)
    n_users = subject.n_users or len(subject.users)
    try:
        FunctionalRVD(subject.model, n_users, **choices).score(subject.users)
    except Exception as error:
        raise Problem(f"FunctionalRVD fails with these choices: {named(error)}") from error
