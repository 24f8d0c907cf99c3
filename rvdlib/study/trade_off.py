"""Robustness against accuracy, over the choices of each form of RVD: which cells, which points."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from rvdlib.statistics import bootstrap_interval
from rvdlib.study.cells import UNDEFENDED, Cell
from rvdlib.study.effects import scenarios
from rvdlib.study.verdicts import MAINTAINED
from rvdlib.tables import format_interval

CLOSED_FORM, ITERATIVE = "closed form", "paper's form"
METHODS = {CLOSED_FORM: "closed_form_rvd", ITERATIVE: "fast_rvd"}
SYMBOLS = {
    "k": "k",
    "proximal_weight": "λ",
    "unobserved_weight": "ω",
    "steps": "T",
    "learning_rate": "η",
}
LABEL = "trade-off of the "
ACCURACY = {"rating": "rmse", "ranking": "ndcg"}


def cells(
    dataset: str,
    victims: Sequence[str],
    settings: Mapping[str, Mapping[str, str]],
    seeds: Sequence[int],
    n_users: int | None,
    choices: Mapping[str, Mapping[str, Sequence[float]]],
) -> list[Cell]:
    """Every victim under its regime's attack: undefended, and at every combination of choices.

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
                found += [
                    Cell(
                        scenario=scenario,
                        defense=LABEL + form,
                        method=METHODS[form],
                        choices=dict(zip(dials, values, strict=True)),
                        n_users=n_users,
                    )
                    for values in product(*dials.values())
                ]
    return found


def points(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a point: THR@50 under attack and its regime's own accuracy, over seeds.

    Returns:
        Columns regime, victim, form (``none``: undefended), choices (as text), metric (accuracy's
        name), thr, thr_low, thr_high, accuracy, accuracy_low, accuracy_high, and front: whether no
        point of the same form, nor the undefended victim, has a mean that is better in one and not
        worse in the other.
    """
    rows = rows.assign(
        form=rows["defense"].str.removeprefix(LABEL), choices=rows["choices"].map(_as_text)
    )
    found = []
    for key, group in rows.groupby(["regime", "victim", "form", "choices"], sort=False):
        metric = ACCURACY[key[0]]
        thr = bootstrap_interval(group["target_hit_ratio"])[:3]
        found.append((*key, metric, *thr, *bootstrap_interval(group[metric])[:3]))
    names = [f"{name}{end}" for name in ("thr", "accuracy") for end in ("", "_low", "_high")]
    table = pd.DataFrame(found, columns=["regime", "victim", "form", "choices", "metric", *names])
    table["front"] = False
    for _, group in table.groupby(["regime", "victim"]):
        bare = group["form"] == UNDEFENDED
        for form in group.loc[~bare, "form"].unique():
            rivals = group[bare | (group["form"] == form)]
            table.loc[rivals.index, "front"] |= _undominated(rivals) & (rivals["form"] == form)
    return table


def front(points: pd.DataFrame) -> pd.DataFrame:
    """The undefended victim and each form's front, the most robust first, as a reader wants them."""
    keys = ["regime", "victim", "form"]
    shown = points[points["front"] | (points["form"] == UNDEFENDED)]
    ordered = shown.assign(
        **{key: pd.Categorical(shown[key], points[key].unique()) for key in keys}
    ).sort_values([*keys, "thr"], kind="stable")
    columns = {"thr": "THR@50", "accuracy": "accuracy"}
    for name, title in columns.items():
        bounds = zip(*(ordered[f"{name}{end}"] for end in ("", "_low", "_high")), strict=True)
        ordered[title] = [format_interval(*row) for row in bounds]
    ordered["measured by"] = ordered["metric"].str.upper()
    return ordered[[*keys, "choices", "THR@50", "accuracy", "measured by"]].reset_index(drop=True)


def within_budget(points: pd.DataFrame, budget: float = MAINTAINED) -> pd.DataFrame:
    """The lowest mean THR@50 that each form reaches at no more than so much accuracy, relative.

    Returns:
        Columns regime, victim, form, choices, undefended and defended (THR@50), and change, of
        accuracy: relative, positive is better. Forms without such a point are left out.
    """
    found = []
    for (regime, victim), group in points.groupby(["regime", "victim"], sort=False):
        bare = group[group["form"] == UNDEFENDED].iloc[0]
        change = _sign(bare["metric"]) * (group["accuracy"] / bare["accuracy"] - 1)
        affordable = group.assign(change=change)[
            (change >= -budget) & (group["form"] != UNDEFENDED)
        ]
        for form, rivals in affordable.groupby("form", sort=False):
            best = rivals.loc[rivals["thr"].idxmin()]
            row = regime, victim, form, best["choices"], bare["thr"], best["thr"], best["change"]
            found.append(row)
    columns = ["regime", "victim", "form", "choices", "undefended", "defended", "change"]
    return pd.DataFrame(found, columns=columns)


def _undominated(points: pd.DataFrame) -> np.ndarray:
    costs = np.column_stack([points["thr"], -_sign(points["metric"].iloc[0]) * points["accuracy"]])
    no_better, worse = costs[:, None] >= costs, costs[:, None] > costs
    return ~(no_better.all(axis=2) & worse.any(axis=2)).any(axis=1)


def _sign(metric: str) -> int:
    return -1 if metric == "rmse" else 1


def _as_text(choices: dict) -> str:
    """``k 10, λ 0.3, ω 0.1``."""
    return ", ".join(f"{SYMBOLS[name]} {value:g}" for name, value in choices.items())
