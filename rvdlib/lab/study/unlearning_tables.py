"""What :mod:`rvdlib.lab.study.unlearning` measured, as tables, sentences and verdicts.

Looseness and violations are those of single users; means and intervals are over seeds.
"""

from itertools import product

import numpy as np
import pandas as pd

from rvdlib.lab.runner.ledger import FAILS, claims
from rvdlib.lab.statistics import Interval, interval_of, rank_correlation, summarise
from rvdlib.lab.study import tables
from rvdlib.lab.study.claims import of_means
from rvdlib.lab.study.unlearning import DATA, LOSSES, OUTCOMES, QUANTITIES, WHERE, WHOLE, Measured
from rvdlib.theory.unlearning import OURS, PAPER_CLEAN, THEOREMS


def violations(bounds: pd.DataFrame) -> pd.DataFrame:
    """Whether any theorem's bound is exceeded: a row a user, loss and number of epochs.

    Columns WHERE (of :mod:`rvdlib.lab.study.unlearning`), loss, user, epochs, and ``C9`` (whole loss) or
    ``C10`` (data term), 1 where it is and 0 where not.
    """
    held = bounds[bounds["form"].isin(THEOREMS)]
    found = held.groupby([*WHERE, "loss", "user", "epochs"], sort=False)["exceeded"].max()
    found = found.astype(float).reset_index()
    is_whole = found["loss"] == WHOLE
    return found.assign(C9=found["exceeded"].where(is_whole), C10=found["exceeded"].mask(is_whole))


def looseness(bounds: pd.DataFrame) -> pd.DataFrame:
    """How loose each form is, and how often it is exceeded; means over seeds with intervals.

    Metrics, of a seed's users and attacks: ``orders``, the median of log10(bound / measured), of what
    is above a millionth of the start; ``left`` and ``bounded``, the medians of what is measured and of
    its bound over the clean vicinity's start; ``exceeded``, the share of users, and
    ``exceeded_with_fakes``, of those with a fake among their neighbours.
    """
    here = bounds[bounds["start"] > 0]
    least = 1e-6 * here["start"]  # of what is below, digits that are shown may be rounding
    above, bound = here["measured"] > least, np.maximum(here["bound"], least)
    here = here.assign(
        orders=np.log10(bound.where(above) / here["measured"].where(above)),
        left=here["measured"] / here["start"],
        bounded=here["bound"] / here["start"],
        exceeded=here["exceeded"].astype(float),
        exceeded_with_fakes=here["exceeded"].astype(float).where(here["n_fakes"] > 0),
    )
    by = ["regime", "victim", "loss", "form", "epochs"]
    seeds = here.groupby([*by, "seed"], sort=False)
    measures = {"orders": "median", "left": "median", "bounded": "median"}
    measures |= {"exceeded": "mean", "exceeded_with_fakes": "mean"}
    return summarise(seeds.agg(measures).reset_index(), by, list(measures))


def table(loose: pd.DataFrame, epochs: int) -> pd.DataFrame:
    """What a reader sees of :func:`looseness` after ``epochs``: a row a regime, victim, loss and form."""
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


def correlations(users: pd.DataFrame) -> pd.DataFrame:
    """Spearman's ρ over the users of one victim, of each quantity with each outcome.

    Returns:
        Columns WHERE, loss, quantity, outcome, rho; NaN where either is the same for all.
    """
    found = []
    for key, here in users.groupby([*WHERE, "loss"], sort=False):
        found += [
            (*key, one, other, rank_correlation(here[one], here[other]))
            for one, other in product(QUANTITIES, OUTCOMES)
        ]
    return pd.DataFrame(found, columns=[*WHERE, "loss", "quantity", "outcome", "rho"])


