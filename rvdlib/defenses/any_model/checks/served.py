"""Checks of the defended scores: of several users at once, of no step, of one after another."""

import re

import numpy as np

from rvdlib.defenses.any_model.checks.subject import Problem, Subject, alike, named
from rvdlib.defenses.any_model.functional import (
    FunctionalRVD,
)

# What torch says when it cannot map a model, and what its author can do.
_VMAP_ADVICE = {
    r"\.item\(\)|data-dependent control flow|data pointer": (
        "it turns a tensor into a Python number, list or array (if tensor:, .item(), .tolist(), "
        ".numpy()): stay with tensors, choose by torch.where"
    ),
    r"dynamic shape": (
        "a shape depends on the data (boolean masks, nonzero, unique): multiply by the mask instead"
    ),
    r"in-?place|broadcast shape": (
        "it writes into a tensor that all users share: use out-of-place operations"
    ),
    r"[Ss]parse": "it works on sparse tensors: hold the data in dense buffers",
    r"setup_context|generate_vmap_rule": (
        "a torch.autograd.Function of its own needs setup_context and generate_vmap_rule = True"
    ),
    r"Batching rule not implemented": "take another operation than the one that torch names",
}


def can_be_mapped(subject: Subject):
    """vmap runs it for several users at once, to the same scores."""
    if subject.config.chunk_size == 1:
        return
    users = subject.users[:2]
    try:
        at_once = subject.defended(chunk_size=2).score(users)
    except Exception as error:
        advice = [say for pattern, say in _VMAP_ADVICE.items() if re.search(pattern, str(error))]
        raise Problem(
            "torch.func.vmap cannot run it for several users at once: "
            + "; ".join([*advice[:1], "or serve one user at a time, slower, by chunk_size=1"])
            + f" ({named(error)})"
        ) from error
    if not alike(subject.defended().score(users), at_once):
        raise Problem("torch.func.vmap changes its scores: serve it with chunk_size=1")


def no_step_is_no_defence(subject: Subject):
    """With steps=0 the scores are the model's own."""
    own = subject.values("forward", subject.users)
    if not alike(own, subject.defended(steps=0).score(subject.users)):
        raise Problem(
            "a copy with the same parameters scores otherwise: let copy.deepcopy copy all that "
            "scores depend on, and keep it in parameters and buffers"
        )


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
