"""What RVD does to an attack and to accuracy: which cells to run, and what to derive from them.

What cells are made of is called the same in all modules here: ``target_sets``, regime → what is promoted
in it; ``settings``, regime → what its victims are under, ``attack`` (or ``attacks``) and ``target_set``;
``n_users``, the size of the sample of users that is evaluated, None for every user.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from rvdlib import metrics
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, Scenario
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.statistics import (
    Interval,
    hierarchical_interval,
    interval_of,
    paired_difference,
    summarise,
    t_interval,
)
from rvdlib.lab.study import tables

# How hard each regime's victims are attacked: what overwhelms the one hardly moves the other.
ATTACK_SIZE = {"rating": 0.03, "ranking": 0.1}
METRICS = ["target_hit_ratio", "hit_ratio", "ndcg", "rmse"]
RVD, CLOSED_FORM = "RVD", "closed form"
# The order of tables and figures; a defence that is not named here comes after these.
DEFENSES = [UNDEFENDED, RVD, CLOSED_FORM, "popularity", "least support", "unobserved weight"]
ROBUSTNESS = {
    "target_hit_ratio": "THR@50",
    "target_hit_ratio_nested": "THR@50 (over seeds, targets, users)",
    "lift_removed": "lift removed",
    "plain_reduction": "plain reduction",
    "known_targets": "targets left out",
}  # metrics of :func:`robustness`, as shown
KNOWN = 0.5  # a target that more users than this share are served without any attack
SCENARIO = ["dataset", "victim", "regime", "attack", "attack_size", "target_set"]
KNOWLEDGE = ["attack_options", "visible_share", "filler_size", "crafted_for"]
LISTED = ["attack_options", "choices", "target_hits", "target_users"]  # JSON in a csv
IDENTITY = [*SCENARIO, *KNOWLEDGE, "defense", "choices", "seed", "evaluated_on", "n_users"]


def effect_cells(
    dataset: str,
    victims: Sequence[str],
    target_sets: Mapping[str, Sequence[str]],
    attacks: Sequence[str],
    seeds: Sequence[int],
    n_users: int | None = None,
) -> list[Cell]:
    """Each scenario undefended, under each chosen form of RVD and under its rivals."""
    return [
        cell
        for regime, promoted in target_sets.items()
        for each in scenarios(dataset, victims, [regime], attacks, promoted, seeds)
        for forms in [{UNDEFENDED: {}} | chosen_defenses(regime, each.victim, dataset)]
        for cell in crossed([each], forms.items(), n_users)
    ]


def scenarios(
    dataset, victims, regimes, attacks, target_sets, seeds, attack_size=None, **known
) -> list[Scenario]:
    """Every combination, each regime attacked as hard as :data:`ATTACK_SIZE` says, unless said.

    ``known``: what the attacker knows besides, as :class:`Scenario` has it.
    """
    sizes = ATTACK_SIZE if attack_size is None else dict.fromkeys(regimes, attack_size)
    return [
        Scenario(
            dataset=dataset,
            victim=victim,
            regime=regime,
            attack=attack,
            seed=seed,
            target_set=target_set,
            attack_size=0.0 if attack == "none" else sizes[regime],
            **known,
        )
        for regime in regimes
        for target_set in target_sets
        for victim in victims
        for attack in attacks
        for seed in seeds
    ]


def crossed(
    scenarios: Sequence[Scenario], forms: Iterable[tuple[str, Mapping]], n_users: int | None
) -> list[Cell]:
    """Every scenario under each form of defence: what tables call it, and what a cell has of it."""
    forms = list(forms)
    return [
        Cell(scenario=scenario, defense=name, n_users=n_users, **form)
        for scenario in scenarios
        for name, form in forms
    ]


def as_set(dataset, victims, settings: Mapping[str, Mapping], seeds) -> list[Scenario]:
    """Every victim as its regime's setting says: under its ``attack``, or each of its ``attacks``."""
    return [
        scenario
        for regime, under in settings.items()
        for attacks in [under["attacks"] if "attacks" in under else [under["attack"]]]
        for scenario in scenarios(dataset, victims, [regime], attacks, [under["target_set"]], seeds)
    ]