def prediction(found: pd.DataFrame) -> pd.DataFrame:
    """:func:`correlations` over seeds: mean and interval, attacks of a seed averaged first.

    A seed without a correlation, for nothing differs between its users, does not count in ``n``.
    """
    by = ["regime", "victim", "loss", "quantity", "outcome"]
    seeds = found.groupby([*by, "seed"], sort=False)["rho"].mean().reset_index()
    return summarise(seeds, by, ["rho"])


def answer(measured: Measured, found: pd.DataFrame, served_after: int) -> str:
    """The answer of 08: whether the bounds hold, how loose they are, whether strength predicts."""
    broken, bounds, paths = violations(measured.bounds), measured.bounds, measured.paths
    most = bounds["epochs"].max()
    clean = bounds[(bounds["form"] == PAPER_CLEAN) & (bounds["epochs"] == most)]
    clean = clean[clean["n_fakes"] > 0]
    read = (
        f"; read for the vicinity without its fakes, our guess at the paper's form fails for "
        f"{clean['exceeded'].mean():.0%} of users with a fake among their neighbours, {most:,} epochs on"
    )
    loose = looseness(bounds)
    loose = loose[(loose["form"] == OURS) & (loose["epochs"] == served_after)]
    loose = loose.groupby(["loss", "metric"])["mean"].mean()
    rho = {
        f"{victim}, {regime} regime, {loss}": _strength(here[here["loss"] == loss])
        for (regime, victim), here in found.groupby(["regime", "victim"], sort=False)
        for loss in LOSSES
    }
    told = sum(interval.low > 0 for interval in rho.values())
    against = sum(interval.high < 0 for interval in rho.values())
    return tables.answer(
        f"The bounds, which follow from the algebra, are exceeded in {int(broken['exceeded'].sum())} of "
        f"{len(broken):,} cases (users, losses, epochs){read if len(clean) else ''}.",
        f"After {served_after} epochs {loose[WHOLE, 'left']:.0%} of the distance to "
        f"the clean optimum is left and our bound allows {loose[WHOLE, 'bounded']:.0%}, the convex one is "
        f"{_times(loose[DATA, 'orders'])} the excess of the loss, and with all parameters moving, "
        f"constants measured after the fact promise {paths['promised'].median():.0%} of the fall of "
        f"the loss.",
        f"Unlearning strength tells how far the targets fall in {told} of {len(rho)} cases, and the "
        f"contrary in {against}, by rank correlation over users: "
        + "; ".join(
            f"{where} {tables.format_interval(*each[:3], decimals=2)}"
            for where, each in rho.items()
        )
        + ".",
    )


def _times(orders: float) -> str:
    return f"{10**orders:,.1f} times" if orders < 2 else f"10^{orders:.0f} times"


def _strength(found: pd.DataFrame) -> Interval:
    """ρ of strength and the targets' fall over seeds, attacks of a seed averaged first."""
    here = found[(found["quantity"] == "strength") & (found["outcome"] == "octaves_down")]
    return interval_of("rho", here.groupby("seed")["rho"].mean())


def verdicts(measured: Measured) -> pd.DataFrame:
    """C9, C10 and C16, by regime and victim. One case refutes a theorem, however rare it is."""
    theorems = of_means(violations(measured.bounds), {"C9": "C9", "C10": "C10"})
    theorems.loc[theorems["value"] > 0, "verdict"] = FAILS
    theorems["overall"] = theorems.groupby(["id", "regime"])["verdict"].transform(
        lambda of: claims()[of.name[0]].overall(of)
    )
    return pd.concat([theorems, of_means(measured.paths, {"C16": "promised"})], ignore_index=True)


def path_table(paths: pd.DataFrame) -> pd.DataFrame:
    """Medians over users and seeds of what was measured along a path, by regime and victim."""
    shown = ["mu", "lowest", "highest", "fell", "promised", "covered", "exceeded"]
    numbers = paths.astype(dict.fromkeys(shown, float)).groupby(["regime", "victim"], sort=False)
    means = numbers[shown[-2:]].mean()
    return numbers[shown[:-2]].median().join(means).rename(columns={"mu": "μ"}).round(3)
