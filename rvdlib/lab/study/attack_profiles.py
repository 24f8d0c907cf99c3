"""What the fakes of an attack look like, and what it costs to make them."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.preprocessing import normalize

from rvdlib.attacks import ATTACKS
from rvdlib.data import Split
from rvdlib.defenses.detection import detection_auc, pca_suspicion
from rvdlib.lab.experiment.cells import Scenario
from rvdlib.lab.experiment.fingerprint import cell_fingerprint
from rvdlib.lab.experiment.parallel import Batch, Task, rows_of
from rvdlib.lab.experiment.poison import kept_poison
from rvdlib.lab.experiment.splits import split_of_seed
from rvdlib.lab.experiment.store import CellStore
from rvdlib.seeding import stream
from rvdlib.threat_model import draw_targets

MODULE = "lab/study/attack_profiles.py"
KEPT = ["dataset", "regime", "attack", "attack_size", "target_set", "seed"]


def profile_rows(
    scenarios: Sequence[Scenario], *, store: CellStore | None = None, jobs: int = -1
) -> pd.DataFrame:
    """One row for each set of fakes, however many victims share it; attack ``none`` is real users.

    Columns besides those of the scenario; the targets are left out of the middle three:

    - ``seconds``: CPU time to craft them;
    - ``rating_shares``: of the filler ratings, by level of the scale;
    - ``filler_popularity``: mean share of the real users who rated a filler;
    - ``similarity``: mean cosine between a profile and the real profile most similar to it;
    - ``detection_auc``: of :func:`rvdlib.defenses.detection.pca_suspicion`, NaN for real users;
    - ``objectives``: of an attack that optimises, from first to last.
    """
    tasks, compute, unit = batch(scenarios)
    return pd.DataFrame(rows_of(tasks, compute, store, jobs, unit))


def batch(scenarios: Sequence[Scenario]) -> Batch:
    """What :func:`profile_rows` crafts and looks at."""
    tasks = {}
    for scenario in scenarios:
        spec = {"what": "profiles", **scenario.model_dump(mode="json", exclude={"victim"})}
        used = [ATTACKS[scenario.attack].function] if scenario.attack != "none" else []
        made_by = cell_fingerprint(MODULE, scenario.dataset, used)
        tasks[str(spec)] = Task(scenario, spec, made_by, str(spec))
    return Batch([*tasks.values()], _rows, "attacks")


def descent(rows: pd.DataFrame) -> pd.DataFrame:
    """The objective of each attack that has one, at first and at last, and the steps between."""
    rows = rows[rows["objectives"].map(len) > 0]
    curves = rows.assign(
        first=[curve[0] for curve in rows["objectives"]],
        last=[curve[-1] for curve in rows["objectives"]],
        steps=[len(curve) for curve in rows["objectives"]],
    )
    columns = ["first", "last", "steps"]
    return curves.groupby(["regime", "attack"], sort=False)[columns].mean()


def crafting(rows: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds to craft the fakes of each attack over seeds and target sets: mean, min, max."""
    attacked = rows[rows["attack"] != "none"]
    return attacked.groupby(["regime", "attack"], sort=False)["seconds"].agg(["mean", "min", "max"])


def _rows(scenarios: list[Scenario]) -> Iterator[dict]:
    return map(_row, scenarios)


def _row(scenario: Scenario) -> dict:
    row = scenario.model_dump(include=set(KEPT))
    split = split_of_seed(scenario.dataset, scenario.seed)
    if scenario.attack == "none":
        targets = draw_targets(
            split, scenario.target_set, stream(scenario.seed, "targets", scenario.target_set)
        )
        made = {"seconds": 0.0, "detection_auc": np.nan, "objectives": []}
        return row | made | look(split, targets)
    poison = kept_poison(**scenario.poison)
    everybody = sp.vstack([split.train, poison.profiles], format="csr")
    made = {
        "seconds": poison.origin["seconds"],
        "detection_auc": detection_auc(pca_suspicion(everybody), split.train.shape[0]),
        "objectives": poison.origin["objectives"],
    }
    return row | made | look(split, poison.targets, poison.profiles)


def look(split: Split, targets: np.ndarray, fakes: sp.csr_matrix | None = None) -> dict:
    """How profiles look beside the real users' (their own, without ``fakes``)."""
    real = _without(split.train, targets)
    profiles = real if fakes is None else _without(fakes, targets)
    levels, stars = split.ratings.levels, profiles.data
    raters = np.bincount(real.indices, minlength=real.shape[1]) / real.shape[0]
    cosines = (normalize(profiles) @ normalize(real).T).toarray()
    if fakes is None:
        np.fill_diagonal(cosines, 0)
    return {
        "rating_shares": [float(np.mean(stars == level)) for level in levels],
        "filler_popularity": float(raters[profiles.indices].mean()),
        "similarity": float(cosines.max(axis=1).mean()),
    }


def _without(profiles: sp.csr_matrix, items: np.ndarray) -> sp.csr_matrix:
    kept = profiles.copy()
    kept.data[np.isin(kept.indices, items)] = 0
    kept.eliminate_zeros()
    return kept
