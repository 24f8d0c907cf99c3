"""The attackers and defences of 07 elsewhere: other victims, targets and data sets.

Attackers were searched with MF on ML-100K. The closed form and the quorum are as they were chosen for
the victim itself, where they were; every defence meets every attacker, who is told its choices.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from rvdlib.lab.experiment.cells import Cell, run_cells
from rvdlib.lab.experiment.hyperparameters import attacked_defenses
from rvdlib.lab.statistics import Interval
from rvdlib.lab.study import adaptive

TIDY = ["metric", *Interval._fields]


def cells(elsewhere: Sequence[Mapping], attacks: Sequence[str]) -> list[tuple[Cell, str]]:
    """Each cell and what its attacker is called, as :func:`rvdlib.lab.study.adaptive.cells`.

    Args:
        elsewhere: of each its ``dataset``, ``victims``, ``target_sets``, ``seeds``, ``n_users``, and
            ``against``, the searched attackers by whom they were searched against. These defences are
            asked, and popularity.
        attacks: that are told nothing of the defence, ``none`` among them, where ``elsewhere`` has none of
            its own.
    """
    return [
        each
        for at in elsewhere
        for each in adaptive.cells(
            at["dataset"],
            at["victims"],
            at["target_sets"],
            at.get("attacks") or attacks,
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
    """What a reader sees of :func:`held`: a row a setting, a column a defence.

    THR@50 under the worst attacker, and HR@50 in brackets; ↓ or ↑ where the interval by which THR@50
    is lower than undefended lies above 0, or below.
    """
    if table.empty:
        return table
    by = ["dataset", *adaptive.SETTING, "defense"]
    of = {metric: each.set_index(by) for metric, each in table.groupby("metric")}
    lower, higher = of["lowered"]["low"] > 0, of["lowered"]["high"] < 0
    mark = lower.map({True: "↓", False: ""}) + higher.map({True: "↑", False: ""})
    thr, hit = (of[metric]["mean"] for metric in ("target_hit_ratio", "hit_ratio"))
    text = thr.map("{:.3f}".format) + mark + hit.map(" ({:.2f})".format)
    return text.unstack("defense", sort=False, fill_value="–")
