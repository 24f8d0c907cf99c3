"""One dial of the paper's RVD turned at a time: which cells, and what the claims say of them."""

from collections.abc import Sequence

import pandas as pd

from rvdlib.lab.experiment.cells import Cell
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.statistics import bootstrap_interval, summarise
from rvdlib.lab.study.effects import METRICS, RVD, scenarios
from rvdlib.lab.study.tables import format_interval
from rvdlib.lab.study.verdicts import ABOVE_ZERO, judge

LABEL = "sweep of "


def sweep_cells(
    dataset: str,
    victims: Sequence[str],
    settings: dict[str, dict[str, str]],
    seeds: Sequence[int],
    n_users: int | None,
    dials: dict[str, Sequence[float]],
    compared_weights: Sequence[float],
    plain: bool = False,
) -> list[Cell]:
    """Every value of every dial, the others as chosen for the paper's form.

    Args:
        settings: regime → the ``attack`` and ``target_set`` that its victims are under.
        n_users: size of the sample of users that is evaluated; None: every user.
        dials: choice of :class:`rvdlib.defenses.RVD` → its values.
        compared_weights: unobserved weights at which the other dials are turned.
        plain: take the plain form in place of the compiled engine, which gives the same scores.
    """
    cells = []
    for regime, under in settings.items():
        attacked = [under["attack"]], [under["target_set"]]
        for scenario in scenarios(dataset, victims, [regime], *attacked, seeds):
            paper = chosen_defenses(regime, scenario.victim, plain)[RVD]
            for dial, values in dials.items():
                own = dial == "unobserved_weight"
                for weight in [0.0] if own else compared_weights:
                    fixed = paper["choices"] | {"unobserved_weight": weight}
                    cells += [
                        Cell(
                            scenario=scenario,
                            defense=LABEL + dial,
                            method=paper["method"],
                            choices=fixed | {dial: value},
                            n_users=n_users,
                        )
                        for value in values
                    ]
    return cells


def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """Add which dial a row turns (``swept``), its ``value``, and the weight ω it is turned at."""
    dials = rows["defense"].str.removeprefix(LABEL)
    choices = list(zip(rows["choices"], dials, strict=True))
    return rows.assign(
        swept=dials,
        value=[float(chosen[dial]) for chosen, dial in choices],
        unobserved_weight=[
            0.0 if dial == "unobserved_weight" else chosen["unobserved_weight"]
            for chosen, dial in choices
        ],
    )


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds: a row per regime, victim, dial, value, weight and metric."""
    by = ["regime", "victim", "attack", "swept", "unobserved_weight", "value"]
    return summarise(labelled(rows), by, METRICS)


def ends(summary: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Each dial's two ends: the mean of each metric at its least and at its most."""
    by = ["regime", "victim", "swept", "unobserved_weight"]
    found = []
    for key, group in summary.groupby(by, sort=False):
        values = group.pivot(index="value", columns="metric", values="mean").sort_index()
        first, last = values.index[[0, -1]]
        shown = {m: f"{values.loc[first, m]:.3g} → {values.loc[last, m]:.3g}" for m in metrics}
        lowest = values["target_hit_ratio"].idxmin()
        found.append((*key, f"{first:g} → {last:g}", f"{lowest:g}", *shown.values()))
    return pd.DataFrame(found, columns=[*by, "from → to", "lowest THR at", *metrics])


def claims(rows: pd.DataFrame) -> pd.DataFrame:
    """C12 to C14 about the paper's loss (ω = 0), by regime and victim.

    A *best k* (C12) lies inside the range: in every seed (reproduced), for the mean (partly), or
    not. Depth (C13) should lower the THR from 0 steps to the most; one neighbour (C14), below the
    undefended, which is that of 0 steps: differences paired over seeds, judged as in
    :func:`rvdlib.lab.study.verdicts.judge`.

    Raises:
        ValueError: if k was not swept from 1, or steps from 0.
    """
    rows = labelled(rows)
    paper = rows[(rows["unobserved_weight"] == 0) & rows["swept"].isin(["k", "steps"])]
    found = []
    for (regime, victim), group in paper.groupby(["regime", "victim"], sort=False):
        by_dial = {
            dial: part.pivot(index="seed", columns="value", values="target_hit_ratio")
            for dial, part in group.groupby("swept")
        }
        by_k, by_steps = by_dial["k"], by_dial["steps"]
        if (by_k.columns[0], by_steps.columns[0]) != (1, 0):
            raise ValueError(
                "the claims compare k = 1 with 0 steps (undefended): sweep k from 1 and steps from 0, "
                f"not from {by_k.columns[0]:g} and {by_steps.columns[0]:g}"
            )
        best, bests = by_k.mean().idxmin(), by_k.idxmin(axis=1)
        ends = by_k.columns[[0, -1]]
        verdict = "not reproduced" if best in ends else "partly"
        if not bests.isin(ends).any():
            verdict = "reproduced"
        lowest = f"THR lowest, {by_k.mean().min():.3f}, at k = {best:g}"
        found.append(("C12", regime, victim, lowest, verdict))
        undefended, most = by_steps.iloc[:, 0], by_steps.columns[-1]
        for claim, what, defended in (
            ("C13", f"{most:g} steps", by_steps.iloc[:, -1]),
            ("C14", "k = 1", by_k.iloc[:, 0]),
        ):
            fall = bootstrap_interval((undefended - defended).to_numpy())
            measured = (
                f"THR falls by {format_interval(*fall[:3])} from {undefended.mean():.3f}, {what}"
            )
            found.append((claim, regime, victim, measured, judge(fall, ABOVE_ZERO)))
    table = pd.DataFrame(found, columns=["claim", "regime", "victim", "measured", "verdict"])
    return table.sort_values("claim", kind="stable", ignore_index=True)
