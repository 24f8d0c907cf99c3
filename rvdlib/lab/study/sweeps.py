"""One dial of the paper's RVD turned at a time: which cells, and what they say."""

from collections.abc import Sequence

import pandas as pd

from rvdlib.lab.experiment.cells import Cell
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.statistics import ACCURACY, summarise
from rvdlib.lab.study import claims, tables
from rvdlib.lab.study.effects import METRICS, RVD, as_set

# Dial → how its ends are named, and the claims about it.
DIALS = {
    "k": ("{:g} → {:g} neighbours", ["C12", "C14"]),
    "steps": ("{:g} → {:g} steps of fine-tuning", ["C13"]),
    "unobserved_weight": ("ω = {:g} → {:g}", []),
}


def sweep_cells(
    dataset: str,
    victims: Sequence[str],
    settings: dict[str, dict[str, str]],
    seeds: Sequence[int],
    n_users: int | None,
    dials: dict[str, Sequence[float]],
) -> list[tuple[Cell, str, float]]:
    """Every value of every dial, the others as chosen for RVD and ω the victim's own.

    Each cell stands with the dial that it turns, and its value; ``dials`` are choices of
    :class:`rvdlib.defenses.RVD` and their values.
    """
    cells = []
    for scenario in as_set(dataset, victims, settings, seeds):
        paper = chosen_defenses(scenario.regime, scenario.victim, dataset)[RVD]
        whose = {"scenario": scenario, "n_users": n_users, "defense": RVD}
        for dial, values in dials.items():
            for value in values:
                turned = paper | {"choices": paper["choices"] | {dial: value}}
                cells.append((Cell(**whose, **turned), dial, float(value)))
    return cells


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds: a row per regime, victim, dial, value and metric.

    ``rows``: of the cells, with the columns ``swept`` (the dial) and ``value``.
    """
    by = ["regime", "victim", "attack", "swept", "value"]
    return summarise(rows, by, METRICS)


def answer(summary: pd.DataFrame, judged: pd.DataFrame) -> str:
    """The answer of 04: what each dial does from end to end, means over victims.

    ``judged``: C12 to C14, as :func:`rvdlib.lab.study.claims.of_sweeps` has them.
    """
    verdicts = judged.groupby(["id", "regime"], sort=False)["overall"].first()
    sentences = []
    for dial, (named, about) in DIALS.items():
        turned, does = summary[summary["swept"] == dial], []
        for regime, here in turned.groupby("regime", sort=False):
            means = here.groupby(["value", "metric"])["mean"].mean().unstack()
            thr, metric = means["target_hit_ratio"], ACCURACY[regime]
            accuracy, name = means[metric], claims.ACCURACY[regime][metric]
            known = [claim for claim in about if (claim, regime) in verdicts]
            found = ", ".join(f"{claim}: {verdicts[claim, regime]}" for claim in known)
            does.append(
                f"THR@50 goes {thr.iloc[0]:.3f} → {thr.iloc[-1]:.3f} (least at {thr.idxmin():g}) and {name} "
                f"{accuracy.iloc[0]:.3f} → {accuracy.iloc[-1]:.3f} in the {regime} regime"
                + (found and f" ({found})")
            )
        ends = named.format(turned["value"].min(), turned["value"].max())
        sentences.append(f"With {ends}, {', '.join(does)}.")
    return tables.answer(*sentences)
