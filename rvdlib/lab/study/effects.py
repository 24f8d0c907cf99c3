"""What RVD does to an attack and to accuracy: which cells to run, and what to derive from them."""

import json
from collections.abc import Mapping, Sequence

import pandas as pd

from rvdlib import evaluation
from rvdlib.data import leave_one_out, load_dataset
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, Scenario
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.statistics import bootstrap_interval, summarise
from rvdlib.lab.study.tables import format_interval, wide
from rvdlib.models.reference import Popularity
from rvdlib.seeding import stream

# How hard each regime's victims are attacked: what overwhelms the one hardly moves the other.
ATTACK_SIZE = {"rating": 0.03, "ranking": 0.1}
METRICS = ["target_hit_ratio", "hit_ratio", "ndcg", "rmse"]
RVD, CLOSED_FORM = "RVD", "closed form"
SCENARIO = ["dataset", "victim", "regime", "attack", "attack_size", "target_set"]
KNOWLEDGE = ["attack_options", "visible_share", "filler_size", "crafted_for"]
IDENTITY = [*SCENARIO, *KNOWLEDGE, "defense", "choices", "seed", "evaluated_on", "n_users"]


def effect_cells(
    dataset: str,
    victims: Sequence[str],
    target_sets: Mapping[str, Sequence[str]],
    attacks: Sequence[str],
    seeds: Sequence[int],
    plain: bool = False,
) -> list[Cell]:
    """Each scenario undefended, under each chosen form of RVD and under its rivals, on every user.

    ``target_sets``: regime → what is promoted in it. ``plain`` takes the plain form in place of the
    compiled engine, which gives the same scores.
    """
    cells = []
    for regime, promoted in target_sets.items():
        for scenario in scenarios(dataset, victims, [regime], attacks, promoted, seeds):
            cells.append(Cell(scenario=scenario))
            for name, form in chosen_defenses(regime, scenario.victim, plain, dataset).items():
                cells.append(Cell(scenario=scenario, defense=name, **form))
    return cells


def same_attack_cells(
    dataset: str,
    victims: Sequence[str],
    attacks: Sequence[str],
    target_sets: Sequence[str],
    seeds: Sequence[int],
) -> list[Cell]:
    """The ranking regime's victims, undefended, under the rating regime's attack size.

    The two regimes are attacked with different sizes; only these cells differ in the loss alone.
    """
    return [
        Cell(scenario=scenario.model_copy(update={"regime": "ranking"}))
        for scenario in scenarios(dataset, victims, ["rating"], attacks, target_sets, seeds)
    ]


def popularity(dataset: str, seeds: Sequence[int]) -> pd.DataFrame:
    """What the most popular items alone reach on the same splits: hit_ratio and ndcg, a row a seed."""
    rows = []
    for seed in seeds:
        split = leave_one_out(load_dataset(dataset), stream(seed, "split"))
        measured = evaluation.evaluate(Popularity().fit(split.train), split, []).summary()
        rows.append({"seed": seed, "hit_ratio": measured["hit_ratio"], "ndcg": measured["ndcg"]})
    return pd.DataFrame(rows)


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


