"""Robustness against accuracy, over the choices of each form of RVD: which cells, which points."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED, Cell
from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.statistics import ACCURACY, BETTER, interval_of
from rvdlib.lab.study import claims, tables
from rvdlib.lab.study.effects import CLOSED_FORM, RVD, as_set

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


def cells(
    dataset: str,
    victims: Sequence[str],
    settings: Mapping[str, Mapping[str, str]],
    seeds: Sequence[int],
    n_users: int | None,
    choices: Mapping[str, Mapping[str, Sequence[float]]],
) -> list[Cell]:
    """Every victim under its regime's attack: undefended, at every combination of choices, and at
    those that ``params/defenses.yml`` chose. ``choices``: form, of :data:`METHODS` → choice → its values.
    """
    found = []
    for scenario in as_set(dataset, victims, settings, seeds):
        whose = {"scenario": scenario, "n_users": n_users}
        found.append(Cell(**whose))
        for form, dials in choices.items():
            tried = [dict(zip(dials, values, strict=True)) for values in product(*dials.values())]
            chosen = _chosen(dataset, scenario.regime, scenario.victim, form)
            found += [
                Cell(**whose, defense=form, method=METHODS[form], choices=each)
                for each in tried + [chosen] * (chosen not in tried)
            ]
    return found


def _chosen(dataset: str, regime: str, victim: str, form: str) -> dict:
    """What ``params/defenses.yml`` has for a form of :data:`METHODS`."""
    found = chosen_defenses(regime, victim, dataset).values()
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
    named = rows["defense"]
    observed_only = rows["choices"].map(lambda choices: choices.get("unobserved_weight") == 0)
    chosen = [
        form in METHODS and choices == _chosen(*of, form)
        for *of, form, choices in zip(
            *(rows[name] for name in ("dataset", "regime", "victim")),
            named,
            rows["choices"],
            strict=True,
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
        thr, accuracy = (interval_of(name, group[name]) for name in ("target_hit_ratio", metric))
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

    Columns regime, victim, form, choices, undefended and defended (THR@50), and change, of accuracy:
    relative, positive is better.
    """
    compared = _compared(points)
    return compared[compared["chosen"]].drop(columns="chosen").reset_index(drop=True)


def in_hindsight(points: pd.DataFrame) -> pd.DataFrame:
    """The lowest mean THR@50 of each form that loses at most :data:`claims.MAINTAINED` of accuracy.

    Of all points, by the figures that they report: a bound on what a form can do, and more
    flattering the more of its points there are. Columns as of :func:`as_chosen`, and n_points of the form;
    forms without a point within the budget are left out.
    """
    compared, keys = _compared(points), ["regime", "victim", "form"]
    compared["n_points"] = compared.groupby(keys)["form"].transform("size")
    affordable = compared[compared["change"] >= -claims.MAINTAINED]
    best = affordable.groupby(keys, sort=False)["defended"].idxmin()
    return compared.loc[best].drop(columns="chosen").reset_index(drop=True)


def answer(points: pd.DataFrame, settings: Mapping[str, Mapping[str, str]]) -> str:
    """The answer of 05, means over victims: as chosen in each regime, then best in hindsight."""
    chosen, best, sentences, bound = as_chosen(points), in_hindsight(points), [], []
    for regime, here in chosen.groupby("regime", sort=False):
        name = claims.ACCURACY[regime][ACCURACY[regime]]
        reached = [
            f"{row.defended:.3f} under *{row.Index}* ({name} {tables.change(row.change)})"
            for row in here.groupby("form", sort=False)[["defended", "change"]].mean().itertuples()
        ]
        sentences.append(
            f"In the {regime} regime, under *{settings[regime]['attack']}* fakes, THR@50 is "
            f"{here['undefended'].mean():.3f} undefended and, as chosen, {' and '.join(reached)}."
        )
        of = here["victim"].nunique()
        within = best[best["regime"] == regime].groupby("form", sort=False)["defended"]
        reached = [
            f"{thr.mean():.3f} under *{form}*"
            + (f" ({len(thr)} of {of} victims)" * (len(thr) < of))
            for form, thr in within
        ]
        bound.append(f"{' and '.join(reached) or 'nothing'} in the {regime} regime")
    return tables.answer(
        *sentences,
        f"In hindsight, the best choices that lose at most {100 * claims.MAINTAINED:.0f} % of accuracy "
        f"reach {', '.join(bound)}; nobody could have chosen them.",
    )


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
