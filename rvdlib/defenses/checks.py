"""Does a model keep what RVD relies on? Named checks that say what is wrong and how to mend it.

In the manner of scikit-learn's ``check_estimator``. A torch model is held to the contract of
:mod:`rvdlib.defenses.functional`, any other recommender, defended or not, to that of
:class:`rvdlib.evaluation.Recommender`. Each check is a function of this module whose docstring says
what must hold; one that needs what an earlier one found missing is skipped.
"""

import copy
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, Literal

import numpy as np
import torch

from rvdlib.defenses.functional import FunctionalRVD, FunctionalRVDConfig, moving_parameters

_METHODS = {"latent": "(B, d)", "row_loss": "(B,)", "forward": "(B, items)"}
_USERS = 8  # rows that are asked for: the first ones
_BATCHES = ([0], [2, 0], [1, 0, 2])  # as positions; a row stands in several

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


@dataclass(frozen=True)
class CheckResult:
    """What came of one check; ``message`` says what is wrong and how to mend it.

    Of a check that passed, it may say what could be better.
    """

    name: str
    status: Literal["passed", "failed", "skipped"]
    message: str = ""


def check_defender(
    model: Any, n_users: int | None = None, *, raise_on_failure: bool = True, **choices
) -> list[CheckResult]:
    """Check a torch model for :class:`FunctionalRVD`, or anything with ``score(users)``.

    The model is never changed: checks work on a copy in evaluation mode. What can only be scored,
    such as a finished defence, is asked as it is.

    Args:
        model: a ``torch.nn.Module`` with ``latent``, ``row_loss`` and ``forward``, and perhaps
            ``touched``; or a recommender whose ``score`` takes (B,) row numbers and gives (B, items).
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
    is_module = isinstance(model, torch.nn.Module) and (
        not hasattr(model, "score") or any(hasattr(model, name) for name in ("latent", "row_loss"))
    )
    if not is_module and not callable(getattr(model, "score", None)):
        raise ValueError(
            "model must be a torch.nn.Module with latent, row_loss and forward, or have a method "
            f"score(users), got {type(model).__name__}"
        )
    subject = _Subject(model, n_users, FunctionalRVDConfig(**choices))
    checks = _MODULE_CHECKS if is_module else _RECOMMENDER_CHECKS
    results: dict[str, CheckResult] = {}
    with torch.random.fork_rng(devices=[]):
        for check, needs in checks.items():
            blocked = [n.__name__ for n in needs if results[n.__name__].status != "passed"]
            results[check.__name__] = _result(check, subject, blocked)
    failed = [result for result in results.values() if result.status == "failed"]
    if failed and raise_on_failure:
        problems = "\n".join(f"- {result.name}: {result.message}" for result in failed)
        raise ValueError(f"{type(model).__name__} cannot be defended as it is:\n{problems}")
    return list(results.values())


class _Problem(Exception):
    pass


def _result(check: Callable, subject: "_Subject", blocked: list[str]) -> CheckResult:
    if blocked:
        return CheckResult(check.__name__, "skipped", f"needs {', '.join(blocked)}")
    try:
        note = check(subject)
    except _Problem as problem:
        return CheckResult(check.__name__, "failed", str(problem))
    except Exception as error:
        return CheckResult(check.__name__, "failed", f"stops unexpectedly: {_named(error)}")
    return CheckResult(check.__name__, "passed", note or "")


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]


class _Subject:
    """A model under examination: its functions of users, by name, as arrays in and arrays out."""

    def __init__(self, model: Any, n_users: int | None, config: FunctionalRVDConfig):
        self.model, self.n_users, self.config = model, n_users, config
        self.users = np.arange(min(n_users or _USERS, _USERS))[::-1].copy()
        self.names: tuple[str, ...] = ("score",)
        self.untouched = dict(_state(model))

    def take_copy(self):
        self.model = copy.deepcopy(self.model).eval()
        self.names = tuple(_METHODS)
        self.untouched = dict(_state(self.model))

    def ask(self, name: str, users: np.ndarray) -> torch.Tensor | np.ndarray:
        """As it comes."""
        if name == "score":
            return self.model.score(users)
        rows = torch.from_numpy(users).to(next(self.model.parameters()).device)
        with torch.no_grad():
            return self.model(rows) if name == "forward" else getattr(self.model, name)(rows)

    def values(self, name: str, users: np.ndarray) -> np.ndarray:
        return np.asarray(torch.as_tensor(self.ask(name, users)).cpu())

    def defended(self, **choices) -> FunctionalRVD:
        """A small defence over the users that are asked for."""
        return self._small_defence(self.model, **choices)

    def defended_whole(self) -> FunctionalRVD:
        """The same without what ``touched`` saves."""
        moving = moving_parameters(self.model, self.config.parameters)
        parameters = tuple(f"model.{name}" for name in moving)
        return self._small_defence(_Whole(self.model), parameters=parameters)

    def _small_defence(self, model: torch.nn.Module, **choices) -> FunctionalRVD:
        small = {"k": 2, "steps": 2, "chunk_size": 1}
        choices = {**self.config.model_dump(), **small, **choices}
        return FunctionalRVD(model, len(self.users), **choices)


class _Whole(torch.nn.Module):
    """A model that does not say what is touched."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def latent(self, users: torch.Tensor) -> torch.Tensor:
        return self.model.latent(users)

    def row_loss(self, users: torch.Tensor) -> torch.Tensor:
        return self.model.row_loss(users)

    def forward(self, users: torch.Tensor) -> torch.Tensor:
        return self.model(users)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """But for rounding, which may depend on the shape of a batch."""
    tolerance = np.sqrt(np.finfo(one.dtype).eps) * max(np.abs(one).max(), np.abs(other).max())
    return np.abs(one - other).max() <= tolerance


