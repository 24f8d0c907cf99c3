"""Which part of the paper's RVD does it: the data term, the regulariser, ω, or the neighbourhood.

Each part of the victim's loss is left out or replaced in turn, and so are the neighbours: by as many
users at random, and by none, which leaves the decay of the parameters alone. All other choices are
the same for each. Beside the target hit ratio and accuracy stands the mechanism: the length of the
targets' decoder rows, before and after.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from rvdlib.defenses import RVD
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, carry_out, sample_users
from rvdlib.lab.statistics import summarise
from rvdlib.lab.study.effects import as_set

WHOLE = "whole loss"
METRICS = ["target_hit_ratio", "rmse", "hit_ratio", "ndcg"]
NORM = "target_row_norm"
# Part → how a sentence has it.
ALONE = {
    UNDEFENDED: "undefended",
    WHOLE: "under the whole loss",
    "data term": "under its data term alone",
    "random users": "with random users in place of the nearest",
    "decay alone": "by the decay alone, without neighbours",
}


def parts(regime: str, unobserved_weight: float) -> dict[str, dict]:
    """Name → choices of :class:`rvdlib.defenses.RVD`, beside those that all share.

    ``unobserved_weight``: an ω above 0 that is not the victim's own. That is 0 in the rating regime,
    whose whole loss has no unobserved cells to leave out.
    """
    without = {} if regime == "rating" else {"ω = 0": {"unobserved_weight": 0.0}}
    return {
        WHOLE: {},
        "data term": {"regularizer": "none"},
        "L2 decoupled": {"regularizer": "decoupled"},
        "L2 by SGD": {"optimizer": "sgd"},
        **without,
        f"ω = {unobserved_weight:g}": {"unobserved_weight": unobserved_weight},
        "random users": {"neighbors": "random"},
        "decay alone": {"neighbors": "none"},
    }


def cells(
    dataset: str,
    victims: Sequence[str],
    settings: Mapping[str, Mapping],
    seeds: Sequence[int],
    n_users: int | None,
    choices: Mapping[str, float],
    unobserved_weight: float,
) -> list[Cell]:
    """Every victim, attacked, undefended and under each of :func:`parts`.

    ``choices``: ``k``, ``steps`` and ``learning_rate`` of all of them.
    """
    found = []
    for scenario in as_set(dataset, victims, settings, seeds):
        whose = {"scenario": scenario, "n_users": n_users}
        found.append(Cell(**whose))
        found += [
            Cell(**whose, defense=name, method="rvd", choices={**choices, **own})
            for name, own in parts(scenario.regime, unobserved_weight).items()
        ]
    return found


def row_norms(
    dataset: str,
    victims: Sequence[str],
    settings: Mapping[str, Mapping],
    seeds: Sequence[int],
    n_users: int,
    choices: Mapping[str, float],
    unobserved_weight: float,
) -> pd.DataFrame:
    """How long the targets' decoder rows are, trained and after fine-tuning for some users.

    Returns:
        A row a scenario and part (``none``: as trained), a mean over targets and ``n_users`` users:
        the scenario's columns, ``defense``, and ``target_row_norm``.
    """
    found = []
    for scenario in as_set(dataset, victims, settings, seeds):
        attacked = carry_out(scenario)
        victim = attacked.victim
        users = sample_users(attacked.split.train.shape[0], n_users, scenario.seed)

        def length(parameters, targets=attacked.targets):
            return float(np.linalg.norm(parameters["item_factors"].numpy()[targets], axis=1).mean())

        norms = {UNDEFENDED: length(victim.parameters)}
        for name, own in parts(scenario.regime, unobserved_weight).items():
            defense = RVD(victim, **{**choices, **own})
            rows = defense.vicinity(users)
            norms[name] = float(np.mean([length(defense.fine_tune(row)) for row in rows]))
        known = scenario.model_dump()
        found += [{**known, "defense": name, NORM: norm} for name, norm in norms.items()]
    return pd.DataFrame(found)


def summary(rows: pd.DataFrame, norms: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds: a row per regime, victim, attack, part and metric."""
    by = ["regime", "victim", "attack", "defense"]
    measured = [summarise(rows, by, METRICS), summarise(norms, by, [NORM])]
    return pd.concat(measured, ignore_index=True).rename(columns={"defense": "part"})


def table(summary: pd.DataFrame) -> pd.DataFrame:
    """Means: a row per regime, victim and attack, a column per part of the loss and metric."""
    shown = [*METRICS[:2], NORM]
    index = ["metric", "regime", "victim", "attack"]
    columns = list(dict.fromkeys(summary["part"]))
    means = summary.pivot(index=index, columns="part", values="mean")[columns]
    cases = summary[index[1:]].drop_duplicates().itertuples(index=False, name=None)
    order = [(metric, *case) for metric, case in product(shown, cases)]
    return means.loc[order].round(3).reset_index()


def reading(summary: pd.DataFrame) -> str:
    """THR@50 undefended, under the whole loss and under :data:`ALONE`, in Markdown; over attacks."""
    sentences, thr = [], summary[summary["metric"] == "target_hit_ratio"]
    for (regime, victim), here in thr.groupby(["regime", "victim"], sort=False):
        means = here.groupby("part")["mean"].mean()
        shown = [f"{means[part]:.3f} {how}" for part, how in ALONE.items()]
        sentences.append(f"- **{victim}, {regime} regime.** THR@50 is {', '.join(shown)}.")
    return "\n".join(sentences)
