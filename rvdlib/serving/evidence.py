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
        raters: of each item of the list, how many of them rated it.
        survives: how many of the neighbours may be taken away, whichever, and each item of the list
            still has its quorum. None where no quorum decides, and of an empty list.
        undefended: the list without a defence, as long.
    """

    neighbors: tuple
    raters: tuple[int, ...]
    survives: int | None
    undefended: tuple


@dataclass(frozen=True)
class Answer:
    """A user's list.

    Attributes:
        items: ids, best first; fewer than asked for where a defence allows no more.
        scores: of the items, in stars where the form predicts stars: their order counts.
        defense: what served, ``none`` without a defence.
        fallback: None, or what stands in the place of what was asked for: ``undefended``,
            ``popularity``.
        version: of the model; it grows with every update.
    """

    user: Any
    items: tuple
    scores: tuple[float, ...]
    defense: str
    fallback: str | None
    version: int
    evidence: Evidence | None = None

    def as_json(self) -> dict[str, Any]:
        pairs = zip(self.items, self.scores, strict=True)
        found: dict[str, Any] = {
            "user": self.user,
            "items": [{"item": item, "score": score} for item, score in pairs],
            "defense": self.defense,
            "fallback": self.fallback,
            "version": self.version,
        }
        if self.evidence is not None:
            found["evidence"] = {
                name: _listed(value) for name, value in vars(self.evidence).items()
            }
        return found


def evidence_of(
    state: State,
    layers: list[VicinalDefense],
    row: int,
    items: np.ndarray,
    undefended: np.ndarray,
) -> Evidence:
    """Of a row's list ``items`` (columns), and of the undefended one."""
    names = state.base.items.ids
    listed = tuple(names[item] for item in undefended)
    if not layers:
        return Evidence((), (0,) * len(items), None, listed)
    outer = layers[0]
    rows = outer.vicinity(np.array([row]))[0]
    rows = rows[rows >= 0]
    votes = np.bincount(state.arrays.train[rows].indices, minlength=len(names))[items]
    survives = None
    if isinstance(outer, Quorum) and outer.config.fill == "abstain" and len(items):
        survives = int(votes.min()) - outer.config.quorum
    ids = tuple(state.id_of(each) for each in rows.tolist())
    return Evidence(ids, tuple(votes.tolist()), survives, listed)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
