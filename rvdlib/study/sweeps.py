"""One dial of RVD's plain form turned at a time: which cells, and what the claims say of them."""

from collections.abc import Sequence

import pandas as pd

from rvdlib.statistics import summarise
from rvdlib.study.cells import Cell
from rvdlib.study.effects import METRICS, PAPER, scenarios
from rvdlib.study.hyperparameters import chosen_defenses

LABEL = "sweep of "


def sweep_cells(
    dataset: str,
    victims: Sequence[str],
    attacks: dict[str, str],
    seeds: Sequence[int],
    n_users: int | None,
    dials: dict[str, Sequence[float]],
    compared_weights: Sequence[float],
) -> list[Cell]:
    """Every value of every dial, the others as chosen for the paper's form.

    Args:
        attacks: regime → the attack that its victims are under.
        n_users: size of the sample of users that is evaluated; None: every user.
        dials: choice of :class:`rvdlib.defenses.RVD` → its values.
        compared_weights: unobserved weights at which the other dials are turned.
    """
    cells = []
    for regime, attack in attacks.items():
        for scenario in scenarios(dataset, victims, [regime], [attack], seeds):
            base = chosen_defenses(regime, scenario.victim)[PAPER]["choices"]
            for dial, values in dials.items():
                own = dial == "unobserved_weight"
                for weight in [0.0] if own else compared_weights:
                    fixed = base | {"unobserved_weight": weight}
                    cells += [
                        Cell(
                            scenario=scenario,
                            defense=LABEL + dial,
                            method="rvd",
                            choices=fixed | {dial: value},
                            n_users=n_users,
                        )
                        for value in values
                    ]
    return cells


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds: a row per regime, victim, dial, value, weight and metric."""
    dials = rows["defense"].str.removeprefix(LABEL)
    choices = zip(rows["choices"], dials, strict=True)
    rows = rows.assign(
        swept=dials,
        value=[float(chosen[dial]) for chosen, dial in choices],
        unobserved_weight=[
            0.0 if dial == "unobserved_weight" else chosen["unobserved_weight"]
            for chosen, dial in zip(rows["choices"], dials, strict=True)
        ],
    )
    by = ["regime", "victim", "attack", "swept", "unobserved_weight", "value"]
    return summarise(rows, by, [*METRICS, "defense_ms_per_user"])


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


def claims(summary: pd.DataFrame) -> pd.DataFrame:
    """C12 to C14 about the paper's loss (ω = 0), by regime and victim, from means over seeds.

    A *best k* (C12) lies inside the range, not at its end. Depth (C13) is held to have made the
    victim more robust if the THR at the most steps is below the one at the fewest. One neighbour
    (C14) *works* if the THR is below the undefended, which is that of 0 steps.

    Raises:
        ValueError: if k was not swept from 1, or steps from 0.
    """
    paper = summary[summary["unobserved_weight"] == 0]
    found = []
    for (regime, victim), group in paper.groupby(["regime", "victim"], sort=False):
        ratios = group[group["metric"] == "target_hit_ratio"].set_index(["swept", "value"])["mean"]
        by_k, by_steps = ratios["k"].sort_index(), ratios["steps"].sort_index()
        if (by_k.index[0], by_steps.index[0]) != (1, 0):
            raise ValueError(
                "the claims compare k = 1 with 0 steps (undefended): sweep k from 1 and steps from 0, "
                f"not from {by_k.index[0]:g} and {by_steps.index[0]:g}"
            )
        best = by_k.idxmin()
        inside = by_k.index[0] < best < by_k.index[-1]
        fewer, more = by_steps.iloc[0], by_steps.iloc[-1]
        one = by_k.iloc[0]
        found += [
            ("C12", regime, victim, f"THR lowest, {by_k.min():.3f}, at k = {best:g}", inside),
            (
                "C13",
                regime,
                victim,
                f"THR {fewer:.3f} at 0 steps, {more:.3f} at {by_steps.index[-1]:g}",
                more < fewer,
            ),
            (
                "C14",
                regime,
                victim,
                f"THR {one:.3f} at k = 1, {fewer:.3f} undefended",
                one < fewer,
            ),
        ]
    table = pd.DataFrame(found, columns=["claim", "regime", "victim", "measured", "holds"])
    return table.sort_values("claim", kind="stable", ignore_index=True)
