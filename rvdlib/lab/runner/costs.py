"""What rows will cost, from what finished rows have cost."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from statistics import median
from typing import Any, NamedTuple

from rvdlib import paths
from rvdlib.data.catalogue import CATALOGUE
from rvdlib.lab.experiment.committed import store_of
from rvdlib.lab.experiment.lines import flat
from rvdlib.lab.profiles import COMMITTED

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
        known: defaultdict[tuple, list[tuple[float, float]]] = defaultdict(list)
        for spec, cost in rows:
            for kind, size in _kinds(spec) if "seconds" in cost else ():
                known[kind].append((cost["seconds"] / size, cost.get("peak_mib", 0.0)))
        # Seconds are of the wall: on a machine that slept meanwhile one row counts hours.
        self._known = {
            kind: (median(seconds for seconds, _ in costs), max(peak for _, peak in costs))
            for kind, costs in known.items()
        }

    def estimate(self, spec: Mapping[str, Any]) -> Cost | None:
        """Of the row of an encoded specification; None if nothing like it is finished."""
        for place, (kind, size) in enumerate(_kinds(spec)):
            if kind in self._known:
                seconds, peak = self._known[kind]
                return Cost(seconds * size, peak, place < OWN)
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
    rows = [(each.spec, each.cost) for name in COMMITTED for each in store_of(name).all()]
    return Costs([*found.values(), *rows])


def _kinds(spec: Mapping[str, Any]) -> Iterator[tuple[tuple, float]]:
    """What a row is in the eyes of each of :data:`ALIKE`, and what its seconds are in proportion to:
    the ratings, where rows of several data sets stand for each other."""
    columns = dict(flat(spec))
    traits = {
        "kind": spec.get("what") or next(iter(spec)),
        "dataset": columns.get("dataset"),
        "system": columns.get("victim", columns.get("system")),
        "regime": columns.get("regime"),
        "attack": columns.get("attack"),
        "methods": tuple(step["method"] for step in columns.get("chain", [])),
        "n_users": columns.get("n_users"),
    }
    known = CATALOGUE.get(traits["dataset"])
    for names in ALIKE:
        size = known.ratings if known and "dataset" not in names else 1.0
        yield (names, *(traits[name] for name in names)), size