def has_the_methods(subject: _Subject):
    """latent, row_loss and forward are there."""
    missing = [name for name in _METHODS if not callable(getattr(subject.model, name, None))]
    if type(subject.model).forward is torch.nn.Module.forward:
        missing.append("forward")
    if missing:
        needed = ", ".join(f"{name}(users) -> {_METHODS[name]}" for name in missing)
        raise _Problem(f"lacks {needed}; users is a LongTensor (B,) of row numbers")


def has_parameters_to_move(subject: _Subject):
    """What shall be fine-tuned exists."""
    try:
        moving_parameters(subject.model, subject.config.parameters)
    except ValueError as error:
        raise _Problem(str(error)) from error


def can_be_copied(subject: _Subject):
    """Threads serve from copies of their own."""
    try:
        subject.take_copy()
    except Exception as error:
        raise _Problem(
            "copy.deepcopy fails on it; what it keeps must be copyable: tensors kept between calls "
            f"detached, no locks, no open files ({_named(error)})"
        ) from error


def runs(subject: _Subject):
    """Row numbers in, tensors (of a recommender: arrays) out."""
    for name in subject.names:
        try:
            found = subject.ask(name, subject.users)
        except Exception as error:
            last = len(subject.users) - 1
            kind = "an int64 array" if name == "score" else "a LongTensor"
            raise _Problem(
                f"{name} fails for the users 0 to {last}, given as {kind} (without n_users, {_USERS} are "
                f"asked for): {_named(error)}"
            ) from error
        expected = np.ndarray if name == "score" else torch.Tensor
        if not isinstance(found, expected):
            kind = f"{expected.__module__}.{expected.__name__}"
            raise _Problem(f"{name} must return a {kind}, got {type(found).__name__}")


def shapes_fit(subject: _Subject):
    """(B, d) latent vectors, (B,) losses, (B, items) scores, floating, whatever B."""
    for name in subject.names:
        widths = set()
        for size in (len(subject.users), 2, 1):
            found = torch.as_tensor(subject.ask(name, subject.users[:size]))
            wanted = _METHODS.get(name, "(B, items)")
            if not found.is_floating_point():
                raise _Problem(f"{name} must be floating, got {found.dtype}")
            if found.ndim != 1 + (name != "row_loss") or len(found) != size:
                hint = ": the loss of each row, not their sum or mean" * (name == "row_loss")
                raise _Problem(
                    f"{name} must have the shape {wanted}{hint}; for B = {size} it has "
                    f"{tuple(found.shape)} (is a squeeze() or a reduction in the way?)"
                )
            widths.add(found.shape[1:])
        if len(widths) > 1:
            raise _Problem(f"{name} must be {wanted} for every B, the second number changes with B")


def values_are_finite(subject: _Subject):
    """No NaN, no infinity."""
    for name in subject.names:
        found = subject.values(name, subject.users)
        if not np.isfinite(found).all():
            row = subject.users[np.nonzero(~np.isfinite(found))[0][0]]
            raise _Problem(
                f"{name} is not finite for user {row}: mind empty profiles (a mean of nothing, a "
                "zero norm), and leave seen items unmasked; or training has diverged"
            )


