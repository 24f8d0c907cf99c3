"""Checks of ``touched``, by which a model says what the loss of a vicinity depends on."""

import numpy as np
import torch

from rvdlib.defenses.any_model.checks.gradients import gradients_of
from rvdlib.defenses.any_model.checks.subject import Problem, Subject, alike, named


def touched_gives_rows(subject: Subject) -> str | None:
    """Row numbers (B, R) of parameters by name, none twice for one vicinity, and data (B, ...)."""
    if not hasattr(subject.model, "touched"):
        return (
            "has no touched(vicinities), and needs none: all that moves is copied for every user, "
            "which is slower the larger it is, see rvdlib.defenses.any_model.functional"
        )
    known, (_, places, data) = dict(subject.model.named_parameters()), _touched(subject)
    n_vicinities = len(subject.users)
    for name, rows in places.items():
        if name not in known:
            raise Problem(f"touched names {name}, which is none of {', '.join(known)}")
        if rows.dtype != torch.int64 or rows.ndim != 2 or len(rows) != n_vicinities:
            raise Problem(
                f"touched must give {name} int64 rows (B, R), lists filled up to the longest; for "
                f"B = {n_vicinities} they are {rows.dtype} {tuple(rows.shape)}"
            )
        if rows.numel() and not 0 <= rows.min() <= rows.max() < len(known[name]):
            raise Problem(f"touched must give {name} rows from 0 to {len(known[name]) - 1}")
        if (rows.sort().values.diff() == 0).any():
            raise Problem(
                f"touched gives {name} a row twice for one vicinity: its copies would part"
            )
    for name, tensor in data.items():
        if not tensor.ndim or len(tensor) != n_vicinities:
            raise Problem(
                f"touched must give data (B, ...); for B = {n_vicinities}, {name} has "
                f"{tuple(tensor.shape)}"
            )
    return None


def nothing_else_is_touched(subject: Subject):
    """The gradient of a vicinity's loss is 0 in every row that ``touched`` leaves out."""
    if not hasattr(subject.model, "touched"):
        return
    vicinities, places, _ = _touched(subject)
    for at, vicinity in enumerate(vicinities):
        for name, gradient in gradients_of(subject, vicinity).items():
            if name not in places or gradient is None:
                continue
            elsewhere = gradient.index_fill(0, places[name][at], 0)
            elsewhere = elsewhere.reshape(len(gradient), -1).any(1)
            if elsewhere.any():
                raise Problem(
                    f"the loss of users {vicinity.tolist()} depends on row "
                    f"{int(elsewhere.nonzero()[0])} of {name}, which touched leaves out: it would "
                    "stay as trained"
                )


def _touched(subject: Subject) -> tuple[np.ndarray, dict, dict]:
    """Vicinities (B, k) of the users, and what the model says of them."""
    vicinities = subject.defended().vicinity(subject.users)
    device = next(subject.model.parameters()).device
    try:
        places, data = map(dict, subject.model.touched(torch.from_numpy(vicinities).to(device)))
    except Exception as error:
        raise Problem(
            "touched fails for a LongTensor (B, k) of users, or does not give two dicts: "
            f"{named(error)}"
        ) from error
    return vicinities, places, data


def touched_changes_no_score(subject: Subject):
    """Fine-tuning what is touched gives the scores of fine-tuning all."""
    if not hasattr(subject.model, "touched"):
        return
    whole = subject.defended_whole().score(subject.users)
    try:
        scores = subject.defended().score(subject.users)
    except Exception as error:
        raise Problem(
            "row_loss must take what touched has for one vicinity, a dict, in the place of users, "
            f"and find only the touched rows in these parameters ({named(error)})"
        ) from error
    if not alike(whole, scores):
        raise Problem(
            "touched changes the scores: row_loss of its data must be that of the vicinity, row r of "
            "a parameter being the one that stands r-th in places"
        )
