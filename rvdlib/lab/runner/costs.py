"""What rows will cost, from what finished rows have cost."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rvdlib import paths
from rvdlib.data.catalogue import CATALOGUE
from rvdlib.lab.experiment.committed import PROFILES, store_of
from rvdlib.lab.experiment.lines import flat

# What a row's cost depends on. A row of which none like it is finished is taken for the nearest kind:
# the first list that a finished row shares.
ALIKE = (
    ("kind", "dataset", "system", "regime", "attack", "methods", "n_users"),
    ("kind", "dataset", "system", "regime", "attack", "methods"),
    ("kind", "dataset", "system", "regime", "attack"),
    ("kind", "dataset", "system", "regime", "methods"),
    ("kind", "dataset", "system", "regime"),
    ("kind", "dataset", "regime", "methods"),
    ("kind", "dataset"),
    # From another data set: by the number of ratings.
    ("kind", "system", "regime", "attack", "methods"),
    ("kind", "system", "regime"),
    ("kind", "regime", "methods"),
    ("kind",),
)
OWN = 2  # lists of ALIKE whose rows are of one kind: victim, data set, regime, attack and defence


class Cost(NamedTuple):
    """Of one row: seconds of one core, the memory of its process, and whether its own kind tells."""

    seconds: float
    peak_mib: float
    own: bool


class Costs:
    """Estimates from the costs of finished rows, of whatever code: in the repository and the cache."""

    def __init__(self, rows: Iterable[tuple[Mapping[str, Any], Mapping[str, float]]]):
        """``rows``: encoded specifications, and what they cost."""
        found: list[dict] = [defaultdict(list) for _ in ALIKE]
        for spec, cost in rows:
            if "seconds" in cost:
                traits = _traits(spec)
                for level, names in zip(found, ALIKE, strict=True):
                    seconds = cost["seconds"] / _size(names, traits)
                    level[_of(names, traits)].append((seconds, cost.get("peak_mib", 0.0)))
        self._means = [
            {
                kind: (sum(s for s, _ in known) / len(known), max(peak for _, peak in known))
                for kind, known in level.items()
            }
            for level in found
        ]

    def estimate(self, spec: Mapping[str, Any]) -> Cost | None:
        """Of the row of an encoded specification; None if nothing like it is finished."""
        traits = _traits(spec)
        for place, (level, names) in enumerate(zip(self._means, ALIKE, strict=True)):
            if known := level.get(_of(names, traits)):
                return Cost(known[0] * _size(names, traits), known[1], place < OWN)
        return None


def known_costs() -> Costs:
    """From all that is finished here and in the repository."""
    found = {}
    for path in paths.CELL_STORE.glob("*.json"):
        try:
            record = json.loads(path.read_bytes())
            found[path.stem] = record["spec"], record.get("cost", {})
        except (ValueError, KeyError, TypeError):  # whoever looks the cell up is told
            continue
    rows = [(each.spec, each.cost) for name in PROFILES for each in store_of(name).all()]
    return Costs([*found.values(), *rows])


def _traits(spec: Mapping[str, Any]) -> dict[str, Any]:
    columns = dict(flat(spec))
    steps = columns.get("chain", [])
    return {
        "kind": spec.get("what") or next(iter(spec)),
        "dataset": columns.get("dataset"),
        "system": columns.get("victim", columns.get("system")),
        "regime": columns.get("regime"),
        "attack": columns.get("attack"),
        "methods": tuple(step["method"] for step in steps),
        "n_users": columns.get("n_users"),
    }


def _of(names: tuple[str, ...], traits: Mapping[str, Any]) -> tuple:
    return tuple(traits[name] for name in names)


def _size(names: tuple[str, ...], traits: Mapping[str, Any]) -> float:
    """What seconds are in proportion to, where rows of several data sets stand for each other."""
    known = CATALOGUE.get(traits["dataset"])
    return known.ratings if known and "dataset" not in names else 1.0
