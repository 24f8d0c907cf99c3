"""Who pays for a defence: accuracy by how active a user is, and by how popular the user's test item is.

Nobody attacks there. Detectors are paid for by the real users whose ratings they remove, also where
somebody attacks.
"""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED, Cell
from rvdlib.lab.experiment.hyperparameters import RVD_HARDENED, rival_defenses
from rvdlib.lab.experiment.paying import BY, THIRDS, run_removals, run_thirds
from rvdlib.lab.statistics import summarise
from rvdlib.lab.study import tables
from rvdlib.lab.study.effects import crossed, scenarios

DETECTORS = ("PCA detection", "profile detection")
REMOVED = {"real_users_removed": "real users", "fakes_removed": "fakes"}
GROUP = ["dataset", "regime", "by", "third"]
SHOWN = dict(zip(BY, ("the user's ratings", "raters of the test item"), strict=True))


def cells(
    datasets: Mapping[str, Mapping],
    victim: str,
    target_sets: Mapping[str, str],
    defenses: Sequence[str],
) -> list[Cell]:
    """Undefended and under each of the ``defenses`` that there are, without an attack.

    ``datasets`` as :func:`rvdlib.lab.study.rivals.cells` has them.
    """
    found = []
    for dataset, regime, part in _each(datasets):
        known = {UNDEFENDED: {}} | rival_defenses(regime, victim, dataset, against=[RVD_HARDENED])
        forms = [(name, known[name]) for name in (UNDEFENDED, *defenses) if name in known]
        of = dataset, [victim], [regime], ["none"], [target_sets[regime]], part["seeds"]
        found += crossed(scenarios(*of), forms, part["n_users"])
    return found


def hits_by_third(cells: Sequence[Cell]) -> pd.DataFrame:
    """HR@50 of each third of the users: dataset, regime, by (of :data:`BY`), third, defense, metric,
    mean, low, high, n."""
    rows, kept = run_thirds(cells), ["dataset", "regime", "defense", "seed"]
    parts = [
        rows[kept].assign(by=by, third=third, hit_ratio=rows[f"{by} {third}"])
        for by in BY
        for third in THIRDS
    ]
    return summarise(pd.concat(parts).sort_index(kind="stable"), [*GROUP, "defense"], ["hit_ratio"])


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`hits_by_third` as a reader sees it: a column a defence."""
    named = table.assign(by=table["by"].map(SHOWN))
    return tables.wide(named, GROUP, "defense").rename_axis(columns=None)


def detected_cells(
    datasets: Mapping[str, Mapping], victim: str, target_sets: Mapping[str, str]
) -> list[Cell]:
    """Each detector that a data set's ``trained`` names, under each of its ``attacks``."""
    found = []
    for dataset, regime, part in _each(datasets):
        known = rival_defenses(regime, victim, dataset)
        forms = [(name, known[name]) for name in DETECTORS if name in part["trained"]]
        of = dataset, [victim], [regime], part["attacks"], [target_sets[regime]], part["seeds"]
        found += crossed(scenarios(*of), forms, None)
    return found


def removed(cells: Sequence[Cell]) -> pd.DataFrame:
    """Whom detectors remove, on average over seeds.

    Returns:
        Columns dataset, regime, defense, attack, metric (of :data:`REMOVED`: a share of the real users
        with ratings, or of the fakes), mean, low, high, n.
    """
    by = ["dataset", "regime", "defense", "attack"]
    rows = run_removals(cells) if cells else pd.DataFrame(columns=[*by, "seed", *REMOVED])
    return summarise(rows, by, [*REMOVED])


def removed_shown(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`removed` as a reader sees it: a column an attack."""
    named = table.assign(removed=table["metric"].map(REMOVED))
    index = ["dataset", "regime", "defense", "removed"]
    return tables.wide(named, index, "attack").rename_axis(columns=None)


def _each(datasets: Mapping[str, Mapping]) -> Iterator[tuple[str, str, Mapping]]:
    for dataset, part in datasets.items():
        for regime in part["regimes"]:
            yield dataset, regime, part
