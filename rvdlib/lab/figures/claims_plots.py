"""The figure of the verdicts: every claim of the paper, what was measured, and what became of it."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.figures import style
from rvdlib.lab.figures.style import BLUE, COLUMN_WIDTH, GREY, ORANGE, RED
from rvdlib.lab.runner import ledger
from rvdlib.lab.runner.ledger import (
    COLUMNS,
    NOT,
    NOT_MEASURED,
    PARTLY,
    REPRODUCED,
    SIGNS,
    range_of,
)
from rvdlib.lab.runner.readme import PROFILES, measured

COLOURS = {REPRODUCED: BLUE, PARTLY: ORANGE, NOT: RED}
REACH = 0.9  # of half the strip, to the value that is furthest from the threshold


def verdicts(found: pd.DataFrame) -> Figure:
    """A line a claim: a mark and interval for each of its parts, the verdict, and the numbers.

    The line in the middle is the claim's threshold; to the right of it lies what is claimed. Each
    claim has a scale of its own, for each measures something else. A mark has the colour of its own
    part's verdict.

    Args:
        found: the ledger, as :func:`rvdlib.lab.runner.ledger.read` has it.
    """
    claims = ledger.claims()
    figure, axes = plt.subplots(figsize=(COLUMN_WIDTH, 0.8 + 0.38 * len(claims)))
    axes.axvline(0, color=GREY, linewidth=0.8)
    for place, (name, claim) in enumerate(claims.items()):
        here = found[found["id"] == name]
        verdict = here["overall"].iloc[0] if len(here) else NOT_MEASURED
        colour, said = COLOURS.get(verdict, GREY), verdict
        if verdict == PARTLY:
            said += f", {(here['verdict'] == REPRODUCED).sum()} of {len(here)}"
        here = here[here["value"].notna()]  # timings stand in tables of their own
        measured = ""
        if len(here):
            values, low, high = _towards_the_claim(here, claim)
            y = place + np.linspace(-0.24, 0.24, len(here)) * (len(here) > 1)
            reach = np.nan_to_num([values - low, high - values])
            for part, its in enumerate(here["verdict"].map(COLOURS).fillna(GREY)):
                axes.errorbar(
                    values[part],
                    y[part],
                    xerr=reach[:, [part]],
                    fmt="o",
                    color=its,
                    markersize=2,
                    elinewidth=0.8,
                )
            measured = f"{range_of(here['value'])}  ({SIGNS[claim.sense]} {claim.threshold:g})"
        right = {"x": 1.06, "ha": "left", "clip_on": False}
        up = 0.16 if measured else 0
        axes.text(y=place - up, s=said, color=colour, weight="bold", va="center", **right)
        axes.text(y=place + 0.22, s=measured, color=GREY, size="small", va="center", **right)
    labels = [textwrap.fill(f"{name}  {claim.claim}", 46) for name, claim in claims.items()]
    axes.set_yticks(range(len(claims)), labels, size="small")
    axes.set(xlim=(-1, 1), ylim=(len(claims) - 0.5, -0.5), xticks=[])
    axes.set_xticks([-0.5, 0.5], ["contrary", "as claimed"], size="small", color=GREY)
    axes.tick_params(axis="x", length=0, labeltop=True, labelbottom=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(axis="x", visible=False)
    return figure


def save_verdicts(profile: str) -> None:
    """``claims.png`` and ``claims.pdf`` among the figures of a profile.

    What the paper profile has not measured it takes from the quick one, as README's table does.
    """
    others = PROFILES[PROFILES.index(profile) :] if profile in PROFILES else (profile,)
    ledgers = {name: ledger.read(name) for name in others}
    found = pd.concat([measured(ledgers, claim)[1] for claim in ledger.claims()])
    style.set_style()
    style.save(verdicts(found.reindex(columns=COLUMNS)), profile, "claims")


def _towards_the_claim(here: pd.DataFrame, claim: ledger.Claim) -> list[np.ndarray]:
    """Value, low and high less the threshold, in half strips, positive for what the paper says."""
    sign = 1 if claim.sense in ("above", "at least") else -1
    ends = here[["value", "low", "high"]].to_numpy(dtype=float).T - claim.threshold
    furthest = np.nanmax(np.abs(ends)) or 1.0
    value, *bounds = REACH * sign * ends / furthest
    return [value, *np.sort(bounds, axis=0)]
