"""The figure of the verdicts: every claim of the paper, and how many tests show it or its contrary."""

import textwrap

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from rvdlib.lab.experiment.hyperparameters import REGIMES
from rvdlib.lab.figures import style
from rvdlib.lab.figures.style import BLUE, COLUMN_WIDTH, GREY, RED, SKY
from rvdlib.lab.profiles import COMMITTED
from rvdlib.lab.runner import ledger
from rvdlib.lab.runner.ledger import (
    COLUMNS,
    FAILS,
    HOLDS,
    MIXED,
    NOT,
    NOT_MEASURED,
    PARTLY,
    REPRODUCED,
    UNDECIDED,
)
from rvdlib.lab.runner.verdicts import found

KINDS = {
    "show it": ({REPRODUCED}, BLUE),
    "undecided": ({UNDECIDED}, "#D9D9D9"),
    "show the contrary": ({NOT}, RED),
    "hold for our theorem": ({HOLDS}, SKY),
    "break it": ({FAILS}, "black"),
}
NARROW = 0.09  # of a bar: too narrow for its number
COLOURS = {REPRODUCED: BLUE, PARTLY: BLUE, MIXED: "black", NOT: RED, FAILS: "black"}


def bars(tests: pd.DataFrame) -> Figure:
    """A row a claim, a panel a regime: the share of its tests that show it, or its contrary.

    The numbers count tests, the verdict stands beside. What was measured for another method than the
    paper's is paler.

    Args:
        tests: of the ledger, as :func:`rvdlib.lab.runner.ledger.read` has it.
    """
    claims = ledger.claims()
    size = (COLUMN_WIDTH, 0.9 + 0.36 * len(claims))
    figure, panels = plt.subplots(1, len(REGIMES), figsize=size, sharey=True)
    for axes, regime in zip(panels, REGIMES, strict=True):
        known = dict(list(tests[tests["regime"] == regime].groupby("id")))
        for place, name in enumerate(claims):
            here = known.get(name)
            said = NOT_MEASURED if here is None else here["overall"].iloc[0]
            left, pale = 0.0, claims[name].measured_on is not None
            for kind, (verdicts, colour) in KINDS.items():
                count = 0 if here is None else here["verdict"].isin(verdicts).sum()
                if not count:
                    continue
                width, alpha = count / len(here), 0.45 if pale else 1
                look = {"color": colour, "alpha": alpha, "label": kind}
                bar = axes.barh(place, width, 0.62, left, **look)
                if width > NARROW:
                    ink = "white" if colour in (BLUE, RED, "black") and not pale else "black"
                    axes.bar_label(bar, [count], label_type="center", color=ink, size="small")
                left += width
            look = {"color": COLOURS.get(said, GREY), "size": "small", "va": "center"}
            axes.text(1.03, place, textwrap.fill(said, 13), **look)
        axes.set(xlim=(0, 1), xticks=[], title=style.REGIME_TITLES[regime])
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(axis="both", length=0)
        axes.grid(visible=False)
    labels = [textwrap.fill(f"{name}  {claim.claim}", 38) for name, claim in claims.items()]
    panels[0].set_yticks(range(len(claims)), labels, size="small")
    panels[0].set_ylim(len(claims) - 0.5, -0.5)
    figure.supxlabel("share of a claim's tests; numbers count them", size="small")
    style.shared_legend(figure, panels[0], fontsize="small")
    return figure


def save_verdicts(profile: str) -> None:
    """``claims.png`` and ``claims.pdf`` among the figures of a profile.

    What the paper profile has not measured it takes from the quick one, as README's table does.
    """
    others = COMMITTED[COMMITTED.index(profile) :] if profile in COMMITTED else (profile,)
    style.set_style()
    style.save(bars(found(others).reindex(columns=COLUMNS)), profile, "claims")
