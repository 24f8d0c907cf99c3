"""One dial of the paper's RVD turned at a time: which cells, and what they say."""

from collections.abc import Sequence

import pandas as pd

from rvdlib.lab.experiment.cells import Cell
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.statistics import summarise
from rvdlib.lab.study.effects import METRICS, RVD, scenarios

LABEL = "sweep of "


def sweep_cells(
    dataset: str,
    victims: Sequence[str],
    settings: dict[str, dict[str, str]],
    seeds: Sequence[int],
    n_users: int | None,
    dials: dict[str, Sequence[float]],
    plain: bool = False,
) -> list[Cell]:
    """Every value of every dial, the others as chosen for RVD and ω the victim's own.

    Args:
        settings: regime → the ``attack`` and ``target_set`` that its victims are under.
        n_users: size of the sample of users that is evaluated; None: every user.
        dials: choice of :class:`rvdlib.defenses.RVD` → its values.
        plain: take the plain form in place of the compiled engine, which gives the same scores.
    """
    cells = []
    for regime, under in settings.items():
        attacked = [under["attack"]], [under["target_set"]]
        for scenario in scenarios(dataset, victims, [regime], *attacked, seeds):
            paper = chosen_defenses(regime, scenario.victim, plain)[RVD]
            cells += [
                Cell(
                    scenario=scenario,
                    defense=LABEL + dial,
                    method=paper["method"],
                    choices=paper["choices"] | {dial: value},
                    n_users=n_users,
                )
                for dial, values in dials.items()
                for value in values
            ]
    return cells


def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """Add which dial a row turns (``swept``), and its ``value``."""
    dials = rows["defense"].str.removeprefix(LABEL)
    values = [float(choices[dial]) for choices, dial in zip(rows["choices"], dials, strict=True)]
    return rows.assign(swept=dials, value=values)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds: a row per regime, victim, dial, value and metric."""
    by = ["regime", "victim", "attack", "swept", "value"]
    return summarise(labelled(rows), by, METRICS)


def ends(summary: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Each dial's two ends: the mean of each metric at its least and at its most."""
    by = ["regime", "victim", "swept"]
    found = []
    for key, group in summary.groupby(by, sort=False):
        values = group.pivot(index="value", columns="metric", values="mean").sort_index()
        first, last = values.index[[0, -1]]
        shown = {m: f"{values.loc[first, m]:.3g} → {values.loc[last, m]:.3g}" for m in metrics}
        lowest = values["target_hit_ratio"].idxmin()
        found.append((*key, f"{first:g} → {last:g}", f"{lowest:g}", *shown.values()))
    return pd.DataFrame(found, columns=[*by, "from → to", "lowest THR at", *metrics])
