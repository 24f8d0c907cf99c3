"""Who pays for a defence: accuracy by how active a user is, and by how popular the user's test item is.

Nobody attacks here. Thirds are of the evaluated users: by their own training ratings, and by the training
ratings of their test items. Detectors are paid for by the real users whose ratings they remove, also
where somebody attacks.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rvdlib import metrics
from rvdlib.attacks import poison
from rvdlib.defenses.forms import chain_of
from rvdlib.evaluation import evaluate
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, carry_out, sample_users
from rvdlib.lab.experiment.hyperparameters import RVD_HARDENED, rival_defenses
from rvdlib.lab.experiment.poison import kept_poison
from rvdlib.lab.experiment.splits import split_of_seed
from rvdlib.lab.statistics import summarise
from rvdlib.lab.study import tables
from rvdlib.lab.study.effects import scenarios
from rvdlib.seeding import stream
from rvdlib.threads import single_thread

DETECTORS = ("PCA detection", "profile detection")
REMOVED = {"real_users_removed": "real users", "fakes_removed": "fakes"}
THIRDS = ("few", "some", "many")
GROUP = ["dataset", "regime", "by", "third"]
BY = {"activity": "the user's ratings", "popularity": "raters of the test item"}


@single_thread()
def hits_by_third(
    datasets: Mapping[str, Mapping],
    victim: str,
    target_sets: Mapping[str, str],
    defenses: Sequence[str],
) -> pd.DataFrame:
    """HR@50 of each third of the users, undefended and under each of the ``defenses`` that there are.

    Columns dataset, regime, by (``activity`` or ``popularity``), third, defense, seed, hit_ratio;
    ``datasets`` as :func:`rvdlib.lab.study.rivals.cells` has them.
    """
    found = []
    for dataset, regime in [
        (name, each) for name in datasets for each in datasets[name]["regimes"]
    ]:
        forms = {UNDEFENDED: {}} | rival_defenses(regime, victim, dataset, against=[RVD_HARDENED])
        seeds, n_users = (datasets[dataset][name] for name in ("seeds", "n_users"))
        of = dataset, [victim], [regime], ["none"], [target_sets[regime]]
        for scenario in scenarios(*of, seeds):
            trained = carry_out(scenario)
            split = trained.split
            users = sample_users(split.train.shape[0], n_users, scenario.seed)
            for name in (each for each in (UNDEFENDED, *defenses) if each in forms):
                cell = Cell(scenario=scenario, defense=name, **forms[name])
                own = carry_out(scenario, cell.training) if cell.training else trained
                served = cell.defended_by().wrap(own.victim)
                evaluation = evaluate(served, split, trained.targets, users=users)
                hits = metrics.hits(evaluation.test_ranks, evaluation.k)
                for by, counts in _counts(split, users).items():
                    for third, here in zip(THIRDS, thirds(counts), strict=True):
                        key = dataset, regime, by, third, name, scenario.seed
                        found.append((*key, metrics.mean(hits[here])))
    columns = [*GROUP, "defense", "seed", "hit_ratio"]
    return pd.DataFrame(found, columns=columns)


def thirds(counts: np.ndarray) -> list[np.ndarray]:
    """Positions of the lowest, the middle and the highest third; equal counts in their order."""
    return np.array_split(np.argsort(counts, kind="stable"), 3)


def _counts(split, users: np.ndarray) -> dict[str, np.ndarray]:
    """Training ratings of each of the users, and of their test items (0 without one)."""
    item_of = np.full(split.train.shape[0], -1)
    item_of[split.test.users] = split.test.items
    raters = np.bincount(split.train.indices, minlength=split.train.shape[1])
    items = item_of[users]
    return {
        "activity": np.diff(split.train.indptr)[users],
        "popularity": np.where(items >= 0, raters[items], 0),
    }


def shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds: dataset, regime, by, third, defense, metric, mean, low, high, n."""
    return summarise(rows, [*GROUP, "defense"], ["hit_ratio"])


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`shares` as a reader sees it: a column a defence."""
    named = table.assign(by=table["by"].map(BY))
    return tables.wide(named, GROUP, "defense").rename_axis(columns=None)


@single_thread()
def removed(
    datasets: Mapping[str, Mapping], victim: str, target_sets: Mapping[str, str]
) -> pd.DataFrame:
    """Whom detectors remove, under each of the ``attacks`` of a data set, ``none`` among them.

    Returns:
        Columns dataset, regime, defense, attack, metric (of :data:`REMOVED`: a share of the real users
        with ratings, or of the fakes), mean, low, high, n; ``datasets`` as
        :func:`rvdlib.lab.study.rivals.cells` has them.
    """
    found = []
    for dataset, part in datasets.items():
        for regime in part["regimes"]:
            forms = rival_defenses(regime, victim, dataset)
            chains = {name: chain_of(forms[name]) for name in DETECTORS if name in part["trained"]}
            of = dataset, [victim], [regime], part["attacks"], [target_sets[regime]]
            for scenario in scenarios(*of, part["seeds"]) if chains else ():
                split = split_of_seed(dataset, scenario.seed)
                train = split.train
                if scenario.attack != "none":
                    train = poison(split, kept_poison(**scenario.poison))
                rated, n_real = train.getnnz(axis=1) > 0, split.train.shape[0]
                for name, chain in chains.items():
                    rng = stream(scenario.seed, "clean")
                    left = chain.clean(train, split.ratings.levels, rng).getnnz(axis=1) > 0
                    gone = rated & ~left
                    key = dataset, regime, name, scenario.attack, scenario.seed
                    real = gone[:n_real].sum() / rated[:n_real].sum()
                    found.append((*key, real, metrics.mean(gone[n_real:])))
    by = ["dataset", "regime", "defense", "attack"]
    rows = pd.DataFrame(found, columns=[*by, "seed", *REMOVED])
    return summarise(rows, by, [*REMOVED])


def removed_shown(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`removed` as a reader sees it: a column an attack."""
    named = table.assign(removed=table["metric"].map(REMOVED))
    index = ["dataset", "regime", "defense", "removed"]
    return tables.wide(named, index, "attack").rename_axis(columns=None)
