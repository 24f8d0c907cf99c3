"""What is asked of the victims, and what others reach: the yardsticks of 02_victims and 14_timings."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from rvdlib import paths
from rvdlib.lab.experiment.hyperparameters import DEMANDS_FILE
from rvdlib.lab.statistics import BETTER, summarise
from rvdlib.lab.study import tables
from rvdlib.models import VICTIMS
from rvdlib.models.biases import Biases
from rvdlib.models.reference import Popularity
from rvdlib.strict_yaml import read_yaml

PUBLISHED_FILE = paths.PARAMS / "published.yml"
METRICS = ("rmse_holdout", "hit_ratio", "ndcg", "rmse")
JUDGED_BY = {"rating": "rmse_holdout", "ranking": "hit_ratio"}
# The simplest recommender of a regime, and by what it is compared.
TASKS = {
    "rating": (Biases.name, ["rmse", "rmse_holdout"]),
    "ranking": (Popularity.name, ["hit_ratio", "ndcg"]),
}


def summary(rows: pd.DataFrame, peers_file: Path) -> pd.DataFrame:
    """Means with intervals over seeds of what we measured, and of the peers on the same data sets.

    Args:
        rows: of :func:`rvdlib.lab.experiment.quality.run_trials`.
        peers_file: what ``make peers`` wrote (:mod:`rvdlib.lab.tuning.peers`).

    Returns:
        Columns dataset, regime, system, kind (victim, reference or peer), metric, mean, low, high
        and n; data sets as in ``rows``, the rating regime first.
    """
    kinds = np.where(rows["system"].isin(VICTIMS), "victim", "reference")
    peers = pd.read_csv(peers_file)
    peers = peers[peers["dataset"].isin(rows["dataset"])]
    everyone = pd.concat([rows.assign(kind=kinds), peers.assign(kind="peer")])
    in_order = product(rows["dataset"].unique(), JUDGED_BY)
    groups = dict(list(everyone.groupby(["dataset", "regime"], sort=False)))
    everyone = pd.concat([groups[key] for key in in_order if key in groups])
    return summarise(everyone, ["dataset", "regime", "system", "kind"], list(METRICS))


def demands(summary: pd.DataFrame) -> pd.DataFrame:
    """What ``params/good_victims.yml`` asks of the victims, beside what they reach.

    Returns:
        The victims' rows of ``summary`` for the metric that their regime is judged by, with the
        ``bound`` (for HR@50 at least, else at most; NaN if nothing is asked) and whether the mean
        ``holds`` it (NA likewise). HR@50 must beat that of the most popular items, whatever else is
        asked; where this is the bound, it is ``strict``.
    """
    judged = summary["metric"] == summary["regime"].map(JUDGED_BY)
    found = summary[judged & (summary["kind"] == "victim")].reset_index(drop=True)
    popular = summary[(summary["system"] == Popularity.name) & (summary["metric"] == "hit_ratio")]
    ranked = found["metric"] == "hit_ratio"
    floor = found["dataset"].map(popular.set_index("dataset")["mean"]).where(ranked)
    return _held(found, floor)


def answer(summary: pd.DataFrame, found: pd.DataFrame, decimals: int = 3) -> str:
    """The answer of 02: whether the :func:`demands` hold, and what the victims reach in each regime."""
    judged = found[found["holds"].notna()]
    missed = [
        f"{row.system} ({row.dataset}, {row.regime} regime)"
        for row in judged.itertuples()
        if not row.holds
    ]
    columns = ["kind", "regime", "system", "dataset"]
    means = summary.pivot(index=columns, columns="metric", values="mean")
    rating, ranking = means.loc["victim", "rating"], means.loc["victim", "ranking"]
    biases = means.loc["reference", "rating", Biases.name]["rmse_holdout"]
    ease, popular = (
        means.loc["reference", "ranking", name]["hit_ratio"] for name in ("EASE", Popularity.name)
    )
    datasets = rating.index.get_level_values("dataset")
    no_better = rating.index[rating["rmse_holdout"] >= datasets.map(biases)]
    no_better = [f"{system} ({dataset})" for system, dataset in no_better]
    beat = int((rating["hit_ratio"] > datasets.map(popular)).sum())
    rmse, floor, hits, least, best = (
        tables.span(values, f"{{:.{decimals}f}}")
        for values in (rating["rmse_holdout"], biases, ranking["hit_ratio"], popular, ease)
    )
    return tables.answer(
        f"{len(judged) - len(missed)} of {len(judged)} demands hold"
        + (f"; not held: {', '.join(missed)}." if missed else "."),
        f"In the rating regime the RMSE of the victims is {rmse}, that of biases alone {floor} (no "
        f"better than that: {', '.join(no_better) or 'none'}); asked to rank, {beat} of "
        f"{len(rating)} beat the most popular items.",
        f"In the ranking regime HR@50 is {hits}, that of the most popular items {least}, that of "
        f"EASE {best}.",
    )


def beaten(rows: pd.DataFrame) -> pd.DataFrame:
    """Where a victim is worse at its own task than the simplest recommender, seed by seed.

    Returns:
        A row for each dataset, regime, system and metric of :data:`TASKS` in which that happens:
        ``seeds`` it happens on (a list), ``n`` seeds in all, and the ``reference`` that is better.
    """
    found = []
    for regime, (reference, metrics) in TASKS.items():
        here = rows[rows["regime"] == regime]
        simplest = here[here["system"] == reference].set_index(["dataset", "seed"])
        victims = here[here["system"].isin(VICTIMS)]
        for (dataset, system), own in victims.groupby(["dataset", "system"], sort=False):
            own = own.set_index(["dataset", "seed"])
            for metric in metrics:
                gained = BETTER[metric] * (own[metric] - simplest[metric].reindex(own.index))
                seeds = own.index[gained < 0]
                about = {"dataset": dataset, "regime": regime, "system": system, "metric": metric}
                about |= {"seeds": seeds.get_level_values("seed").tolist(), "n": len(own)}
                found += [about | {"reference": reference}] if len(seeds) else []
    columns = ["dataset", "regime", "system", "metric", "seeds", "n", "reference"]
    return pd.DataFrame(found, columns=columns)


def training_times(rows: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds to train the victims: mean and interval over seeds, with the ``bound`` (at most) and
    ``holds`` of :func:`demands`."""
    victims = rows[rows["system"].isin(VICTIMS)]
    found = summarise(victims, ["dataset", "regime", "system"], ["train_seconds"])
    return _held(found, pd.Series(np.nan, index=found.index))


def _held(found: pd.DataFrame, floor: pd.Series) -> pd.DataFrame:
    """Add what is asked (of HR@50 also the ``floor``) and whether the means hold it."""
    asked = read_yaml(DEMANDS_FILE)
    asked_for = pd.Series(
        [asked[row.metric].get(row.dataset, {}).get(row.system) for row in found.itertuples()],
        dtype=float,
    )
    found["strict"] = floor >= asked_for.fillna(-np.inf)
    found["bound"] = np.fmax(asked_for, floor)
    distance = found["metric"].map(BETTER) * (found["bound"] - found["mean"])
    holds = (distance < 0) | ((distance == 0) & ~found["strict"])
    found["holds"] = holds.astype("boolean").mask(found["bound"].isna())
    return found


def published() -> pd.DataFrame:
    """Figures that others published: dataset, system, rmse, protocol, source."""
    entries = read_yaml(PUBLISHED_FILE)
    rows = [entry | {"system": s, "rmse": r} for entry in entries for s, r in entry["rmse"].items()]
    return pd.DataFrame(rows, columns=["dataset", "system", "rmse", "protocol", "source"])
