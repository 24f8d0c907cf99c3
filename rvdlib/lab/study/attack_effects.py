"""What the attacks do to victims that nobody defends: which cells to run, and what to read there."""

from collections.abc import Sequence

import pandas as pd

from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.cells import Cell, Scenario, carry_out, craftable
from rvdlib.lab.statistics import bootstrap_interval, summarise
from rvdlib.lab.study import effects
from rvdlib.lab.study.story import plane
from rvdlib.lab.study.tables import format_interval
from rvdlib.lab.study.verdicts import judge

OPTIMISING = [name for name in craftable()[1:] if ATTACKS[name].optimises]
KNOWING = [name for name in craftable()[1:] if ATTACKS[name].knows_defense]
HEURISTIC = [name for name in craftable()[1:] if name not in (*OPTIMISING, *KNOWING)]
SETTING = ["regime", "target_set"]
FEW = 0.1  # C7, C8: fewer than one of the ten nearest is fake


def recipes() -> str:
    """What each attack does, as it says itself: a heading and a table in Markdown."""
    rows = [f"| {ATTACKS[name].label} | {ATTACKS[name].summary} |" for name in craftable()[1:]]
    return "\n".join(["## Recipes", "", "| attack | its recipe |", "|---|---|", *rows])


def scenarios(
    dataset: str,
    victims: Sequence[str],
    regimes: Sequence[str],
    target_sets: Sequence[str],
    attack_size: float,
    seeds: Sequence[int],
) -> list[Scenario]:
    """Every attack, and none, on every victim in every setting."""
    return effects.scenarios(
        dataset, victims, regimes, craftable(), target_sets, seeds, attack_size=attack_size
    )


def cells(scenarios: Sequence[Scenario]) -> list[Cell]:
    """All of them undefended, on every user."""
    return [Cell(scenario=scenario) for scenario in scenarios]


def latent_maps(scenarios: Sequence[Scenario], attacks: Sequence[str]) -> pd.DataFrame:
    """Everybody on a plane (:func:`rvdlib.lab.study.story.plane`), for each victim and attack.

    Of the first scenario that has both, named in the columns ``victim`` and ``attack``.
    """
    found = {}
    for scenario in scenarios:
        key = scenario.victim, scenario.attack
        if scenario.attack in attacks and key not in found:
            attacked = carry_out(scenario)
            found[key] = plane(attacked.victim, attacked.split.train.shape[0])
    return pd.concat(found, names=["victim", "attack"]).reset_index(["victim", "attack"])


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and interval over seeds: a row a setting, victim, attack, its control and metric."""
    measured = ["target_hit_ratio", "hit_ratio", "fake_neighbor_share", "fakes_near_fakes"]
    return summarise(rows, [*SETTING, "victim", "attack", "crafted_for"], measured)


def against_heuristics(rows: pd.DataFrame) -> pd.DataFrame:
    """THR of each optimising attack less that of the best heuristic, paired over seeds.

    The best is that of the highest mean over these very seeds, which favours the heuristics.

    Returns:
        Columns of the setting, victim, heuristic (its name and mean), then one an attack.
    """
    found = []
    for key, here in rows.groupby([*SETTING, "victim"], sort=False):
        by_attack = here.pivot(index="seed", columns="attack", values="target_hit_ratio")
        best = by_attack[HEURISTIC].mean().idxmax()
        shown = {"best heuristic": f"{best}, {by_attack[best].mean():.3f}"}
        for attack in OPTIMISING:
            difference = bootstrap_interval(by_attack[attack] - by_attack[best])
            shown[attack] = format_interval(*difference[:3])
        found.append(dict(zip([*SETTING, "victim"], key, strict=True)) | shown)
    return pd.DataFrame(found).set_index([*SETTING, "victim"])


def latent_claims(rows: pd.DataFrame) -> pd.DataFrame:
    """C7 and C8 by regime and victim, over attacks and target sets.

    A claim is *reproduced* where the whole interval of every attack keeps to its side of the
    threshold, *not reproduced* where none does, and *partly* otherwise; the attack that is
    furthest on the other side is named.
    """
    attacked = rows[rows["attack"] != "none"]
    claims = {
        "C7": ("fakes_near_fakes", f"less than {FEW:.0%} near fakes are fakes"),
        "C8": ("fake_neighbor_share", f"less than {FEW:.0%} near real users are fakes"),
    }
    found = []
    for claim, (column, what) in claims.items():
        for key, here in attacked.groupby(["regime", "victim"], sort=False):
            by_seed = here.groupby(["attack", "seed"], sort=False)[column].mean()
            intervals = {
                attack: bootstrap_interval(values)
                for attack, values in by_seed.groupby("attack", sort=False)
            }
            verdicts = {
                judge(i._replace(mean=-i.mean, low=-i.high, high=-i.low), -FEW)
                for i in intervals.values()
            }
            verdict = verdicts.pop() if len(verdicts) == 1 else "partly"
            worst = max(intervals, key=lambda attack: intervals[attack].mean)
            overall = bootstrap_interval(here.groupby("seed")[column].mean())
            shown = (
                f"{format_interval(*overall[:3])}; most, {worst}, "
                f"{format_interval(*intervals[worst][:3])}"
            )
            found.append((claim, what, *key, shown, verdict))
    return pd.DataFrame(found, columns=["claim", "what", "regime", "victim", "measured", "verdict"])


def reading(rows: pd.DataFrame) -> list[str]:
    """What the figure says, in sentences."""
    sentences = []
    for (regime, target_set), here in rows.groupby(SETTING, sort=False):
        by_attack = here.pivot_table(
            index="seed", columns="attack", values="target_hit_ratio", aggfunc="mean"
        )
        shown = {
            name: format_interval(*bootstrap_interval(by_attack[name])[:3]) for name in by_attack
        }
        attacks = [name for name in by_attack if name != "none"]
        strongest = by_attack[attacks].mean().idxmax()
        best = by_attack[HEURISTIC].mean().idxmax()
        above = [
            name
            for name in OPTIMISING
            if bootstrap_interval(by_attack[name] - by_attack[best]).low > 0
        ]
        sentences.append(
            f"**{regime.capitalize()} regime, {target_set} targets.** Means over victims: THR@50 is "
            f"{shown['none']} when not attacked. Most is reached by {strongest}, {shown[strongest]}; of "
            f"the heuristics by {best}, {shown[best]}. Above it in every resample: "
            f"{', '.join(above) or 'none'}."
        )
    return sentences
