"""The figure of the verdicts: every claim of the paper, and how many tests show it or its contrary."""

import textwrap

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.figures import style
from rvdlib.lab.figures.style import BLUE, COLUMN_WIDTH, GREY, RED
from rvdlib.lab.runner import ledger
from rvdlib.lab.runner.ledger import (
    COLUMNS,
    CONTRARY,
    FAILS,
    HOLDS,
    MIXED,
    NOT,
    NOT_MEASURED,
    PARTLY,
    REPRODUCED,
    SHOWN,
    UNDECIDED,
    VERDICTS,
)
from rvdlib.lab.runner.verdicts import PROFILES, measured

KINDS = {
    "show it": (SHOWN, BLUE),
    "undecided": ({UNDECIDED}, "#D9D9D9"),
    "show the contrary": (CONTRARY, RED),
}
NARROW = 0.05  # of a bar: too narrow for its number
COLOURS = {REPRODUCED: BLUE, HOLDS: BLUE, PARTLY: BLUE, MIXED: "black", NOT: RED, FAILS: RED}


def verdicts(found: pd.DataFrame) -> Figure:
    """A bar a claim, sorted by verdict: the share of its tests that show it, or its contrary.

    The numbers count tests. What was measured for another method than the paper's is paler.

    Args:
        found: the ledger, as :func:`rvdlib.lab.runner.ledger.read` has it.
    """
    claims, tests = ledger.claims(), dict(list(found.groupby("id")))
    said = {name: own["overall"].iloc[0] for name, own in tests.items()}
    said = dict.fromkeys(claims, NOT_MEASURED) | said
    order = sorted(claims, key=lambda name: VERDICTS.index(said[name]))
    figure, axes = plt.subplots(figsize=(COLUMN_WIDTH, 0.9 + 0.36 * len(claims)))
    for place, name in enumerate(order):
        left, here = 0.0, tests[name]["verdict"] if name in tests else []
        pale = claims[name].measured_on is not None
        for kind, colour in KINDS.values():
            count = sum(verdict in kind for verdict in here)
            if not count:
                continue
            width, look = count / len(here), {"va": "center", "size": "small"}
            axes.barh(place, width, left=left, color=colour, height=0.62, alpha=0.45 if pale else 1)
            if width < NARROW and left + width > 1 - 1e-9:
                axes.text(1.01, place, count, color=colour, **look)
            else:
                ink = "white" if colour in (BLUE, RED) and not pale else "black"
                axes.text(left + width / 2, place, count, color=ink, ha="center", **look)
            left += width
        look = {"color": COLOURS.get(said[name], GREY), "weight": "bold", "size": "small"}
        axes.text(1.07, place, textwrap.fill(said[name], 18), va="center", **look)
    labels = [textwrap.fill(f"{name}  {claims[name].claim}", 46) for name in order]
    axes.set_yticks(range(len(order)), labels, size="small")
    axes.set(
        xlim=(0, 1),
        ylim=(len(order) - 0.5, -0.5),
        xlabel="share of a claim's tests; numbers count them",
    )
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.spines[["left"]].set_visible(False)
    axes.tick_params(axis="both", length=0)
    axes.grid(visible=False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for _, colour in KINDS.values()]
    figure.legend(handles, KINDS, loc="outside upper center", ncols=3)
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
