"""Which defence to choose: every rival, alone and before RVD.

Attackers are those of :mod:`rvdlib.lab.study.adaptive`: oblivious ones, whom all meet, and ones that
were searched against a defence, whom at least that one meets. Of the defences before and in training
one has such an attacker, unobserved weight: for the others a search might find a worse one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, run_cells
from rvdlib.lab.experiment.hyperparameters import RVD_HARDENED, combinations, rival_defenses
from rvdlib.lab.experiment.oracles import ORACLES, Told, run_oracles
from rvdlib.lab.experiment.seeded_oracle import PROPAGATED, ToldSome, run_seeded
from rvdlib.lab.statistics import relative_change, summarise
from rvdlib.lab.study import adaptive, tables
from rvdlib.lab.study.adaptive import AGAINST, BOTH, HARDENED, VICINITY
from rvdlib.lab.study.effects import CLOSED_FORM, RVD

SETTING = ["dataset", *adaptive.SETTING]
HELD = [*SETTING, "defense", "kind", "worst"]  # what :func:`measured` tells apart
ACCURACY = ["hit_ratio", "ndcg", "rmse", "list_length"]
TOLD = [*ORACLES, PROPAGATED]
PAYING = [
    RVD,
    RVD_HARDENED,
    CLOSED_FORM,
    HARDENED,
    BOTH,
    "least support",
    "user-kNN",
    "PCA detection",
    "unobserved weight",
]
LOWER = 0.1  # of a target hit ratio, relative: what a setting must lower it by to have lowered it
ALONE, CHAIN, BOUND = "alone", "combination", "told who is fake"
SHOWN = {
    "oblivious": "THR@50, worst oblivious attacker",
    "knowing": "THR@50, worst searched attacker",
    "target_hit_ratio_clean": "THR@50, no attack",
    "lift_removed": "lift removed",
    "hit_ratio": "HR@50",
    "ndcg": "NDCG@50",
    "ndcg_change": "NDCG@50, change",
    "rmse": "RMSE",
    "rmse_change": "RMSE, change",
    "list_length": "items in a list",
}  # metrics of :func:`measured`, as shown


def cells(
    datasets: Mapping[str, Mapping],
    others: Sequence[Mapping],
    target_sets: Mapping[str, str],
    focus: str,
) -> list[tuple[Cell, str]]:
    """Each cell and what its attacker is called, as :func:`rvdlib.lab.study.adaptive.cells` has them.

    All defences of the victim in ``focus`` meet who was searched against one of ``against``, and each
    who was searched against it or its method. It alone is asked for combinations: of ``against`` they
    meet those of nobody, of RVD and of their second part. Other victims meet those of nobody. The
    vicinity attack, another one for each defence, is left to 07. Of each data set ``datasets`` has what
    :class:`rvdlib.lab.study.parameter_types.Compared` holds, ``others`` is a list of
    :class:`rvdlib.lab.study.parameter_types.Others`.

    Raises:
        StudyError: if the victim in focus is one of the others.
    """
    found = []
    for dataset, part in datasets.items():
        taken = {name: part[name] for name in ("trained", "chained", "against")}
        chained = partial(rival_defenses, **taken)
        alone = partial(chained, chained=())
        sample = part["seeds"], part["n_users"]
        for regime in part["regimes"]:
            promoted = {regime: [target_sets[regime]]}
            ask = partial(adaptive.cells, dataset, [focus], promoted, part["attacks"])
            found += ask(part["against"], *sample, alone, own=True)
            for then in dict.fromkeys(then for _, then in combinations(regime).values()):
                knows = [each for each in part["against"] if each in (UNDEFENDED, RVD, then)]
                names = {name for name, parts in combinations(regime).items() if parts[1] == then}
                found += [met for met in ask(knows, *sample, chained) if met[0].defense in names]
    for part in others:
        alone = partial(rival_defenses, trained=part["trained"], chained=(), against=[RVD_HARDENED])
        for regime, victims in part["victims"].items():
            if focus in victims:
                raise StudyError(f"others, {part['dataset']}: {focus} is in focus, and no other")
            of = part["dataset"], victims, {regime: [target_sets[regime]]}, part["attacks"]
            found += adaptive.cells(*of, [UNDEFENDED], part["seeds"], part["n_users"], alone)
    return [(cell, attacker) for cell, attacker in found if attacker != VICINITY]


def told(cells: Sequence[tuple[Cell, str]]) -> tuple[list[tuple[Any, str]], list[tuple[Any, str]]]:
    """Where somebody attacks whom all meet, who is told all fakes, and who some; each with what the
    attacker is called."""
    met = Counter(
        (_setting(cell), attacker)
        for cell, attacker in cells
        if cell.defense not in combinations(cell.scenario.regime)
    )
    bare = [
        ({"scenario": cell.scenario, "n_users": cell.n_users}, attacker)
        for cell, attacker in cells
        if not cell.chain and attacker != "none"
        if met[_setting(cell), attacker] == met[_setting(cell), "none"]
    ]
    every = [(Told(oracle=name, **of), attacker) for of, attacker in bare for name in ORACLES]
    return every, [(ToldSome(**of), attacker) for of, attacker in bare]


def _setting(cell: Cell) -> tuple:
    return tuple(getattr(cell.scenario, name) for name in ("dataset", "regime", "victim", "seed"))


def run(cells: Sequence[tuple[Cell, str]]) -> pd.DataFrame:
    """Rows of these cells, and of the oracles of the same scenarios, with the ``attacker`` of each.

    Where nobody attacks there is nothing to be told: an oracle's rows are the undefended victim's.
    """
    wanted = zip((run_cells, run_oracles, run_seeded), (cells, *told(cells)), strict=True)
    found = [
        compute([item for item, _ in each]).assign(attacker=[name for _, name in each])
        for compute, each in wanted
    ]
    clean = found[0][(found[0]["attacker"] == "none") & (found[0]["defense"] == UNDEFENDED)]
    found += [clean.assign(defense=name) for name in TOLD]
    return pd.concat(found, ignore_index=True)


def kind(regime: str, defense: str) -> str:
    """Whether a defence stands alone, is a chain of two, or is told who is fake."""
    if defense in TOLD:
        return BOUND
    return CHAIN if defense in combinations(regime) else ALONE


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """What each defence holds on each seed under its worst attackers, and what it costs.

    Returns:
        Columns dataset, regime, target_set, victim, defense, kind, worst (the attacker's name), seed,
        and metrics: ``target_hit_ratio``, under the worst attacker of all, and those of
        :data:`SHOWN`. A defence's worst attacker is the one under whom it does worst on average.
        Accuracy is that without an attack, RMSE that of the rating regime, whose scores are stars;
        changes are relative to the undefended victim. An oracle does nothing until somebody attacks:
        its accuracy is that under its worst attacker, and so is the undefended victim's beside it.
    """
    attacked = rows["attacker"] != "none"
    searched = rows["attacker"].str.startswith(AGAINST)
    knows = searched & ~rows["attacker"].str.startswith(AGAINST + UNDEFENDED)
    found = adaptive.by_seed(rows, SETTING, ACCURACY)
    told = adaptive.under_worst(rows[rows["defense"].isin(TOLD)], SETTING)
    bare = rows[rows["defense"] == UNDEFENDED]
    told = told.merge(bare, on=[*SETTING, "attacker", "seed"], suffixes=("", "_bare"))
    told = told.set_index(found.index.names)
    for name in ACCURACY:
        found.loc[told.index, name] = told[name]
        changes = relative_change(told[name], told[f"{name}_bare"])
        found.loc[told.index, f"{name}_change"] = changes
    for name, those in (("knowing", knows), ("oblivious", attacked & ~knows)):
        worst = adaptive.under_worst(rows[those], SETTING).set_index(found.index.names)
        found[name] = worst["target_hit_ratio"]
    found = found.reset_index()
    found.loc[found["regime"] != "rating", ["rmse", "rmse_change"]] = np.nan
    kinds = [kind(*each) for each in zip(found["regime"], found["defense"], strict=True)]
    return found.assign(kind=kinds)[[*HELD, "seed", "target_hit_ratio", *SHOWN]]


def measured(seeds: pd.DataFrame) -> pd.DataFrame:
    """:func:`by_seed` as means with intervals over seeds.

    Returns:
        Columns :data:`HELD`, metric, mean, low, high, n; no row where a metric is not defined.
    """
    found = summarise(seeds, HELD, ["target_hit_ratio", *SHOWN])
    ratios = found["metric"].isin(["oblivious", "knowing"])
    found.loc[ratios, ["low", "high"]] = found.loc[ratios, ["low", "high"]].clip(0, 1)
    return found.dropna(subset="mean", ignore_index=True)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`measured` as a reader sees it, without combinations; oracles end each setting."""
    here = table[(table["kind"] != CHAIN) & table["metric"].isin(SHOWN)]
    here = pd.concat(own for _, own in here.groupby(SETTING, sort=False))
    wide = tables.wide(here, [*SETTING, "defense", "worst"], "metric")
    return wide.rename(columns=SHOWN).fillna("–")


def by_victim(table: pd.DataFrame) -> pd.DataFrame:
    """What every victim holds under the worst of those who know nothing of a defence.

    A row a defence alone, a column a victim: THR@50 and, in brackets, NDCG@50 and the change of RMSE
    where it predicts stars; ``table`` as from :func:`measured`.
    """
    held = ["oblivious", "ndcg", "rmse_change"]
    here = table[(table["kind"] != CHAIN) & table["metric"].isin(held)]
    index = ["dataset", "regime", "target_set", "defense", "victim"]
    means = here.set_index([*index, "metric"])["mean"].unstack(sort=False).reindex(columns=held)
    stars = means["rmse_change"].map(", {:+.0%}".format, na_action="ignore").fillna("")
    text = means["oblivious"].map("{:.3f}".format) + means["ndcg"].map(" ({:.3f}".format)
    text += stars + ")"
    shown = text.unstack(sort=False, fill_value="–").rename_axis(columns=None)
    return pd.concat(own for _, own in shown.groupby(index[:3], sort=False))


def searched() -> pd.DataFrame:
    """What the search for the rivals' choices found (``results/search/robust.csv``).

    A row a regime and defence: how many settings were tried, how many of them lower THR@50 under the
    search's random fakes by a tenth of the undefended victim's at least, the lowest, and the undefended
    victim's.
    """
    trials = tables.trials("robust")
    ratio, bare = "target_hit_ratio", "target_hit_ratio_reference"
    lower = trials[ratio] <= (1 - LOWER) * trials[bare]
    by = trials.assign(lower=lower).groupby(["regime", "defense"], sort=False)
    found = by.agg(
        **{
            "settings tried": (ratio, "size"),
            f"that lower THR@50 by {LOWER:.0%}": ("lower", "sum"),
            "lowest THR@50": (ratio, "min"),
            "undefended": (bare, "first"),
        }
    )
    return found.round(3)
