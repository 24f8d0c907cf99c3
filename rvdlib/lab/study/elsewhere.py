"""The attackers and defences of 07 elsewhere: other victims, other data sets.

Attackers were searched with MF on ML-100K. The closed form and the quorum are as they were chosen for
the victim itself, where they were; every defence meets every attacker, who is told its choices.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, run_cells
from rvdlib.lab.experiment.hyperparameters import attacked_defenses
from rvdlib.lab.statistics import Interval
from rvdlib.lab.study import adaptive, tables

TIDY = ["metric", *Interval._fields]
SHOWN = {"lowered": "THR@50, lower by", "hit_ratio_change": "HR@50, change"}
COMPARED = [
    adaptive.SOLVED,
    adaptive.HARDENED,
    adaptive.QUORUM,
    adaptive.UNLIMITED,
    adaptive.BOTH,
]


def cells(elsewhere: Sequence[Mapping], attacks: Sequence[str]) -> list[tuple[Cell, str]]:
    """Each cell and what its attacker is called, as :func:`rvdlib.lab.study.adaptive.cells`.

    Args:
        elsewhere: of each its ``dataset``, ``victims``, ``target_sets``, ``seeds``, ``n_users``, and
            ``against``, the searched attackers by whom they were searched against. These defences are
            asked, and popularity.
        attacks: that are told nothing of the defence; ``none`` among them.
    """
    return [
        each
        for at in elsewhere
        for each in adaptive.cells(
            at["dataset"],
            at["victims"],
            at["target_sets"],
            attacks,
            at["against"],
            at["seeds"],
            at["n_users"],
            partial(_faced, against=at["against"]),
        )
    ]


def _faced(regime: str, victim: str, dataset: str, against: Sequence[str]) -> dict[str, dict]:
    forms = attacked_defenses(regime, victim, dataset, against, own=True)
    return {name: form for name, form in forms.items() if name in (*against, "popularity")}


def measured(elsewhere: Sequence[Mapping], attacks: Sequence[str]) -> pd.DataFrame:
    """:func:`held` of :func:`cells`; with nowhere to be, no rows."""
    if not elsewhere:
        return pd.DataFrame(columns=["dataset", *adaptive.SETTING, "defense", "worst", *TIDY])
    asked, attackers = zip(*cells(elsewhere, attacks), strict=True)
    return held(run_cells(asked).assign(attacker=attackers))


def held(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`rvdlib.lab.study.adaptive.held` of each data set, with a column ``dataset`` before."""
    parts = rows.groupby("dataset", sort=False)
    found = {name: adaptive.held(here) for name, here in parts}
    return pd.concat(found, names=["dataset"]).reset_index("dataset").reset_index(drop=True)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """What a reader sees of :func:`held`: a row a setting and defence, a column a victim and metric."""
    here = table[table["metric"].isin(SHOWN) & (table["defense"] != UNDEFENDED)]
    across = here["victim"] + ", " + here["metric"].map(SHOWN)
    return tables.wide(
        here.assign(across=across), ["dataset", "regime", "target_set", "defense"], "across"
    )


def sentence(table: pd.DataFrame) -> str:
    """In how many cases (victim and target set) some defences are shown to lower THR@50, and to raise
    it; of no rows, nothing."""
    lowered = table[(table["metric"] == "lowered") & table["defense"].isin(COMPARED)]
    said = []
    for (dataset, regime), here in lowered.groupby(["dataset", "regime"], sort=False):
        each = [
            f"*{name}* {(own['low'] > 0).sum()} and {(own['high'] < 0).sum()} of {len(own)}"
            for name, own in here.groupby("defense", sort=False)
        ]
        victims, seeds = ", ".join(here["victim"].unique()), here["n"].max()
        of = f"{victims}; {seeds} seed{'s' if seeds > 1 else ''}"
        said.append(f"{dataset}, {regime} regime ({of}): {', '.join(each)}")
    if not said:
        return ""
    return (
        "With other victims and data sets the interval by which THR@50 is lower, each under the worst "
        f"attacker, lies above 0, and below, in so many cases: {'; '.join(said)}."
    )