def nothing_is_written(subject: _Subject):
    """Calls leave parameters, buffers, arrays and modes as they were, by the bit.

    A recommender may keep more after a call than before. A module may not: what it keeps of its
    parameters is stale as soon as they move.
    """
    before = subject.untouched
    for name in subject.names:
        subject.ask(name, subject.users)
    after = dict(_state(subject.model))
    paths = before if subject.names == ("score",) else {**before, **after}
    changed = sorted(path for path in paths if after.get(path) != before.get(path))
    if changed:
        raise _Problem(
            f"calls write to {', '.join(changed[:5])}: work on copies, nothing in place, and keep "
            "nothing from call to call"
        )


def answers_repeat(subject: _Subject):
    """The same users get the same bits again."""
    for name in subject.names:
        first, again = (subject.values(name, subject.users) for _ in range(2))
        if not np.array_equal(first, again):
            raise _Problem(
                f"{name} differs from call to call in evaluation mode: give functional.dropout "
                "training=self.training, draw no random numbers, keep no counters"
            )


def order_does_not_matter(subject: _Subject):
    """Users in another order get the same answers, in that order."""
    for name in subject.names:
        answers = subject.values(name, subject.users)
        if not _alike(answers, subject.values(name, subject.users[::-1].copy())[::-1]):
            raise _Problem(
                f"{name} depends on the order of the users: row b of the answer must belong to "
                "users[b] (no sorting, no torch.unique, no running sums)"
            )


def company_does_not_matter(subject: _Subject):
    """Who else is in the batch changes nobody's latent vector or scores."""
    for name in subject.names:
        if name != "row_loss":
            _same_in_any_batch(
                subject,
                name,
                "a user's answer must come from the user's row: no statistics of the batch (batch "
                "norm needs running ones, or take layer norm)",
            )


def row_losses_are_per_row(subject: _Subject):
    """A row's loss does not depend on the other rows of the batch."""
    _same_in_any_batch(
        subject,
        "row_loss",
        "each number must be the loss of that row alone: no mean over the batch, no division by "
        "its size, no negatives from its other rows",
    )


def _same_in_any_batch(subject: _Subject, name: str, remedy: str):
    answers = subject.values(name, subject.users)
    for batch in _BATCHES:
        if not _alike(answers[batch], subject.values(name, subject.users[batch])):
            raise _Problem(f"{name} depends on who else is in the batch; {remedy}")


def last_user_is_known(subject: _Subject):
    """There are n_users rows, or more: spare and padding rows are never asked for."""
    if subject.n_users is None or next(subject.model.parameters()).device.type != "cpu":
        return  # elsewhere a row out of range may end the process
    last = subject.n_users - 1
    for name in subject.names:
        try:
            subject.ask(name, np.array([last]))
        except Exception as error:
            raise _Problem(
                f"{name} fails for user {last}, the last of n_users = {subject.n_users}: "
                f"{_named(error)}"
            ) from error


def gradient_reaches_what_moves(subject: _Subject):
    """row_loss moves every parameter that shall move."""
    gradients = _gradients(subject, subject.users)
    never = [name for name, value in gradients.items() if value is None]
    if len(never) == len(gradients):
        raise _Problem(
            "no gradient of row_loss reaches a parameter: no detach(), .data, numpy or no_grad on "
            "the way, and the loss must be that of the parameters themselves"
        )
    if never:
        raise _Problem(
            f"row_loss gives no gradient to {', '.join(never)}: they would stay as trained; leave "
            "them out by parameters=..., or call requires_grad_(False) on them"
        )


def gradients_are_finite(subject: _Subject):
    """No NaN, no infinity."""
    for name, value in _gradients(subject, subject.users).items():
        if not torch.isfinite(value.to_dense()).all():
            raise _Problem(
                f"the gradient of row_loss for {name} is not finite, though the loss is: sqrt, norm "
                "and log need room at zero, also in the branch that torch.where does not take"
            )


def _gradients(subject: _Subject, users: np.ndarray) -> dict[str, torch.Tensor | None]:
    """Of the sum of the users' losses."""
    names = moving_parameters(subject.model, subject.config.parameters)
    model = copy.deepcopy(subject.model)
    values = [model.get_parameter(name).requires_grad_() for name in names]
    with torch.enable_grad():
        loss = model.row_loss(torch.from_numpy(users).to(values[0].device)).sum()
        if not loss.requires_grad:
            return dict.fromkeys(names)
        return dict(zip(names, torch.autograd.grad(loss, values, allow_unused=True), strict=True))


def can_be_fine_tuned(subject: _Subject):
    """A few steps of the optimiser run."""
    try:
        subject.defended_whole().score(subject.users[:2])
    except ValueError as error:  # it diverges
        raise _Problem(str(error)) from error
    except Exception as error:
        raise _Problem(
            "a step of the optimiser fails: keep no tensors from call to call, and let gradients "
            f"be dense (torch.nn.Embedding without sparse=True) ({_named(error)})"
        ) from error


