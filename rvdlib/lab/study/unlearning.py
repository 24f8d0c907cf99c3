"""Notebook 08: what :mod:`rvdlib.lab.experiment.descents` measured, as tables, sentences and verdicts.

Looseness and violations are those of single users; means and intervals are over seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from rvdlib.lab.experiment.descents import (
    DATA,
    FORMS,
    LOOSENESS,
    LOSSES,
    OUTCOMES,
    PATH,
    QUANTITIES,
    WHERE,
    WHOLE,
    Descent,
    WholePath,
    column,
    run,
)
from rvdlib.lab.runner.ledger import FAILS, claims
from rvdlib.lab.statistics import summarise
from rvdlib.lab.study import tables
from rvdlib.lab.study.claims import of_means
from rvdlib.lab.study.effects import as_set
from rvdlib.theory.unlearning import OURS, PAPER_CLEAN

OUTCOMES_SAID = {
    "hits_removed": "which users lose hits of the targets",
    "octaves_down": "how far the targets fall",
}


class Measured(NamedTuple):
    """What :func:`measure` found, tidy; columns WHERE in each.

    Attributes:
        losses: a row a victim and loss: ``cases``, and how many of them are ``violated``.
        bounds: a row a victim, loss, form of a bound and number of epochs: LOOSENESS, and over how
            many ``users_with_fakes``.
        rho: a row a victim, loss, quantity and outcome: ``rho``, NaN where either is the same for all.
        paths: a row a user: what was measured along the path of all parameters.
    """

    losses: pd.DataFrame
    bounds: pd.DataFrame
    rho: pd.DataFrame
    paths: pd.DataFrame


def descents(
    dataset: str,
    victims: Sequence[str],
    settings: Mapping[str, Mapping],
    seeds: Sequence[int],
    *,
    k: int,
    n_users: int,
    epochs: Sequence[int],
    served_after: int,
    path_users: int,
    path_epochs: int,
) -> list[Descent | WholePath]:
    """Each victim under each attack, descended for a sample of its users.

    Args:
        k: neighbours. A user all of whose neighbours are fakes is left out.
        n_users: of the sample; ``path_users``: how many of them are also served by descent with all
            parameters, for ``path_epochs``.
        epochs: after which distances and losses are held against their bounds.
        served_after: epochs after which a user is served.
    """
    after = tuple(sorted({*epochs, served_after}))
    found: list[Descent | WholePath] = []
    for scenario in as_set(dataset, victims, settings, seeds):
        of = {"scenario": scenario, "k": k, "n_users": n_users}
        found += [
            Descent(**of, loss=loss, epochs=after, served_after=served_after) for loss in LOSSES
        ]
        found += [
            WholePath(**of, place=place, epochs=path_epochs)
            for place in range(min(path_users, n_users))
        ]
    return found


def measure(wanted: Sequence[Descent | WholePath]) -> Measured:
    """The rows of :func:`descents`, computed or taken from where they are on record."""
    rows = run(wanted)
    descended = np.array([isinstance(each, Descent) for each in wanted])
    losses, epochs = rows[descended], wanted[0].epochs
    bounds = [
        {**row[[*WHERE, "loss", "users_with_fakes"]], "form": form, "epochs": after}
        | {measure: row[column(measure, form, after)] for measure in LOOSENESS}
        for _, row in losses.iterrows()
        for form, after in product(FORMS[row["loss"]], epochs)
    ]
    rho = [
        {**row[[*WHERE, "loss"]], "quantity": one, "outcome": other, "rho": row[column(one, other)]}
        for _, row in losses.iterrows()
        for one, other in product(QUANTITIES, OUTCOMES)
    ]
    return Measured(
        losses[[*WHERE, "loss", "cases", "violated"]],
        pd.DataFrame(bounds),
        pd.DataFrame(rho),
        rows.loc[~descended, [*WHERE, *PATH]],
    )


def violated_shares(losses: pd.DataFrame) -> pd.DataFrame:
    """The share of cases in which a theorem's bound is exceeded: ``C9`` of the whole loss, ``C10`` of
    the data term."""
    share, is_whole = losses["violated"] / losses["cases"], losses["loss"] == WHOLE
    return losses.assign(C9=share.where(is_whole), C10=share.mask(is_whole))


def over_seeds(bounds: pd.DataFrame) -> pd.DataFrame:
    """How loose each form is, and how often it is exceeded; means over seeds with intervals, attacks
    of a seed averaged first."""
    by = ["regime", "victim", "loss", "form", "epochs"]
    seeds = bounds.groupby([*by, "seed"], sort=False)[LOOSENESS].mean()
    return summarise(seeds.reset_index(), by, LOOSENESS)


def table(loose: pd.DataFrame, epochs: int) -> pd.DataFrame:
    """What a reader sees of :func:`over_seeds` after ``epochs``: a row a regime, victim, loss and form."""
    here = loose[loose["epochs"] == epochs]
    names = {
        "left": "measured / start",
        "bounded": "bound / start",
        "orders": "log10(bound / measured)",
        "exceeded": "exceeded",
        "exceeded_with_fakes": "exceeded, users with fakes",
    }
    rows = ["regime", "victim", "loss", "form"]
    means = here.set_index([*rows, "metric"])["mean"].unstack(sort=False)
    return means[list(names)].rename(columns=names).rename_axis(columns=None).round(3)


def prediction(rho: pd.DataFrame) -> pd.DataFrame:
    """Rank correlations over seeds: mean and interval, attacks of a seed averaged first.

    A seed without a correlation, for nothing differs between its users, does not count in ``n``; where
    fewer than half of the seeds have one, there is no mean.
    """
    by = ["regime", "victim", "loss", "quantity", "outcome"]
    seeds = rho.groupby([*by, "seed"], sort=False)["rho"].mean().reset_index()
    found = summarise(seeds, by, ["rho"])
    few = found["n"] < rho["seed"].nunique() / 2
    found.loc[few, ["mean", "low", "high"]] = np.nan
    return found


def answer(measured: Measured, served_after: int) -> str:
    """The answer of 08: whether the bounds hold, how loose they are, whether strength predicts."""
    losses, bounds, paths = measured.losses, measured.bounds, measured.paths
    most = bounds["epochs"].max()
    clean = bounds[(bounds["form"] == PAPER_CLEAN) & (bounds["epochs"] == most)]
    clean, read = clean.dropna(subset="exceeded_with_fakes"), ""
    if len(clean):
        fails = np.average(clean["exceeded_with_fakes"], weights=clean["users_with_fakes"])
        read = (
            f"; read for the vicinity without its fakes, our guess at the paper's form fails for "
            f"{fails:.0%} of users with a fake among their neighbours, {most:,} epochs on"
        )
    loose = over_seeds(bounds)
    loose = loose[(loose["form"] == OURS) & (loose["epochs"] == served_after)]
    loose = loose.groupby(["loss", "metric"])["mean"].mean()
    return tables.answer(
        f"The bounds, which follow from the algebra, are exceeded in {losses['violated'].sum():.0f} of "
        f"{losses['cases'].sum():,.0f} cases (users, losses, epochs){read}.",
        f"After {served_after} epochs {loose[WHOLE, 'left']:.0%} of the distance to "
        f"the clean optimum is left and our bound allows {loose[WHOLE, 'bounded']:.0%}; the convex one is "
        f"{_times(loose[DATA, 'orders'])} the excess of the loss.",
        "With all parameters moving, constants measured after the fact promise "
        f"{paths['promised'].median():.0%} of the fall of the loss (median).",
        *_predicted(prediction(measured.rho)),
    )


def _predicted(rho: pd.DataFrame) -> Iterator[str]:
    """What strength tells of each outcome, and where more than its control does: the distance at the start,
    which is owed to the user and to no descent."""
    by = ["regime", "victim", "loss"]
    for outcome, what in OUTCOMES_SAID.items():
        here = rho[rho["outcome"] == outcome].set_index(by)
        strength, start = (here[here["quantity"] == name] for name in ("strength", "start"))
        told, data = strength["low"] > 0, strength.index.get_level_values("loss") == DATA
        above = told & (strength["mean"] > start["mean"])
        yield (
            f"Unlearning strength tells {what}, by rank correlation over users and intervals not corrected for their "
            f"number, in {told.sum()} of {len(told)} cases: {(told & data).sum()} of them with the data term alone, "
            f"{above.sum()} with a higher mean than the distance before any descent; the contrary in "
            f"{(strength['high'] < 0).sum()}."
        )


def _times(orders: float) -> str:
    return f"{10**orders:,.1f} times" if orders < 2 else f"10^{orders:.0f} times"


def verdicts(measured: Measured) -> pd.DataFrame:
    """C9, C10 and C16, by regime and victim. One case refutes a theorem, however rare it is."""
    theorems = of_means(violated_shares(measured.losses), {"C9": "C9", "C10": "C10"})
    theorems.loc[theorems["value"] > 0, "verdict"] = FAILS
    theorems["overall"] = theorems.groupby(["id", "regime"])["verdict"].transform(
        lambda of: claims()[of.name[0]].overall(of)
    )
    return pd.concat([theorems, of_means(measured.paths, {"C16": "promised"})], ignore_index=True)


def path_table(paths: pd.DataFrame) -> pd.DataFrame:
    """Medians over users and seeds of what was measured along a path, by regime and victim."""
    *medians, covered, exceeded = PATH
    numbers = paths.astype(dict.fromkeys(PATH, float)).groupby(["regime", "victim"], sort=False)
    means = numbers[[covered, exceeded]].mean()
    return numbers[medians].median().join(means).rename(columns={"mu": "μ"}).round(3)
