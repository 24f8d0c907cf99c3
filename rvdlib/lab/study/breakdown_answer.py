"""The answer of 09: what is promised at what price, what attacks reach, what limits both."""

import pandas as pd

from rvdlib.data import load_dataset
from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.study import tables
from rvdlib.lab.study.breakdown import LATENT, QUORUM, VOTES
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
        _promise(found, promised, tolerated, least_kept),
        _broken(grown, tolerated),
        _left(found, agreed),
    )


def _promise(
    found: pd.DataFrame, promised: pd.DataFrame, tolerated: float, least_kept: float
) -> str:
    regimes = []
    for regime, here in taken(found, promised, least_kept).groupby("regime", sort=False):
        each = []
        for row in here.itertuples():
            of = f"{row.quorum:.0f} of {row.k:.0f} by {BY[row.distance]}"
            none = f"none (at best {row.kept:.0%} is kept, {of})"
            each.append(f"{row.dataset} {f'{row.taken:.1%} ({of})' if row.taken else none}")
        regimes.append(f"in the {regime} regime {', '.join(each)}")
    tried = found[found["defense"] == QUORUM].drop_duplicates([*SETTING, *VOTES])
    tried = tables.span(tried.groupby(SETTING).size(), "{}")
    return (
        f"A quorum that keeps {percent(least_kept)} of NDCG@50 (the victim's or popularity's, whichever has "
        f"more) is proven to bring a new item to at most {percent(tolerated)} of users, whatever the fakes "
        f"do, up to so many fakes per real user (the best of {tried} quorums, {_seeds(found)}): "
        f"{'; '.join(regimes)}."
    )


def _broken(grown: pd.DataFrame, tolerated: float) -> str:
    """The attack at which THR exceeds what is tolerated: undefended, closed form, strictest quorum."""
    thr, regimes = reached(grown), []
    share = thr["quorum"] / thr["k"]
    thr = thr[thr["defense"].isin([UNDEFENDED, CLOSED_FORM]) | (share == share.max())]
    thr = thr.assign(label=thr["label"].replace(UNDEFENDED, "no defence"))
    sizes = sorted(thr["attack_size"].unique())
    for regime, of_regime in thr.groupby("regime", sort=False):
        each = []
        for dataset, here in of_regime.groupby("dataset", sort=False):
            told = []
            for label, line in here.groupby("label", sort=False):
                over = line.loc[line["mean"] > tolerated, "attack_size"]
                told.append(f"{label} {percent(over.min()) if len(over) else 'never'}")
            each.append(f"{dataset} {', '.join(told)}")
        regimes.append(f"in the {regime} regime {'; '.join(each)}")
    return (
        f"Under the strongest of a few attacks (07's searched ones reach more), neighbours by {BY[LATENT]}, "
        f"THR@50 first exceeds {percent(tolerated)} with so many fakes per real user, of "
        f"{', '.join(map(percent, sizes))} ({_seeds(thr)}): {'; '.join(regimes)}."
    )


def _seeds(rows: pd.DataFrame) -> str:
    n = rows["n"].max()
    return f"{n} seed{'s' if n > 1 else ''}"


def _left(found: pd.DataFrame, agreed: pd.DataFrame) -> str:
    """How long lists are at one quorum, beside what any neighbours share; where they agree by chance."""
    lists = found[(found["metric"] == "list_length") & (found["defense"] == QUORUM)]
    k = agreed["k"].iloc[0]
    lists = lists[lists["k"] == k]
    quorums = sorted(lists["quorum"].unique())
    middle = quorums[len(quorums) // 2]
    each = []
    for dataset, here in lists[lists["quorum"] == middle].groupby("dataset", sort=False):
        known = load_dataset(dataset)
        popular = (known.matrix.getnnz(axis=0) >= middle / k * known.n_users).sum()
        length = tables.span(here["mean"], "{:.1f}")
        each.append(f"{dataset} {length} ({popular}, {known.density:.1%})")
    chance = [
        f"{row.dataset} ({row.regime} regime, {row.measured:.3f}, by chance {row.chance:.3f})"
        for row in agreed[agreed["by_chance"] >= 0.5].itertuples()
    ]
    return (
        f"At {middle:.0f} of {k} a list has, of {LISTED} items (in brackets how many items {middle / k:.0%} of all "
        f"users rated, which neighbours drawn at random let pass, and the share of cells that is known): "
        f"{', '.join(each)}; neighbours by {BY[LATENT]} agree between two trainings by chance on: "
        f"{', '.join(chance) or 'none'}."
    )