def touched_gives_rows(subject: _Subject) -> str | None:
    """Row numbers (B, R) of parameters by name, none twice for one vicinity, and data (B, ...)."""
    if not hasattr(subject.model, "touched"):
        return (
            "has no touched(vicinities), and needs none: all that moves is copied for every user, "
            "which is slower the larger it is, see rvdlib.defenses.functional"
        )
    known, (_, places, data) = dict(subject.model.named_parameters()), _touched(subject)
    n_vicinities = len(subject.users)
    for name, rows in places.items():
        if name not in known:
            raise _Problem(f"touched names {name}, which is none of {', '.join(known)}")
        if rows.dtype != torch.int64 or rows.ndim != 2 or len(rows) != n_vicinities:
            raise _Problem(
                f"touched must give {name} int64 rows (B, R), lists filled up to the longest; for "
                f"B = {n_vicinities} they are {rows.dtype} {tuple(rows.shape)}"
            )
        if rows.numel() and not 0 <= rows.min() <= rows.max() < len(known[name]):
            raise _Problem(f"touched must give {name} rows from 0 to {len(known[name]) - 1}")
        if (rows.sort().values.diff() == 0).any():
            raise _Problem(
                f"touched gives {name} a row twice for one vicinity: its copies would part"
            )
    for name, tensor in data.items():
        if not tensor.ndim or len(tensor) != n_vicinities:
            raise _Problem(
                f"touched must give data (B, ...); for B = {n_vicinities}, {name} has "
                f"{tuple(tensor.shape)}"
            )
    return None


def nothing_else_is_touched(subject: _Subject):
    """The gradient of a vicinity's loss is 0 in every row that ``touched`` leaves out."""
    if not hasattr(subject.model, "touched"):
        return
    vicinities, places, _ = _touched(subject)
    for at, vicinity in enumerate(vicinities):
        for name, gradient in _gradients(subject, vicinity).items():
            if name not in places or gradient is None:
                continue
            elsewhere = gradient.index_fill(0, places[name][at], 0)
            elsewhere = elsewhere.reshape(len(gradient), -1).any(1)
            if elsewhere.any():
                raise _Problem(
                    f"the loss of users {vicinity.tolist()} depends on row "
                    f"{int(elsewhere.nonzero()[0])} of {name}, which touched leaves out: it would "
                    "stay as trained"
                )


def _touched(subject: _Subject) -> tuple[np.ndarray, dict, dict]:
    """Vicinities (B, k) of the users, and what the model says of them."""
    vicinities = subject.defended().vicinity(subject.users)
    device = next(subject.model.parameters()).device
    try:
        places, data = map(dict, subject.model.touched(torch.from_numpy(vicinities).to(device)))
    except Exception as error:
        raise _Problem(
            "touched fails for a LongTensor (B, k) of users, or does not give two dicts: "
            f"{_named(error)}"
        ) from error
    return vicinities, places, data


def touched_changes_no_score(subject: _Subject):
    """Fine-tuning what is touched gives the scores of fine-tuning all."""
    if not hasattr(subject.model, "touched"):
        return
    whole = subject.defended_whole().score(subject.users)
    try:
        scores = subject.defended().score(subject.users)
    except Exception as error:
        raise _Problem(
            "row_loss must take what touched has for one vicinity, a dict, in the place of users, "
            f"and find only the touched rows in these parameters ({_named(error)})"
        ) from error
    if not _alike(whole, scores):
        raise _Problem(
            "touched changes the scores: row_loss of its data must be that of the vicinity, row r of "
            "a parameter being the one that stands r-th in places"
        )


def can_be_mapped(subject: _Subject):
    """vmap runs it for several users at once, to the same scores."""
    if subject.config.chunk_size == 1:
        return
    users = subject.users[:2]
    try:
        at_once = subject.defended(chunk_size=2).score(users)
    except Exception as error:
        advice = [say for pattern, say in _VMAP_ADVICE.items() if re.search(pattern, str(error))]
        raise _Problem(
            "torch.func.vmap cannot run it for several users at once: "
            + "; ".join([*advice[:1], "or serve one user at a time, slower, by chunk_size=1"])
            + f" ({_named(error)})"
        ) from error
    if not _alike(subject.defended().score(users), at_once):
        raise _Problem("torch.func.vmap changes its scores: serve it with chunk_size=1")


