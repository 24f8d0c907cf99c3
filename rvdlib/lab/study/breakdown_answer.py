"""The answer of 09, of what :mod:`rvdlib.lab.study.breakdown_tables` has."""

from collections.abc import Iterator

import pandas as pd

from rvdlib.data import load_dataset
from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.study import tables
from rvdlib.lab.study.breakdown import FLOOR, LATENT, QUORUM, VOTES
from rvdlib.lab.study.breakdown_tables import BY, LISTED, SETTING, percent, reached, taken
from rvdlib.lab.study.effects import CLOSED_FORM


def answer(
    found: pd.DataFrame,
    promised: pd.DataFrame,
    grown: pd.DataFrame,
    agreed: pd.DataFrame,
    tolerated: float,
    least_kept: float,
) -> str:
    """The answer of 09: what is promised at what price, what attacks reach, what limits both."""
    return tables.answer(
        _promises(found, promised, tolerated, least_kept),
        _floors(found, promised, least_kept),
        *_broken(grown, tolerated),
        _left(found, agreed["k"].iloc[0]),
        _by_chance(agreed),
    )


def _promises(
    found: pd.DataFrame, promised: pd.DataFrame, tolerated: float, least_kept: float
) -> str:
    tried = found[found["defense"] == QUORUM].drop_duplicates([*SETTING, *VOTES])
    tried = tables.span(tried.groupby(SETTING).size(), "{}")
    said = []
    for regime, here in taken(found, promised, least_kept).groupby("regime", sort=False):
        each = [
            f"{row.dataset} {f'{row.taken:.1%}' if row.taken else 'none'} ({row.list_length:.0f} items)"
            for row in here.itertuples()
        ]
        said.append(f"{regime} regime {', '.join(each)}")
    return (
        f"A quorum that keeps {percent(least_kept)} of NDCG@50 and HR@50 provably leaves a new item at most "
        f"{percent(tolerated)} of users, with so many fakes per real user and in lists of so many items (of "
        f"{tried} the best, in hindsight; {_seeds(found)}): {'; '.join(said)}."
    )


def _floors(found: pd.DataFrame, promised: pd.DataFrame, least_kept: float) -> str:
    """What floors promise of a new item: the most fakes that one takes."""
    most = promised.groupby("dataset")["min_ratings"].max()
    said = []
    for regime, here in taken(found, promised, least_kept, FLOOR).groupby("regime", sort=False):
        each = [
            f"{row.dataset} {'at least ' if row.min_ratings == most[row.dataset] else ''}{row.taken:.1%}"
            for row in here[here["taken"] > 0].itertuples()
        ]
        said.append(f"{regime} regime {', '.join(each) or 'none'}")
    return (
        f"A floor of ratings (*least support*) that keeps as much stops so many fakes from bringing a new item "
        f"to anybody, and promises nothing for an item that has these ratings: {'; '.join(said)}."
    )


def _broken(grown: pd.DataFrame, tolerated: float) -> Iterator[str]:
    """The attack that adds more than is tolerated to THR: undefended, closed form, strictest quorum."""
    thr = reached(grown, "lift")
    share = thr["quorum"] / thr["k"]
    thr = thr[thr["defense"].isin([UNDEFENDED, CLOSED_FORM]) | (share == share.max())]
    thr = thr.assign(label=thr["label"].replace(UNDEFENDED, "no defence"))
    sizes, most = sorted({*thr["attack_size"]} - {0.0}), thr["attack_size"].max()
    for regime, of_regime in thr.groupby("regime", sort=False):
        said = []
        for label, here in of_regime.groupby("label", sort=False):
            over = (
                here[here["mean"] > tolerated].groupby("dataset", sort=False)["attack_size"].min()
            )
            ends = [percent(each) for each in sorted(over)]
            ends += [f"beyond {percent(most)}"] * (len(over) < here["dataset"].nunique())
            said.append(f"{label} {' to '.join(dict.fromkeys([ends[0], ends[-1]]))}")
        yield (
            f"In the {regime} regime the fewest fakes per real user with a lift above {percent(tolerated)} are "
            f"(tried: {', '.join(map(percent, sizes))}; {_seeds(thr)}; by data set; a few attacks, 07's reach "
            f"more): {', '.join(said)}."
        )


def _seeds(rows: pd.DataFrame) -> str:
    n = rows["n"].max()
    return f"{n} seed{'s' if n > 1 else ''}"


def _left(found: pd.DataFrame, k: int) -> str:
    """How long lists are at one quorum, beside what any neighbours share."""
    lists = found[(found["metric"] == "list_length") & (found["defense"] == QUORUM)]
    lists = lists[lists["k"] == k]
    quorums = sorted(lists["quorum"].unique())
    middle = quorums[len(quorums) // 2]
    each = []
    for dataset, here in lists[lists["quorum"] == middle].groupby("dataset", sort=False):
        known = load_dataset(dataset)
        popular = (known.matrix.getnnz(axis=0) >= middle / k * known.n_users).sum()
        length = tables.span(here["mean"], "{:.1f}")
        each.append(f"{dataset} {length} ({popular}, {known.density:.1%})")
    return (
        f"With a quorum of {middle:.0f} of {k} neighbours a list of {LISTED} keeps so many items (in brackets how many "
        f"items {middle / k:.0%} of all users rated, and the share of cells that is known): "
        f"{', '.join(each)}."
    )


def _by_chance(agreed: pd.DataFrame) -> str:
    chance = [
        f"{row.dataset} ({row.regime} regime, {row.measured:.3f}, by chance {row.chance:.3f})"
        for row in agreed[agreed["by_chance"] >= 0.5].itertuples()
    ]
    where = ", ".join(chance) or "none"
    return f"Neighbours by {BY[LATENT]} agree between two trainings by chance on: {where}."
