"""Which defence to choose: every rival, alone and before RVD, under the same attackers.

Attackers are those of :mod:`rvdlib.lab.study.adaptive`: oblivious ones, and ones that were searched
against a defence. None was searched against a defence in training: there, the worst attacker is the
worst of those who stand here, and a search might find a worse one.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, run_cells
from rvdlib.lab.experiment.hyperparameters import combinations, rival_defenses
from rvdlib.lab.experiment.oracles import ORACLES, Told, run_oracles
from rvdlib.lab.statistics import Interval, paired, summarise, t_interval
from rvdlib.lab.study import adaptive, effects, tables
from rvdlib.lab.study.adaptive import AGAINST, BOTH, SETTING, VICINITY
from rvdlib.lab.study.claims import Part, judge
from rvdlib.lab.study.effects import CLOSED_FORM, RVD, scenarios

GROWN = [UNDEFENDED, RVD, CLOSED_FORM, BOTH]
PAYING = [RVD, CLOSED_FORM, "closed form, hardened", BOTH, "least support", "blending"]
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
    dataset: str,
    victims: Mapping[str, Sequence[str]],
    target_sets: Mapping[str, Sequence[str]],
    attacks: Sequence[str],
    against: Sequence[str],
    trained: Collection[str],
    seeds: Sequence[int],
    n_users: int | None = None,
) -> list[tuple[Cell, str]]:
    """Each cell and what its attacker is called, as :func:`rvdlib.lab.study.adaptive.cells` has them.

    The vicinity attack, which is another one for each defence, is left to notebook 07.

    Args:
        victims: of each regime.
        trained: the defences before or in training; all others are always there.
    """
    forms = partial(rival_defenses, trained=trained)
    found = [
        each
        for regime, names in victims.items()
        for each in adaptive.cells(
            dataset,
            names,
            {regime: target_sets[regime]},
            attacks,
            against,
            seeds,
            n_users,
            forms,
        )
    ]
    return [(cell, attacker) for cell, attacker in found if attacker != VICINITY]


def told(cells: Sequence[tuple[Cell, str]]) -> list[tuple[Told, str]]:
    """The oracles of the same scenarios, each with what its attacker is called."""
    return [
        (Told(scenario=cell.scenario, oracle=oracle, n_users=cell.n_users), attacker)
        for cell, attacker in cells
        if not cell.chain
        for oracle in ORACLES
    ]


def run(cells: Sequence[tuple[Cell, str]]) -> pd.DataFrame:
    """Rows of these cells, and of the oracles of the same scenarios, with the ``attacker`` of each."""
    computed = [
        compute([item for item, _ in each]).assign(attacker=[name for _, name in each])
        for compute, each in ((run_cells, cells), (run_oracles, told(cells)))
    ]
    return pd.concat(computed, ignore_index=True)


def kind(regime: str, defense: str) -> str:
    """Whether a defence stands alone, is a chain of two, or is told who is fake."""
    if defense in ORACLES:
        return BOUND
    return CHAIN if defense in combinations(regime) else ALONE


def measured(rows: pd.DataFrame) -> pd.DataFrame:
    """What each defence holds under the worst of either kind of attacker, and what it costs.

    Returns:
        Columns regime, target_set, victim, defense, kind, worst, metric, mean, low, high, n; metrics
        are ``target_hit_ratio``, under the worst attacker of all, and those of :data:`SHOWN`.
        Accuracy is that without an attack; changes are relative to the undefended victim, paired.
    """
    knows = rows["attacker"].str.startswith(AGAINST) & (rows["attacker"] != AGAINST + UNDEFENDED)
    held = adaptive.held(rows)
    found = [held[held["metric"].isin(["target_hit_ratio", *SHOWN])]]
    for name, those in (("oblivious", ~knows), ("knowing", knows)):
        under = rows[those | (rows["attacker"] == "none")]
        if not (under["attacker"] != "none").any():
            continue
        each = adaptive.held(under)
        found.append(each[each["metric"] == "target_hit_ratio"].assign(metric=name))
    found.append(_of_stars(rows))
    table = pd.concat(found, ignore_index=True)
    kinds = [kind(*each) for each in zip(table["regime"], table["defense"], strict=True)]
    table.insert(4, "kind", kinds)
    worst = held.drop_duplicates([*SETTING, "defense"]).set_index([*SETTING, "defense"])["worst"]
    table["worst"] = worst.loc[pd.MultiIndex.from_frame(table[[*SETTING, "defense"]])].to_numpy()
    return table


def _of_stars(rows: pd.DataFrame) -> pd.DataFrame:
    """RMSE and its change where nobody attacks; the ranking regime's scores are no stars."""
    clean, found = rows[(rows["attacker"] == "none") & (rows["regime"] == "rating")], []
    for key, here in clean.groupby(SETTING, sort=False):
        bare = here[here["defense"] == UNDEFENDED]
        for name, own in here.groupby("defense", sort=False):
            change = paired(own, bare, "rmse", relative=True)
            found += [
                (*key, name, "rmse", *t_interval(own["rmse"])),
                (*key, name, "rmse_change", *t_interval(change)),
            ]
    return pd.DataFrame(found, columns=[*SETTING, "defense", "metric", *Interval._fields])


