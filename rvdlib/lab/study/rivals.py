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

from rvdlib import metrics
from rvdlib.lab.errors import StudyError
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, run_cells
from rvdlib.lab.experiment.hyperparameters import combinations, rival_defenses
from rvdlib.lab.experiment.oracles import ORACLES, Told, run_oracles
from rvdlib.lab.experiment.seeded_oracle import PROPAGATED, ToldSome, run_seeded
from rvdlib.lab.runner.ledger import FEWEST
from rvdlib.lab.statistics import Interval, relative_change, summarise, t_interval
from rvdlib.lab.study import adaptive, effects, tables
from rvdlib.lab.study.adaptive import AGAINST, BOTH, HARDENED, VICINITY
from rvdlib.lab.study.claims import Part, judge
from rvdlib.lab.study.effects import CLOSED_FORM, RVD, crossed, scenarios

SETTING = ["dataset", *adaptive.SETTING]
HELD = [*SETTING, "defense", "kind", "worst"]  # what :func:`measured` tells apart
ACCURACY = ["hit_ratio", "ndcg", "rmse"]
TOLD = [*ORACLES, PROPAGATED]
GROWN = [UNDEFENDED, RVD, CLOSED_FORM, BOTH]
PAYING = [RVD, CLOSED_FORM, HARDENED, BOTH, "least support", "blending"]
ALONE, CHAIN, BOUND = "alone", "combination", "told who is fake"
SHOWN = {
    "oblivious": "THR@50, worst oblivious attacker",
    "knowing": "THR@50, worst searched attacker",
    "lift_removed": "lift removed",
    "hit_ratio": "HR@50",
    "ndcg": "NDCG@50",
    "ndcg_change": "NDCG@50, change",
    "rmse": "RMSE",
    "rmse_change": "RMSE, change",
}  # metrics of :func:`measured`, as shown


def cells(
    datasets: Mapping[str, Mapping], target_sets: Mapping[str, str], focus: str
) -> list[tuple[Cell, str]]:
    """Each cell and what its attacker is called, as :func:`rvdlib.lab.study.adaptive.cells` has them.

    All defences of the victim in ``focus`` meet who was searched against one of ``against``, and each
    who was searched against it or its method. It alone is asked for combinations: of ``against`` they
    meet those of nobody, of RVD and of their second part; other victims, those of nobody. The vicinity
    attack, another one for each defence, is left to 07. ``datasets``: data set → what
    :class:`rvdlib.lab.study.parameter_types.Compared` holds.

    Raises:
        StudyError: if the victim in focus is not one of every data set's.
    """
    found = []
    for dataset, part in datasets.items():
        taken = {name: part[name] for name in ("trained", "chained", "against")}
        chained = partial(rival_defenses, **taken)
        alone = partial(chained, chained=())
        sample = part["seeds"], part["n_users"]
        if not all(focus in victims for victims in part["victims"].values()):
            raise StudyError(f"{dataset}: {focus}, which is in focus, should be one of the victims")
        asked = [(regime, each) for regime, those in part["victims"].items() for each in those]
        for regime, victim in asked:
            promoted = {regime: [target_sets[regime]]}
            ask = partial(adaptive.cells, dataset, [victim], promoted, part["attacks"])
            if victim != focus:
                nobodys = [each for each in part["against"] if each == UNDEFENDED]
                found += ask(nobodys, *sample, alone)
                continue
            found += ask(part["against"], *sample, alone, own=True)
            for then in dict.fromkeys(then for _, then in combinations(regime).values()):
                knows = [each for each in part["against"] if each in (UNDEFENDED, RVD, then)]
                names = {name for name, parts in combinations(regime).items() if parts[1] == then}
                found += [met for met in ask(knows, *sample, chained) if met[0].defense in names]
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


