"""What the gain of an attack consists of: fillers made for its targets, or low ratings as such.

Two controls of equal budget stand beside each attack that optimises or knows the defence. *Crafted
for others* (:mod:`rvdlib.lab.experiment.poison`): the same attack's fakes for other items, with the
columns of targets and others exchanged. What the attack does more is owed to its targets. *Low
clones*: real users' profiles, lowered. What the attack does more is owed to its optimisation.

Little is to be expected of the first: every fake rates all targets at the top and they are meant for
everybody, so which fillers serve best hardly depends on which items the targets are.
"""

from collections.abc import Sequence

import pandas as pd

from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.cells import Scenario
from rvdlib.lab.statistics import Interval, paired, t_interval
from rvdlib.lab.study.attack_effects import KNOWING, OPTIMISING, SETTING
from rvdlib.lab.study.tables import with_interval

SWAPPED, LOW_CLONE = "crafted for others", "low_clone"


def scenarios(own: Sequence[Scenario]) -> list[Scenario]:
    """The swapped-target control of each scenario whose attack optimises or knows the defence."""
    return [
        scenario.model_copy(update={"crafted_for": "others"})
        for scenario in own
        if scenario.attack in (*OPTIMISING, *KNOWING)
    ]


def gains(rows: pd.DataFrame, swapped: pd.DataFrame) -> pd.DataFrame:
    """THR of each controlled attack less that of its controls, paired over seeds.

    A row per setting, victim, attack and ``control``: metric (``gain``), mean, low, high, n. Low clones are
    among the ``rows``, swapped-target controls in ``swapped``.
    """
    where, own = [*SETTING, "victim"], rows[rows["attack"].isin(swapped["attack"])]
    low = dict(list(rows[rows["attack"] == LOW_CLONE].groupby(where)))
    crafted = dict(list(swapped.groupby([*where, "attack"])))
    found = [
        (*key, control, "gain", *t_interval(paired(here, beside[key[:n]], "target_hit_ratio")))
        for control, beside, n in ((SWAPPED, crafted, 4), (LOW_CLONE, low, 3))
        for key, here in own.groupby([*where, "attack"], sort=False)
    ]
    return pd.DataFrame(found, columns=[*where, "attack", "control", "metric", *Interval._fields])


def reading(table: pd.DataFrame) -> str:
    """What :func:`gains` says, in Markdown, an entry per setting and victim."""
    sentences = []
    for (regime, target_set, victim), here in table.groupby([*SETTING, "victim"], sort=False):
        said = [
            f"**{regime.capitalize()} regime, {target_set} targets, {victim}.**",
            _above(here, SWAPPED, "fakes crafted for other targets"),
            _above(here, LOW_CLONE, "low clones"),
        ]
        sentences.append(f"- {' '.join(said)}")
    return "\n".join(sentences)


def _above(table: pd.DataFrame, control: str, called: str) -> str:
    here = table[table["control"] == control].sort_values("mean", ascending=False)
    shown = here["attack"].map(lambda name: ATTACKS[name].label) + " (" + with_interval(here) + ")"
    more, less = (", ".join(shown[far]) or "none" for far in (here["low"] > 0, here["high"] < 0))
    return (
        f"More than {called}, by a paired interval: {more}; less: {less}; "
        f"most of all: {shown.iloc[0]}."
    )