def with_lift(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what the attack did to the target hit ratio, seed by seed.

    ``lift``: above the same defence on the victim that nobody attacked. ``lift_undefended`` and
    ``target_hit_ratio_undefended``: what the undefended victim has under the same attack.
    ``target_hit_ratio_clean``: what it has unattacked. Lifts leave out targets that more than
    half of the users are served without any attack; ``known_targets`` is their number.

    Raises:
        ValueError: if a row's defence was not also run without attack, or its attack undefended.
    """
    same = ["dataset", "victim", "regime", "target_set", "seed"]
    rows = rows.assign(_hits=[np.array(h) for h in rows["target_hits"]])
    rows["_hits"] = [
        np.divide(hits, users, out=np.full(len(hits), np.nan), where=np.array(users) > 0)
        for hits, users in zip(rows["_hits"], rows["target_users"], strict=True)
    ]
    clean = rows.loc[rows["attack"] == "none", [*same, "defense", "_hits", "target_hit_ratio"]]
    bare = clean[clean["defense"] == UNDEFENDED].drop(columns="defense")
    rows = _joined(rows, clean.drop(columns="target_hit_ratio"), [*same, "defense"], "_clean")
    rows = _joined(rows, bare.rename(columns={"_hits": "_known"}), same, "_clean")
    known = [ratios > KNOWN for ratios in rows["_known"]]
    rows["known_targets"] = [int(each.sum()) for each in known]
    gained = zip(rows["_hits"], rows["_hits_clean"], known, strict=True)
    rows["lift"] = [
        metrics.mean(metrics.lift(hits, before)[~each]) for hits, before, each in gained
    ]
    rows = rows.drop(columns=["_hits", "_hits_clean", "_known"])
    same += ["attack", "attack_size"]
    undefended = rows.loc[rows["defense"] == UNDEFENDED, [*same, "target_hit_ratio", "lift"]]
    return _joined(rows, undefended, same, "_undefended")


def _joined(rows, partners, on: list[str], suffix: str) -> pd.DataFrame:
    found = rows.merge(partners, on=on, suffixes=("", suffix), validate="many_to_one")
    if len(found) < len(rows):
        raise ValueError(
            "the lift needs every defence under the attack 'none' too, and every attack undefended: "
            f"{len(rows) - len(found)} rows have no{suffix.replace('_', ' ')} partner"
        )
    return found


def removed(rows: pd.DataFrame) -> pd.Series:
    """By seed, the share of the lift that is removed: lifts added up before they are compared.

    ``rows`` as from :func:`with_lift`; NaN where the undefended lift is below 0.01, on average.
    """
    means = rows.groupby("seed")[["lift", "lift_undefended"]].mean()
    found = metrics.lift_removed(means["lift"], means["lift_undefended"])
    return pd.Series(found, index=means.index)


def plain_reduction(rows: pd.DataFrame) -> pd.Series:
    """By seed, the paper's 1 − THR(defended)/THR(undefended).

    NaN unless the THR without attack is below a tenth of that under attack: else it would count as
    robust whoever buries items that users like.
    """
    names = ["target_hit_ratio", "target_hit_ratio_undefended", "target_hit_ratio_clean"]
    means = rows.groupby("seed")[names].mean()
    defended, undefended, clean = (means[name] for name in names)
    found = pd.Series(metrics.reduction(defended, undefended), index=means.index)
    return found.where(clean < undefended / 10)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds of every metric: one row a scenario, defence and metric."""
    measured = [*METRICS, "catalogue_share", "lift"]
    return summarise(rows, [*SCENARIO, "defense"], measured)


def robustness(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50 under each attack and defence, and what is removed of the lift; victims together.

    Returns:
        Columns regime, target_set, attack, defense, metric, mean, low, high, n. Metrics: the target
        hit ratio, once with the t-interval over seeds and once with the hierarchical one over
        seeds, targets and users; ``lift_removed`` and ``plain_reduction``, pooled, of what
        is both attacked and defended; and how many ``known_targets`` there were, in all of n cells.
    """
    by, found = ["regime", "target_set", "attack", "defense"], []
    for key, here in rows.groupby(by, sort=False):
        compared = "none" not in key[2:]  # neither unattacked nor undefended
        shares = here if compared else here.iloc[:0]
        measured = {
            "target_hit_ratio": interval_of(
                "target_hit_ratio", here.groupby("seed")["target_hit_ratio"].mean()
            ),
            "target_hit_ratio_nested": hierarchical_interval(here),
            "lift_removed": t_interval(removed(shares)),
            "plain_reduction": t_interval(plain_reduction(shares)),
            "known_targets": Interval(here["known_targets"].sum(), np.nan, np.nan, len(here)),
        }
        found += [(*key, metric, *interval) for metric, interval in measured.items()]
    return pd.DataFrame(found, columns=[*by, "metric", *Interval._fields])


def levels(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50 by setting, victim and ``system``: *not attacked*, then under attack each defence.

    Columns regime, target_set, victim, system, mean: over attacks and seeds.
    """
    bare = (rows["attack"] == "none") & (rows["defense"] == UNDEFENDED)
    shown = rows[bare | (rows["attack"] != "none")]
    system = shown["defense"].mask(shown["attack"] == "none", "not attacked")
    by = ["regime", "target_set", "victim", "system"]
    means = shown.assign(system=system).groupby(by, sort=False)["target_hit_ratio"].mean()
    return means.rename("mean").reset_index()


def changes(
    rows: pd.DataFrame, by: list[str], values: list[str], improvement: bool = False
) -> pd.DataFrame:
    """What each defence changes under attack, all else averaged: mean and paired interval.

    ``improvement``: positive for better, whichever way that is.
    """
    attacked = rows[rows["attack"] != "none"]
    how = {"column": "defense", "baseline": UNDEFENDED, "improvement": improvement}
    return paired_difference(attacked, by=by, values=values, **how)


def victims(rows: pd.DataFrame) -> pd.DataFrame:
    """The victims, neither attacked nor defended, as a reader sees them.

    Returns:
        A row a regime and victim: HR@50, NDCG@50 and RMSE with intervals over seeds, and by which
        simple recommender it is beaten on validation, on how many seeds.
    """
    by = ["regime", "victim"]
    clean = rows[(rows["attack"] == "none") & (rows["defense"] == UNDEFENDED)]
    clean = clean.drop_duplicates([*by, "seed"])
    table = tables.wide(summarise(clean, by, METRICS[1:]), by, "metric")
    beaten = {
        key: ", ".join(
            f"{name} on {n} of {len(names)} seeds"
            for name, n in names.value_counts().items()
            if name
        )
        for key, names in clean.groupby(by)["beaten_by"]
    }
    table = table.rename(columns=tables.METRICS)
    return table.assign(**{"beaten on validation by": [beaten[key] or "–" for key in table.index]})


def cell_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Evaluated cells as a csv holds them, the same whatever order they came in: each cell once."""
    rows = rows.assign(**{name: rows[name].map(json.dumps) for name in LISTED})
    return rows.drop_duplicates(IDENTITY).sort_values(IDENTITY, kind="stable")


def choices(cells: Sequence[Cell]) -> pd.DataFrame:
    """What was chosen for RVD in both forms: a row for each regime, victim and form, a column a choice."""
    chosen = {
        (cell.scenario.regime, cell.scenario.victim, cell.defense): cell.choices
        for cell in cells
        if cell.defense in (RVD, CLOSED_FORM)
    }
    index = pd.MultiIndex.from_tuples(chosen, names=["regime", "victim", "defense"])
    table = pd.DataFrame([*chosen.values()], index=index).astype(object)
    shown = table.map(lambda value: f"{value:g}" if isinstance(value, float) else value)
    return shown.where(table.notna(), "–")