def attackers(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`rvdlib.lab.study.adaptive.attackers`, by data set too."""
    return adaptive.attackers(rows, SETTING)


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
    """What every victim holds under the worst of those who know nothing of a defence, whom all meet.

    A row a defence, a column a victim: THR@50 and, in brackets, NDCG@50; ``table`` as from
    :func:`measured`.
    """
    here = table[(table["kind"] != CHAIN) & table["metric"].isin(["oblivious", "ndcg"])]
    index = ["dataset", "regime", "target_set", "defense", "victim"]
    means = here.set_index([*index, "metric"])["mean"].unstack(sort=False)
    text = means["oblivious"].map("{:.3f}".format) + means["ndcg"].map(" ({:.3f})".format)
    return text.unstack(sort=False, fill_value="–").rename_axis(columns=None)


def combined(rows: pd.DataFrame) -> list[tuple[tuple[str, str], Part]]:
    """What each chain removes of the attacks' lift beyond the better of its two parts, seed by seed.

    The better part is the one that removes more on average. Lifts are added up over the attacks that
    the chain and both its parts meet, each once, whatever its attackers are called.
    """
    known = rows[~rows["defense"].isin(TOLD)]
    which = known["attack"].where(known["attack"] == "none", adaptive.known(known))
    known = known.assign(attack=which).drop_duplicates([*SETTING, "defense", "attack", "seed"])
    found = []
    for key, here in _attacked(known).groupby(SETTING, sort=False):
        for name, parts in combinations(key[1]).items():
            own = here[here["defense"].isin([name, *parts])]
            own = own[own.groupby("attack")["defense"].transform("nunique") == 3]
            if own.empty:
                continue
            removed = {each: effects.removed(rows) for each, rows in own.groupby("defense")}
            better = max((removed[part] for part in parts), key=lambda each: each.fillna(0).mean())
            where = dict(zip(SETTING, key, strict=True)) | {"defense": name}
            found.append((parts, Part(where, {"": removed[name] - better})))
    return found


def gains(found: Sequence[tuple[tuple[str, str], Part]]) -> pd.DataFrame:
    """:func:`combined` as rows: setting, defense, first, then, mean, low, high, n."""
    columns = [*SETTING, "defense", "first", "then", *Interval._fields]
    rows = [(*part.where.values(), *parts, *t_interval(part.values[""])) for parts, part in found]
    return pd.DataFrame(rows, columns=columns)


def growth_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The share of the lift removed of :func:`grown`: a row a size, a column a defence."""
    here = table[table["metric"] == "lift_removed"]
    sizes = here["attack_size"].map("{:.0%}".format)
    index = ["dataset", "regime", "target_set", "attack_size"]
    return tables.wide(here.assign(attack_size=sizes), index, "defense").rename_axis(columns=None)


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """THR@50 of :func:`grown` as :func:`rvdlib.lab.figures.breakdown_plots.growth` draws it."""
    here = table[table["metric"] == "target_hit_ratio"]
    return here.assign(label=here["defense"].replace(UNDEFENDED, "undefended"))


def gains_shown(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`gains` as a reader sees it: a row a first defence, a column a form of RVD."""
    return tables.wide(table, [*SETTING, "first"], "then").rename_axis(columns=None)


def growing_cells(
    datasets: Mapping[str, Mapping],
    victim: str,
    target_sets: Mapping[str, str],
    attacks: Sequence[str],
    attack_sizes: Sequence[float],
) -> list[Cell]:
    """Each of :data:`GROWN` without an attack, and under each attack at each size."""
    found = []
    for dataset, part in datasets.items():
        for regime in part["victims"]:
            known = {UNDEFENDED: {}} | rival_defenses(regime, victim, dataset)
            forms = [(name, known[name]) for name in GROWN]
            of, rest = (dataset, [victim], [regime]), ([target_sets[regime]], part["seeds"])
            under = scenarios(*of, ["none"], *rest)
            for size in attack_sizes:
                under += scenarios(*of, attacks, *rest, size)
            found += crossed(under, forms, part["n_users"])
    return found


def grown(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50 and the share of the lift removed, by attack size; attacks averaged.

    Returns:
        Columns dataset, regime, target_set, defense, attack_size, metric, mean, low, high, n.
    """
    by = ["dataset", "regime", "target_set", "defense", "attack_size"]
    columns = ["target_hit_ratio", "lift", "lift_undefended"]
    means = _attacked(rows).groupby([*by, "seed"], sort=False)[columns].mean().reset_index()
    means["lift_removed"] = metrics.lift_removed(means["lift"], means["lift_undefended"])
    found = summarise(means, by, ["target_hit_ratio", "lift_removed"])
    trivial = (found["defense"] == UNDEFENDED) & (found["metric"] == "lift_removed")
    return found[~trivial].reset_index(drop=True)


def judged(grown_rows: pd.DataFrame, found: Sequence[tuple[tuple[str, str], Part]]) -> pd.DataFrame:
    """C5 of RVD by regime and attack size, and C11 of the chains that end with RVD."""
    lifted, parts = _attacked(grown_rows), []
    lifted = lifted[lifted["defense"] == RVD]
    for key, here in lifted.groupby([*SETTING, "attack_size"], sort=False):
        where = dict(zip(SETTING, key[:-1], strict=True)) | {"defense": RVD}
        removed = effects.removed(here)
        if removed.notna().sum() >= FEWEST:  # a seed without lift has no share of it
            parts.append(Part(where, {f"lift removed at {key[-1]:.0%} fakes": removed}))
    chains = [part for (_, then), part in found if then == RVD]
    return pd.concat([judge("C5", parts), judge("C11", chains)], ignore_index=True)


def _attacked(rows: pd.DataFrame) -> pd.DataFrame:
    lifted = effects.with_lift(rows)
    return lifted[lifted["attack"] != "none"]
