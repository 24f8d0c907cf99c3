"""What the attacks do to victims that nobody defends: which cells to run, and what to read there."""

from collections.abc import Sequence

import pandas as pd

from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.cells import Cell, Scenario, craftable
from rvdlib.lab.runner.ledger import said_of
from rvdlib.lab.statistics import Interval, paired, summarise, t_interval
from rvdlib.lab.study import effects, tables
from rvdlib.lab.study.claims import PAPER_ATTACKS

# Not of 06: what is made against neighbours, and its forebear, are measured where somebody is served
# by neighbours (07; here, where nobody is, `vicinity` stands for them), and so is DP.
ELSEWHERE = (
    *("center", "shrunk_clone", "centroid", "popular_in_cluster"),
    *("light_hubs", "light_group"),
)
ELSEWHERE += ("power_user", "dp")
ATTACKED = [name for name in craftable()[1:] if name not in ELSEWHERE]
OPTIMISING = [name for name in ATTACKED if ATTACKS[name].optimises]
KNOWING = [name for name in ATTACKED if ATTACKS[name].knows_defense]
HEURISTIC = [name for name in ATTACKED if name not in (*OPTIMISING, *KNOWING)]
SETTING = ["regime", "target_set"]


def recipes() -> str:
    """What each attack does, as it says itself: a heading and a table in Markdown."""
    rows = [f"| {ATTACKS[name].label} | {ATTACKS[name].summary} |" for name in ATTACKED]
    return "\n".join(["## Recipes", "", "| attack | its recipe |", "|---|---|", *rows])


def scenarios(
    dataset: str,
    victims: Sequence[str],
    regimes: Sequence[str],
    target_sets: Sequence[str],
    attack_size: float,
    seeds: Sequence[int],
) -> list[Scenario]:
    """Every attack of :data:`ATTACKED`, and none, on every victim in every setting."""
    attacks = ["none", *ATTACKED]
    return effects.scenarios(
        dataset, victims, regimes, attacks, target_sets, seeds, attack_size=attack_size
    )


def cells(scenarios: Sequence[Scenario]) -> list[Cell]:
    """All of them undefended, on every user."""
    return [Cell(scenario=scenario) for scenario in scenarios]


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds: a row a setting, victim, attack, its control and metric."""
    measured = ["target_hit_ratio", "hit_ratio", "fake_neighbor_share", "fakes_near_fakes"]
    return summarise(rows, [*SETTING, "victim", "attack", "crafted_for"], measured)


def against_heuristics(
    rows: pd.DataFrame, by: Sequence[str] = (*SETTING, "victim")
) -> pd.DataFrame:
    """THR of each optimising attack less that of the best heuristic, paired over seeds.

    The best is that of the highest mean over these very seeds, which favours the heuristics.

    Returns:
        One row per group of ``by`` and attack: the best ``heuristic``, its ``heuristic_thr``, and
        mean, low, high, n of the difference.
    """
    found, by = [], [*by]
    for key, here in rows.groupby(by, sort=False):
        sides = dict(list(here.groupby("attack", sort=False)))
        thr = {name: sides[name]["target_hit_ratio"].mean() for name in HEURISTIC}
        best = max(thr, key=thr.get)
        for attack in OPTIMISING:
            difference = t_interval(paired(sides[attack], sides[best], "target_hit_ratio"))
            found.append((*key, best, thr[best], attack, *difference))
    columns = [*by, "heuristic", "heuristic_thr", "attack", *Interval._fields]
    return pd.DataFrame(found, columns=columns)


def answer(rows: pd.DataFrame, judged: pd.DataFrame) -> str:
    """The answer of 06: who lifts the targets most, who beats the heuristics, where fakes lie.

    Means over victims. ``judged``: C7 (:func:`rvdlib.lab.study.claims.of_fakes`).
    """
    most, beat = [], []
    optimised = dict(list(against_heuristics(rows, SETTING).groupby(SETTING)))
    for (regime, target_set), here in rows.groupby(SETTING, sort=False):
        thr = here.groupby("attack", sort=False)["target_hit_ratio"].mean()
        strongest, own = thr.drop("none").idxmax(), optimised[regime, target_set]
        best, above = own["heuristic"].iloc[0], own.loc[own["low"] > 0, "attack"]
        where = f"{regime} regime, {target_set} targets"
        most.append(
            f"{strongest} with {thr[strongest]:.3f} ({where}; {thr['none']:.3f} when not attacked"
            + (f", {thr[best]:.3f} by {best}, the best heuristic)" if best != strongest else ")")
        )
        beat += [f"{', '.join(above)} ({where})"] if len(above) else []
    papers = rows[rows["attack"].isin(PAPER_ATTACKS)]
    near, few = (
        {
            regime: tables.span(100 * here.groupby("attack")[column].mean(), "{:.1f}")
            for regime, here in papers.groupby("regime", sort=False)
        }
        for column in ("fakes_near_fakes", "fake_neighbor_share")
    )
    size = papers["attack_size"].mean()
    shares = "; ".join(
        f"in the {regime} regime {near[regime]} % of a fake's ten nearest are fake and {few[regime]} % of "
        f"a real user's"
        for regime in near
    )
    return tables.answer(
        f"The most THR@50 is reached by {', and by '.join(most)}.",
        f"Of the attacks that optimise, better than the best heuristic by a paired interval over seeds: "
        f"{', '.join(beat) or 'none'}.",
        f"By attack of the paper, {shares}; of all users {100 * size / (1 + size):.1f} % are "
        f"({said_of('C7', judged)}).",
    )