def shown(table: pd.DataFrame, kinds: Sequence[str] = (ALONE, BOUND)) -> pd.DataFrame:
    """:func:`measured` as a reader sees it."""
    here = table[table["kind"].isin(kinds) & table["metric"].isin(SHOWN)]
    order = {name: place for place, name in enumerate(SHOWN)}
    here = here.sort_values("metric", key=lambda names: names.map(order), kind="stable")
    wide = tables.wide(here, [*SETTING, "defense", "worst"], "metric")
    return wide.rename(columns=SHOWN).fillna("–")


def combined(rows: pd.DataFrame) -> list[tuple[tuple[str, str], Part]]:
    """What each chain removes of the attacks' lift beyond the better of its two parts, seed by seed.

    The better part is the one that removes more on average. Lifts are added up over all attackers.
    """
    known = rows[~rows["defense"].isin(ORACLES)]
    lifted = effects.with_lift(known.assign(attack=known["attacker"]))
    lifted = lifted[lifted["attack"] != "none"]
    found = []
    for key, here in lifted.groupby(SETTING, sort=False):
        removed = {name: effects.removed(own) for name, own in here.groupby("defense", sort=False)}
        for name, parts in combinations(key[0]).items():
            if name not in removed:
                continue
            better = max((removed[part] for part in parts), key=lambda each: each.fillna(0).mean())
            where = dict(zip(SETTING, key, strict=True)) | {"defense": name}
            found.append((parts, Part(where, {"": removed[name] - better})))
    return found


def gains(found: Sequence[tuple[tuple[str, str], Part]]) -> pd.DataFrame:
    """:func:`combined` as rows: setting, defense, first, then, mean, low, high, n."""
    return pd.DataFrame(
        {
            **part.where,
            "first": parts[0],
            "then": parts[1],
            **t_interval(part.values[""])._asdict(),
        }
        for parts, part in found
    )


def growth_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The share of the lift removed of :func:`grown`: a row a size, a column a defence."""
    here = table[table["metric"] == "lift_removed"]
    sizes = here["attack_size"].map("{:.0%}".format)
    index = ["regime", "target_set", "attack_size"]
    return tables.wide(here.assign(attack_size=sizes), index, "defense").rename_axis(columns=None)


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """THR@50 of :func:`grown` as :func:`rvdlib.lab.figures.breakdown_plots.growth` draws it."""
    here = table[table["metric"] == "target_hit_ratio"]
    return here.assign(label=here["defense"].replace(UNDEFENDED, "undefended"))


def gains_shown(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`gains` as a reader sees it: a row a first defence, a column a form of RVD."""
    return tables.wide(table, [*SETTING, "first"], "then").rename_axis(columns=None)


def growing_cells(
    dataset: str,
    victim: str,
    target_sets: Mapping[str, Sequence[str]],
    attacks: Sequence[str],
    attack_sizes: Sequence[float],
    seeds: Sequence[int],
    n_users: int | None = None,
) -> list[Cell]:
    """Each of :data:`GROWN` without an attack, and under each attack at each size."""
    found = []
    for regime, promoted in target_sets.items():
        forms = {UNDEFENDED: {}} | rival_defenses(regime, victim, dataset)
        of = dataset, [victim], [regime]
        under = scenarios(*of, ["none"], promoted, seeds)
        for size in attack_sizes:
            under += scenarios(*of, attacks, promoted, seeds, size)
        found += [
            Cell(scenario=each, defense=name, n_users=n_users, **forms[name])
            for each in under
            for name in GROWN
        ]
    return found


def grown(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50 and the share of the lift removed, by attack size; attacks averaged.

    Returns:
        Columns dataset, regime, target_set, defense, attack_size, metric, mean, low, high, n.
    """
    lifted = _without_lift_unattacked(rows)
    by = ["dataset", "regime", "target_set", "defense", "attack_size"]
    means = lifted.groupby([*by, "seed"], sort=False)["target_hit_ratio"].mean().reset_index()
    found = [summarise(means, by, ["target_hit_ratio"])]
    for key, here in lifted[lifted["defense"] != UNDEFENDED].groupby(by, sort=False):
        interval = t_interval(effects.removed(here))
        found.append(
            pd.DataFrame(
                [(*key, "lift_removed", *interval)], columns=[*by, "metric", *Interval._fields]
            )
        )
    return pd.concat(found, ignore_index=True)


def judged(grown_rows: pd.DataFrame, found: Sequence[tuple[tuple[str, str], Part]]) -> pd.DataFrame:
    """C5 of RVD by regime and attack size, and C11 of the chains that end with RVD."""
    lifted, parts = _without_lift_unattacked(grown_rows), []
    lifted = lifted[lifted["defense"] == RVD]
    for key, here in lifted.groupby([*SETTING, "attack_size"], sort=False):
        where = dict(zip(SETTING, key[:-1], strict=True)) | {"defense": RVD}
        parts.append(Part(where, {f"lift removed at {key[-1]:.0%} fakes": effects.removed(here)}))
    chains = [part for (_, then), part in found if then == RVD]
    return pd.concat([judge("C5", parts), judge("C11", chains)], ignore_index=True)


def _without_lift_unattacked(rows: pd.DataFrame) -> pd.DataFrame:
    lifted = effects.with_lift(rows)
    return lifted[lifted["attack"] != "none"]
