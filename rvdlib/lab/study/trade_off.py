"""Robustness against accuracy, over the choices of each form of RVD: which cells, which points."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED, Cell
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.statistics import ACCURACY, BETTER, t_interval
from rvdlib.lab.study.claims import MAINTAINED
from rvdlib.lab.study.effects import CLOSED_FORM, RVD, scenarios

METHODS = {CLOSED_FORM: "closed_form", RVD: "rvd"}
# What unobserved cells add is told apart from what the closed form does.
OBSERVED_ONLY, WEIGHTED = "closed form, ω = 0", "closed form, ω > 0"
SYMBOLS = {
    "k": "k",
    "proximal_weight": "λ",
    "unobserved_weight": "ω",
    "steps": "T",
    "learning_rate": "η",
}
# Choices that are no numbers, where they are not the default.
NAMED = {
    "include_user": {True: "own row"},
    "optimizer": {"sgd": "SGD"},
    "regularizer": {"decoupled": "decoupled", "none": "no regulariser"},
    "scope": {"decoder": "decoder"},
}
LABEL = "trade-off of "


def cells(
    dataset: str,
    victims: Sequence[str],
    settings: Mapping[str, Mapping[str, str]],
    seeds: Sequence[int],
    n_users: int | None,
    choices: Mapping[str, Mapping[str, Sequence[float]]],
) -> list[Cell]:
    """Every victim under its regime's attack: undefended, at every combination of choices, and at
    those that ``params/defenses.yml`` chose.

    Args:
        settings: regime → the ``attack`` and ``target_set`` that its victims are under.
        n_users: size of the sample of users that is evaluated; None: every user.
        choices: form, of :data:`METHODS` → choice → its values.
    """
    found = []
    for regime, under in settings.items():
        attacked = [under["attack"]], [under["target_set"]]
        for scenario in scenarios(dataset, victims, [regime], *attacked, seeds):
            found.append(Cell(scenario=scenario, n_users=n_users))
            for form, dials in choices.items():
                tried = [
                    dict(zip(dials, values, strict=True)) for values in product(*dials.values())
                ]
                chosen = _chosen(regime, scenario.victim, form)
                found += [
                    Cell(
                        scenario=scenario,
                        defense=LABEL + form,
                        method=METHODS[form],
                        choices=each,
                        n_users=n_users,
                    )
                    for each in tried + [chosen] * (chosen not in tried)
                ]
    return found


def _chosen(regime: str, victim: str, form: str) -> dict:
    """What ``params/defenses.yml`` has for a form of :data:`METHODS`."""
    found = chosen_defenses(regime, victim).values()
    (choices,) = (each["choices"] for each in found if each["method"] == METHODS[form])
    return choices


def points(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a point: THR@50 under attack and its regime's own accuracy, over seeds.

    Returns:
        Columns regime, victim, form (``none``: undefended; the closed form apart where ω is 0),
        choices (as text), metric (accuracy's name), thr, thr_low, thr_high, accuracy, accuracy_low,
        accuracy_high, n (seeds), chosen: whether ``params/defenses.yml`` has these choices, and
        front: whether no point of the same form, nor the undefended victim, has a mean that is
        better in one and not worse in the other.
    """
    named = rows["defense"].str.removeprefix(LABEL)
    observed_only = rows["choices"].map(lambda choices: choices.get("unobserved_weight") == 0)
    chosen = [
        form in METHODS and choices == _chosen(regime, victim, form)
        for regime, victim, form, choices in zip(
            rows["regime"], rows["victim"], named, rows["choices"], strict=True
        )
    ]
    rows = rows.assign(
        form=named.mask(
            named == CLOSED_FORM, observed_only.map({True: OBSERVED_ONLY, False: WEIGHTED})
        ),
        choices=rows["choices"].map(as_text),
        chosen=chosen,
    )
    found = []
    keys = ["regime", "victim", "form", "choices", "chosen"]
    for key, group in rows.groupby(keys, sort=False):
        metric = ACCURACY[key[0]]
        thr, accuracy = (t_interval(group[name]) for name in ("target_hit_ratio", metric))
        found.append((*key, metric, *thr[:3], *accuracy))
    names = [f"{name}{end}" for name in ("thr", "accuracy") for end in ("", "_low", "_high")]
    table = pd.DataFrame(found, columns=[*keys, "metric", *names, "n"])
    table["front"] = False
    for _, group in table.groupby(["regime", "victim"]):
        bare = group["form"] == UNDEFENDED
        for form in group.loc[~bare, "form"].unique():
            rivals = group[bare | (group["form"] == form)]
            table.loc[rivals.index, "front"] |= _undominated(rivals) & (rivals["form"] == form)
    return table


