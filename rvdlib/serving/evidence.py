"""An answer, and what it rests on."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rvdlib.defenses import Quorum
from rvdlib.defenses.vicinal_defense import VicinalDefense
from rvdlib.serving.state import State


@dataclass(frozen=True)
class Evidence:
    """Why this list.

    Attributes:
        neighbors: ids of those whose ratings count, nearest first; of a chain, those of the last
            defence that listens to any. Empty without a defence that does.
        raters: of each item of the list, which of them rated it, nearest first.
        survives: how many of the neighbours may be taken away, whichever, and each item of the list
            still has its quorum; what a fallback added is not counted. None where no quorum decides,
            and of an empty list.
        undefended: the list without a defence, as long.
    """

    neighbors: tuple
    raters: tuple[tuple, ...]
    survives: int | None
    undefended: tuple


@dataclass(frozen=True)
class Answer:
    """A user's list.

    Attributes:
        items: ids, best first; fewer than asked for where a defence allows no more or less is left.
        scores: of the items, in stars where the form predicts stars: their order counts.
        defense: what served, ``none`` without a defence.
        fallback: None, or whose the last ``short`` items and scores are, which no defence stands
            behind: ``undefended``, ``popularity``.
        short: of the items that were asked for, how many the defence did not list; 0: none.
        version: of the model; it grows with every update.
    """

    user: Any
    items: tuple
    scores: tuple[float, ...]
    defense: str
    fallback: str | None
    short: int
    version: int
    evidence: Evidence | None = None

    def as_json(self) -> dict[str, Any]:
        pairs = zip(self.items, self.scores, strict=True)
        found = dict(vars(self)) | {"items": [{"item": i, "score": s} for i, s in pairs]}
        del found["scores"]
        evidence = found.pop("evidence")
        return found | ({"evidence": dict(vars(evidence))} if evidence else {})


def evidence_of(
    state: State,
    layers: list[VicinalDefense],
    row: int | None,
    items: np.ndarray,
    undefended: np.ndarray,
    n_defended: int,
) -> Evidence:
    """Of a row's list ``items`` (columns; the first so many are defended), and of the undefended one.

    ``row`` None: of somebody who is not there.
    """
    listed = tuple(state.base.items.ids[item] for item in undefended)
    if row is None or not layers:
        return Evidence((), ((),) * len(items), None, listed)
    outer = layers[0]
    rows = outer.vicinity(np.array([row]))[0]
    rows = rows[rows >= 0]
    rated = state.arrays.train[rows][:, items].toarray() > 0
    survives = None
    if isinstance(outer, Quorum) and outer.config.fill == "abstain" and n_defended:
        survives = int(rated[:, :n_defended].sum(axis=0).min()) - outer.config.quorum
    ids = tuple(state.id_of(each) for each in rows.tolist())
    raters = tuple(tuple(ids[n] for n in np.flatnonzero(column)) for column in rated.T)
    return Evidence(ids, raters, survives, listed)