def no_step_is_no_defence(subject: _Subject):
    """With steps=0 the scores are the model's own."""
    own = subject.values("forward", subject.users)
    if not _alike(own, subject.defended(steps=0).score(subject.users)):
        raise _Problem(
            "a copy with the same parameters scores otherwise: let copy.deepcopy copy all that "
            "scores depend on, and keep it in parameters and buffers"
        )


def fine_tuning_moves_the_scores(subject: _Subject):
    """Scores follow the parameters that row_loss trains."""
    before, after = (subject.defended(steps=steps).score(subject.users) for steps in (0, 2))
    if not (before != after).any(axis=1).all():
        raise _Problem(
            "fine-tuning leaves the scores as they were: forward must use the parameters that move "
            "(no cached tables), and row_loss must not be flat"
        )


def no_user_leaves_a_trace(subject: _Subject):
    """Who was served before changes nothing for the next."""
    users, defense = subject.users[:2], subject.defended()
    first, second = (defense.score(users[[at]]) for at in (0, 1))
    if not (
        np.array_equal(first, defense.score(users[:1]))
        and _alike(np.concatenate([first, second]), defense.score(users))
    ):
        raise _Problem(
            "fine-tuning for one user changes the scores of the next: keep no state outside the "
            "module (class attributes, globals, caches)"
        )


def serves_as_chosen(subject: _Subject):
    """With all users, neighbours and steps that were chosen, its scores are finite."""
    choices = subject.config.model_dump()
    if subject.n_users is None:  # how many there are to choose from, nobody says
        choices["k"] = min(choices["k"], len(subject.users) - 1)
    n_users = subject.n_users or len(subject.users)
    try:
        FunctionalRVD(subject.model, n_users, **choices).score(subject.users)
    except Exception as error:
        raise _Problem(f"FunctionalRVD fails with these choices: {_named(error)}") from error


def _state(thing: Any, path: str = "model", seen: set | None = None) -> Iterator[tuple]:
    """Path → fingerprint of every tensor, array and training mode that can be reached."""
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
        return
    seen.add(id(thing))
    if isinstance(thing, torch.Tensor):
        version = None if thing.is_inference() else thing._version
        dense = thing.layout == torch.strided
        digest = _digest(thing.detach().cpu().reshape(-1).view(torch.uint8)) if dense else None
        yield path, (version, thing.requires_grad, digest)
    elif isinstance(thing, np.ndarray):
        yield path, None if thing.dtype.hasobject else _digest(thing)
    elif isinstance(thing, dict):
        for key, value in list(thing.items()):
            yield from _state(value, f"{path}.{key}", seen)
    elif isinstance(thing, list | tuple):
        for place, value in enumerate(thing):
            yield from _state(value, f"{path}[{place}]", seen)
    elif hasattr(thing, "__dict__"):
        if isinstance(thing, torch.nn.Module):
            yield f"{path}.training", thing.training
        yield from _state(vars(thing), path, seen)


def _digest(array: np.ndarray | torch.Tensor) -> int:
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8))


# Each with those that it needs.
_RECOMMENDER_CHECKS = {
    runs: [],
    shapes_fit: [runs],
    values_are_finite: [shapes_fit],
    nothing_is_written: [shapes_fit],
    answers_repeat: [values_are_finite, nothing_is_written],
    order_does_not_matter: [answers_repeat],
    company_does_not_matter: [order_does_not_matter],
}
_MODULE_CHECKS = {
    has_the_methods: [],
    has_parameters_to_move: [],
    can_be_copied: [has_the_methods, has_parameters_to_move],
    runs: [can_be_copied],
    shapes_fit: [runs],
    values_are_finite: [shapes_fit],
    nothing_is_written: [shapes_fit],
    answers_repeat: [values_are_finite, nothing_is_written],
    order_does_not_matter: [answers_repeat],
    company_does_not_matter: [order_does_not_matter],
    row_losses_are_per_row: [company_does_not_matter],
    last_user_is_known: [runs],
    gradient_reaches_what_moves: [shapes_fit],
    gradients_are_finite: [gradient_reaches_what_moves, values_are_finite],
    can_be_fine_tuned: [row_losses_are_per_row, gradients_are_finite],
    touched_gives_rows: [can_be_fine_tuned],
    nothing_else_is_touched: [touched_gives_rows],
    touched_changes_no_score: [nothing_else_is_touched],
    can_be_mapped: [touched_changes_no_score],
    no_step_is_no_defence: [touched_changes_no_score],
    fine_tuning_moves_the_scores: [no_step_is_no_defence],
    no_user_leaves_a_trace: [no_step_is_no_defence],
    serves_as_chosen: [last_user_is_known, can_be_mapped],
}