def with_lift(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what the attack and the defence did to the target hit ratio, seed by seed.

    ``lift``: above the same defence on the victim that nobody attacked. ``…_undefended``: what the
    undefended victim has under the same attack. ``lift_removed`` and
    ``reduction``: against that (:func:`rvdlib.evaluation.lift_removed`,
    :func:`rvdlib.evaluation.reduction`).

    Raises:
        ValueError: if a row's defence was not also run without attack, or its attack undefended.
    """
    same = ["dataset", "victim", "regime", "target_set", "seed"]
    clean = rows.loc[rows["attack"] == "none", [*same, "defense", "target_hit_ratio"]]
    rows = _joined(rows, clean, [*same, "defense"], "_clean")
    rows["lift"] = evaluation.lift(rows["target_hit_ratio"], rows["target_hit_ratio_clean"])
    same += ["attack", "attack_size"]
    bare = rows.loc[rows["defense"] == UNDEFENDED, [*same, *METRICS, "lift"]]
    rows = _joined(rows, bare, same, "_undefended")
    rows["lift_removed"] = evaluation.lift_removed(rows["lift"], rows["lift_undefended"])
    rows["reduction"] = evaluation.reduction(
        rows["target_hit_ratio"], rows["target_hit_ratio_undefended"]
    )
    return rows


def _joined(rows, partners, on: list[str], suffix: str) -> pd.DataFrame:
    found = rows.merge(partners, on=on, suffixes=("", suffix), validate="many_to_one")
    if len(found) < len(rows):
        raise ValueError(
            "the lift needs every defence under the attack 'none' too, and every attack undefended: "
            f"{len(rows) - len(found)} rows have no{suffix.replace('_', ' ')} partner"
        )
    return found


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds of every metric: one row a scenario, defence and metric."""
    measured = [*METRICS, "lift", "lift_removed", "reduction"]
    return summarise(rows, [*SCENARIO, "defense"], measured)


def robustness_table(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50 by attack, one column a defence, and the lift that each removes: means over victims.

    ``rows`` as from :func:`with_lift`.
    """
    index = ["regime", "target_set", "attack"]
    by = [*index, "defense"]
    measured = ["target_hit_ratio", "lift_removed"]
    means = rows.groupby([*by, "seed"], sort=False, as_index=False)[measured].mean()
    found = summarise(means, by, measured)
    removes = (found["metric"] == "lift_removed") & (found["defense"] != UNDEFENDED)
    parts = {
        "THR@50": wide(found[found["metric"] == "target_hit_ratio"], index, "defense"),
        "lift removed": wide(
            found[removes & (found["attack"] != "none")], index, "defense", decimals=2
        ),
    }
    return pd.concat(parts, axis=1).reindex(parts["THR@50"].index).fillna("")


def change(rows: pd.DataFrame) -> pd.DataFrame:
    """Each metric less the undefended victim's, attacks and target sets averaged: mean, interval.

    ``rows`` as from :func:`with_lift`.
    """
    by = ["regime", "victim", "defense"]
    means = _changed(rows).groupby([*by, "seed"], sort=False, as_index=False)[METRICS].mean()
    return summarise(means, by, METRICS)


def _changed(rows: pd.DataFrame) -> pd.DataFrame:
    """The defended rows, each metric less the undefended victim's."""
    rows = rows[rows["defense"] != UNDEFENDED]
    return rows.assign(**{m: rows[m] - rows[f"{m}_undefended"] for m in METRICS})


def headline(rows: pd.DataFrame) -> pd.DataFrame:
    """Robustness beside accuracy, a row a victim under each regime's attacks on each target set.

    Means over seeds and attacks: the target hit ratio under no defence and each form, then what
    each form changes in accuracy. ``rows`` as from :func:`with_lift`.
    """
    attacked, clean = rows[rows["attack"] != "none"], rows[rows["attack"] == "none"]
    by = ["regime", "target_set", "victim"]
    parts = [
        _means(
            clean[clean["defense"] == UNDEFENDED], by, "target_hit_ratio", "THR@50, not attacked"
        ),
        _means(attacked, by, "target_hit_ratio", "THR@50, {}"),
    ]
    changed = _changed(attacked)
    names = {"hit_ratio": "HR@50", "ndcg": "NDCG@50", "rmse": "RMSE"}
    for metric, name in names.items():
        parts.append(_means(changed, by, metric, f"{name} change, {{}}"))
    return pd.concat(parts, axis=1).round(3).reset_index()


def _means(rows: pd.DataFrame, by: list[str], column: str, title: str) -> pd.DataFrame:
    """Means by group, one column a defence, in the order of the rows."""
    means = rows.groupby([*by, "defense"], sort=False)[column].mean().unstack(sort=False)
    return means.rename(columns=lambda defense: title.format(defense))


def mean_over(rows: pd.DataFrame, column: str, **where: object) -> str:
    """``0.123 [0.110, 0.140]``: mean and interval over seeds, cells of a seed averaged first."""
    for name, value in where.items():
        rows = rows[rows[name].isin(value if isinstance(value, list) else [value])]
    interval = bootstrap_interval(rows.groupby("seed")[column].mean().to_numpy())
    return format_interval(*interval[:3])


def cell_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Evaluated cells as a csv holds them, the same whatever order they came in: each cell once."""
    rows = rows.assign(
        **{name: rows[name].map(json.dumps) for name in ("attack_options", "choices")}
    )
    return rows.drop_duplicates(IDENTITY).sort_values(IDENTITY, kind="stable")
