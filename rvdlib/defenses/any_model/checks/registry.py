"""Does a model keep what RVD relies on? Named checks that say what is wrong and how to mend it.

In the manner of scikit-learn's ``check_estimator``: a torch model is held to the contract of
:mod:`rvdlib.defenses.any_model.functional`. Each check is a function of this folder whose docstring
says what must hold; one that needs what an earlier one found missing is skipped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from rvdlib.defenses.any_model.checks.answers import (
    answers_repeat,
    can_be_copied,
    has_parameters_to_move,
    has_the_methods,
    last_user_is_known,
    nothing_is_written,
    rows_stand_alone,
    runs,
    shapes_fit,
    values_are_finite,
)
from rvdlib.defenses.any_model.checks.served import (
    can_be_fine_tuned,
    can_be_mapped,
    fine_tuning_moves_the_scores,
    gradient_reaches_what_moves,
    no_user_leaves_a_trace,
    serves_as_chosen,
    touched_changes_no_score,
)
from rvdlib.defenses.any_model.checks.subject import Problem, Subject, named
from rvdlib.defenses.any_model.functional import FunctionalRVDConfig


@dataclass(frozen=True)
class CheckResult:
    """What came of one check; ``message`` says what is wrong and how to mend it.

    Of a check that passed, it may say what could be better.
    """

    name: str
    status: Literal["passed", "failed", "skipped"]
    message: str = ""


def check_defender(
    model: torch.nn.Module, n_users: int | None = None, *, raise_on_failure: bool = True, **choices
) -> list[CheckResult]:
    """Check a torch model for :class:`FunctionalRVD`; it is never changed, but a copy looked at.

    Args:
        model: with ``latent``, ``row_loss`` and ``forward``, and perhaps ``touched``.
        n_users: number of training users, at least 3; None: 8 are asked for, and nothing is said
            of the others, nor of a k that is too large.
        choices: of :class:`FunctionalRVD`, as the model will be served; with ``chunk_size=1`` it
            need not be mappable.

    Returns:
        one result a check, in the order of the checks.

    Raises:
        ValueError: naming every failed check, unless ``raise_on_failure`` is off; for impossible
            choices or ``n_users``; for an object that is no model.
    """
    if n_users is not None and n_users < 3:
        raise ValueError(f"n_users must be at least 3, got {n_users}")
    if not isinstance(model, torch.nn.Module):
        raise ValueError(
            "model must be a torch.nn.Module with latent, row_loss and forward, got "
            f"{type(model).__name__}"
        )
    subject = Subject(model, n_users, FunctionalRVDConfig(**choices))
    results: dict[str, CheckResult] = {}
    with torch.random.fork_rng(devices=[]):
        for check, needs in CHECKS.items():
            blocked = [n.__name__ for n in needs if results[n.__name__].status != "passed"]
            results[check.__name__] = _result(check, subject, blocked)
    failed = [result for result in results.values() if result.status == "failed"]
    if failed and raise_on_failure:
        problems = "\n".join(f"- {result.name}: {result.message}" for result in failed)
        raise ValueError(f"{type(model).__name__} cannot be defended as it is:\n{problems}")
    return list(results.values())


def _result(check: Callable, subject: "Subject", blocked: list[str]) -> CheckResult:
    if blocked:
        return CheckResult(check.__name__, "skipped", f"needs {', '.join(blocked)}")
    try:
        note = check(subject)
    except Problem as problem:
        return CheckResult(check.__name__, "failed", str(problem))
    except Exception as error:
        return CheckResult(check.__name__, "failed", f"stops unexpectedly: {named(error)}")
    return CheckResult(check.__name__, "passed", note or "")


# Each with those that it needs.
CHECKS = {
    has_the_methods: [],
    has_parameters_to_move: [],
    can_be_copied: [has_the_methods, has_parameters_to_move],
    runs: [can_be_copied],
    shapes_fit: [runs],
    values_are_finite: [shapes_fit],
    nothing_is_written: [shapes_fit],
    answers_repeat: [values_are_finite, nothing_is_written],
    rows_stand_alone: [answers_repeat],
    last_user_is_known: [runs],
    gradient_reaches_what_moves: [values_are_finite],
    can_be_fine_tuned: [rows_stand_alone, gradient_reaches_what_moves],
    touched_changes_no_score: [can_be_fine_tuned],
    can_be_mapped: [touched_changes_no_score],
    fine_tuning_moves_the_scores: [touched_changes_no_score],
    no_user_leaves_a_trace: [touched_changes_no_score],
    serves_as_chosen: [last_user_is_known, can_be_mapped],
}