def as_chosen(points: pd.DataFrame) -> pd.DataFrame:
    """What the choices of ``params/defenses.yml`` reach.

    Returns:
        Columns regime, victim, form, choices, undefended and defended (THR@50), and change, of
        accuracy: relative, positive is better.
    """
    compared = _compared(points)
    return compared[compared["chosen"]].drop(columns="chosen").reset_index(drop=True)


def in_hindsight(points: pd.DataFrame, budget: float = MAINTAINED) -> pd.DataFrame:
    """The lowest mean THR@50 that each form reaches at no more than so much accuracy, relative.

    Of all points, by the figures that they report: a bound on what a form can do, and more
    flattering the more of its points there are.

    Returns:
        Columns as of :func:`as_chosen`. Forms without a point within the budget are left out.
    """
    compared = _compared(points)
    affordable = compared[compared["change"] >= -budget]
    best = affordable.groupby(["regime", "victim", "form"], sort=False)["defended"].idxmin()
    return compared.loc[best].drop(columns="chosen").reset_index(drop=True)


def reading(points: pd.DataFrame) -> list[str]:
    """A regime and victim each: THR@50 undefended, as chosen, and each form's best in hindsight."""
    keys, found = ["regime", "victim"], []
    chosen, best = as_chosen(points), in_hindsight(points).set_index([*keys, "form"])["defended"]
    for key, here in points.groupby(keys, sort=False):
        bare = here["form"] == UNDEFENDED
        reached = [
            f"{row.form} {row.defended:.3f} ({100 * row.change:+.1f} %)"
            for row in chosen.itertuples()
            if (row.regime, row.victim) == key
        ]
        within = [
            f"{form} {best[*key, form]:.3f} (of {n})"
            if (*key, form) in best.index
            else f"{form} none (of {n})"
            for form, n in here.loc[~bare, "form"].value_counts(sort=False).items()
        ]
        found.append(
            f"**{key[1]}, {key[0]} regime.** THR@50 undefended {here.loc[bare, 'thr'].iloc[0]:.3f}. "
            f"As chosen, with the change in accuracy: {'; '.join(reached)}. Best in hindsight within "
            f"{100 * MAINTAINED:.0f} % of accuracy, of so many points: {'; '.join(within)}."
        )
    return found


def _compared(points: pd.DataFrame) -> pd.DataFrame:
    """Every defended point beside its undefended victim."""
    keys, bare = ["regime", "victim"], points["form"] == UNDEFENDED
    undefended = points.loc[bare, [*keys, "thr", "accuracy"]]
    beside = points[~bare].merge(undefended, on=keys, suffixes=("", "_bare"))
    change = beside["metric"].map(BETTER) * (beside["accuracy"] / beside["accuracy_bare"] - 1)
    named = {"thr_bare": "undefended", "thr": "defended"}
    columns = [*keys, "form", "choices", "undefended", "defended", "change", "chosen"]
    return beside.rename(columns=named).assign(change=change)[columns]


def _undominated(points: pd.DataFrame) -> np.ndarray:
    costs = np.column_stack([points["thr"], -BETTER[points["metric"].iloc[0]] * points["accuracy"]])
    no_better, worse = costs[:, None] >= costs, costs[:, None] > costs
    return ~(no_better.all(axis=2) & worse.any(axis=2)).any(axis=1)


def as_text(choices: dict) -> str:
    """``k 10, λ 0.3, ω 0.1``, and what is not the default: ``own row``."""
    shown = [f"{SYMBOLS[name]} {value:g}" for name, value in choices.items() if name in SYMBOLS]
    shown += [
        NAMED[name][value]
        for name, value in choices.items()
        if name not in SYMBOLS and value in NAMED[name]
    ]
    return ", ".join(shown)
