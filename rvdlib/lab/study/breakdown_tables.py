"""What the cells of :mod:`rvdlib.lab.study.breakdown` say: tables, and the answer of 09."""

import bisect
import math
from collections.abc import Sequence

import pandas as pd

from rvdlib.data import load_dataset
from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.statistics import summarise
from rvdlib.lab.study import tables
from rvdlib.lab.study.adaptive import under_strongest
from rvdlib.lab.study.breakdown import COUNT, POPULARITY, QUORUM, VOTES
from rvdlib.lab.study.effects import CLOSED_FORM
from rvdlib.theory.bagging import most_fakes
from rvdlib.theory.certificate import thr_bound

SETTING = ["dataset", "regime"]
SAMPLES, LISTED = (50, 100, 200, 400), 50
BOUND = "thr_bound_"  # columns of bounds: the attack size follows
GROWING = [UNDEFENDED, CLOSED_FORM, QUORUM, COUNT]  # what faces a growing attack, in this order
METRICS = ["hit_ratio", "ndcg", "list_length", "catalogue_share", "kept"]
SHOWN = {
    "hit_ratio": "HR@50",
    "ndcg": "NDCG@50",
    "list_length": "list length",
    "kept": "NDCG@50 kept",
}


def clean(rows: pd.DataFrame) -> pd.DataFrame:
    """Nobody attacks: means and intervals over seeds, of what each quorum serves.

    ``kept``: NDCG@50, as a share of the victim's or popularity's on the same seed, whichever has more.

    Returns:
        Columns dataset, regime, defense, k, quorum, metric, mean, low, high, n; NaN are k and quorum
        of the undefended victim and of popularity.
    """
    rows = rows[rows["attack"] == "none"]
    rows = rows[rows["defense"].isin([UNDEFENDED, POPULARITY, QUORUM])]
    asked = rows.loc[rows["defense"] == POPULARITY, "dataset"]  # others are attacked only
    rows = rows[rows["dataset"].isin(asked)]
    by = [*SETTING, "seed"]
    best = rows[rows["defense"] != QUORUM].groupby(by, sort=False)["ndcg"].max().rename("best")
    rows = rows.join(best, on=by)
    kept = rows["ndcg"] / rows["best"]
    return summarise(rows.assign(kept=kept), [*SETTING, "defense", *VOTES], METRICS)


def bounds(found: pd.DataFrame, fakes: Sequence[float], tolerated: float) -> pd.DataFrame:
    """What each quorum promises of a target that no real user rated, nobody standing in more than k lists.

    Args:
        found: as from :func:`clean`.
        fakes: attack sizes, fakes per real user.
        tolerated: THR.

    Returns:
        Columns dataset, k, quorum; a column ``thr_bound_SIZE`` for each of ``fakes``; and ``taken``,
        the most fakes per real user, at most 1, with which the THR is still at most ``tolerated``.
    """
    asked = found.loc[found["defense"] == QUORUM, ["dataset", *VOTES]].drop_duplicates()
    promised = []
    for dataset, k, q in asked.itertuples(index=False, name=None):
        n_users = load_dataset(dataset).n_users
        limits = {"quorum": int(q), "max_in_degree": int(k), "n_users": n_users}

        def bound(m, limits=limits):
            return float(thr_bound(0, m, **limits))

        row = {"dataset": dataset, "k": k, "quorum": q}
        for size in fakes:
            row[f"{BOUND}{size:g}"] = bound(math.floor(round(size * n_users, 9)))
        most = bisect.bisect_right(range(n_users + 1), tolerated, key=bound) - 1
        promised.append(row | {"taken": most / n_users})
    return pd.DataFrame(promised)


def table(found: pd.DataFrame, promised: pd.DataFrame) -> pd.DataFrame:
    """What a reader sees of :func:`clean` and :func:`bounds`: a row a data set, regime and quorum."""
    here = found[found["metric"].isin(SHOWN)]
    shown = here.assign(shown=tables.with_interval(here))
    shown["defense"] = labelled(here).str.removeprefix(f"{QUORUM} ")
    by = [*SETTING, "defense"]
    order = shown[by].drop_duplicates().itertuples(index=False, name=None)
    wide = shown.pivot(index=by, columns="metric", values="shown").loc[list(order), list(SHOWN)]
    names = {
        name: f"THR ≤, {_percent(float(name.removeprefix(BOUND)))} fakes"
        for name in promised
        if name.startswith(BOUND)
    }
    names["taken"] = "fakes taken"
    asked = labelled(promised.assign(defense="")).str.strip()
    limits = promised.assign(defense=asked).set_index(["dataset", "defense"])[list(names)]
    of = [(dataset, defense) for dataset, _, defense in wide.index]
    limits = limits.reindex(of).set_axis(wide.index)
    limits = limits.map(lambda value: "–" if pd.isna(value) else f"{value:.3f}")
    return wide.rename(columns=SHOWN).join(limits.rename(columns=names)).rename_axis(columns=None)


def _percent(share: float) -> str:
    return f"{round(100 * share, 9):g}%"


def taken(found: pd.DataFrame, promised: pd.DataFrame, least_kept: float) -> pd.DataFrame:
    """The quorum with which a data set takes the most fakes: a row a data set and regime.

    Of those that keep at least ``least_kept`` of the accuracy, by the mean over seeds; equal ones by
    what is kept.

    Returns:
        Columns dataset, regime, k, quorum, kept, taken. Where no quorum keeps enough, taken is 0 and
        the others are of the quorum that keeps the most.
    """
    kept = found[(found["metric"] == "kept") & (found["defense"] == QUORUM)]
    kept = kept.rename(columns={"mean": "kept"})[[*SETTING, *VOTES, "kept"]]
    kept = kept.merge(promised[["dataset", *VOTES, "taken"]], on=["dataset", *VOTES])
    kept.loc[kept["kept"] < least_kept, "taken"] = 0.0
    best = kept.sort_values(["taken", "kept"], ascending=False, kind="stable")
    return best.groupby(SETTING, sort=False).head(1).sort_index().reset_index(drop=True)


def drawn(found: pd.DataFrame, promised: pd.DataFrame, k: int) -> pd.DataFrame:
    """Means of the quorums of ``k`` neighbours: dataset, regime, quorum, taken, kept, list_length."""
    here = found[(found["defense"] == QUORUM) & (found["k"] == k)]
    means = here.set_index([*SETTING, *VOTES, "metric"])["mean"].unstack(sort=False).reset_index()
    means = means.merge(promised[["dataset", *VOTES, "taken"]], on=["dataset", *VOTES])
    return means[[*SETTING, "quorum", "taken", "kept", "list_length"]]


def growing(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50 and list length as the attack grows, each defence under its strongest attack.

    The strongest is chosen for each size and defence by the mean over these very seeds, which favours
    the attacker. Size 0 is nobody's attack.

    Returns:
        Columns dataset, regime, attack_size, defense, k, quorum, attack, metric (target_hit_ratio,
        list_length, ndcg), mean, low, high, n.
    """
    by = [*SETTING, "attack_size", "defense", *VOTES]
    attacked = rows[rows["attack"] != "none"]
    forms = attacked[[*SETTING, "defense", *VOTES]].drop_duplicates()
    clean = rows[rows["attack"] == "none"].merge(forms, on=list(forms))
    places = {name: list(rows[name].unique()) for name in SETTING} | {"defense": GROWING}
    ordered = pd.concat([clean, attacked]).sort_values(
        [*SETTING, "attack_size", "defense"],
        key=lambda column: (
            column.map(places[column.name].index) if column.name in places else column
        ),
        kind="stable",
    )
    strongest = under_strongest(ordered, by, "attack")
    return summarise(strongest, [*by, "attack"], ["target_hit_ratio", "list_length", "ndcg"])


def reached(grown: pd.DataFrame) -> pd.DataFrame:
    """The target hit ratios of :func:`growing`, with ``label``, what a figure calls the defence."""
    here = grown[grown["metric"] == "target_hit_ratio"]
    return here.assign(label=labelled(here))


def labelled(grown: pd.DataFrame) -> pd.Series:
    """What a defence is called in tables and figures: *quorum 6 of 30*, *count of 30*."""
    quorum, of_k = (
        grown[name].map(form.format, na_action="ignore").fillna("")
        for name, form in (("quorum", " {:.0f}"), ("k", " of {:.0f}"))
    )
    return grown["defense"] + quorum + of_k


def growth_table(grown: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric of :func:`growing`: a row a data set, regime and size, a column a defence."""
    here = grown[grown["metric"] == metric]
    sizes = here["attack_size"].map(_percent)
    return tables.wide(
        here.assign(defense=labelled(here), attack_size=sizes),
        [*SETTING, "attack_size"],
        "defense",
    ).rename_axis(columns=None)


def agreement(retrained: pd.DataFrame) -> pd.DataFrame:
    """Agreement of neighbours between two trainings, beside chance: a row a data set and regime.

    Returns:
        Columns dataset, regime, k, measured, chance, above_chance and density, means over seeds;
        ``by_chance``: the share of seeds on which it is no more than chance.
    """
    numbers = ["measured", "chance", "above_chance", "by_chance", "density"]
    of = retrained.astype({"by_chance": float}).groupby([*SETTING, "k"], sort=False)
    return of[numbers].mean().reset_index()


def agreement_table(agreed: pd.DataFrame) -> pd.DataFrame:
    """What a reader sees of :func:`agreement`."""
    names = {"measured": "agreement", "chance": "by chance", "above_chance": "above chance"}
    shown = agreed.assign(
        **{
            "one cell known in": (1 / agreed["density"]).round(),
            "votes for an item, mean": agreed["k"] * agreed["density"],
            "seeds by chance": agreed["by_chance"].map("{:.0%}".format),
        }
    ).drop(columns=["density", "by_chance", "k"])
    return shown.rename(columns=names).set_index(SETTING).round(3)


def bagging(datasets: Sequence[str]) -> pd.DataFrame:
    """The most fakes, of real users, that PORE's certificate could stand if all its models agreed.

    A row a data set, a column the users that each model is trained on. A list has LISTED items, a model
    votes for one: the best case.
    """
    users = {name: load_dataset(name).n_users for name in datasets}
    found = {
        f"{sample} users a model": {
            name: f"{most_fakes(n, sample=sample, voted=1, k=LISTED) / n:.1%}"
            if sample < n
            else "–"
            for name, n in users.items()
        }
        for sample in SAMPLES
    }
    return pd.DataFrame(found).rename_axis("data set")


def answer(
    found: pd.DataFrame,
    promised: pd.DataFrame,
    grown: pd.DataFrame,
    agreed: pd.DataFrame,
    tolerated: float,
    least_kept: float,
) -> str:
    """The answer of 09: what is promised at what price, what attacks reach, where neighbours fail."""
    return tables.answer(
        _promise(taken(found, promised, least_kept), tolerated, least_kept),
        _reached(grown),
        _fewest(found, agreed),
    )


def _promise(best: pd.DataFrame, tolerated: float, least_kept: float) -> str:
    regimes = []
    for regime, here in best.groupby("regime", sort=False):
        each = [
            f"{row.dataset} {row.taken:.1%} ({row.quorum:.0f} of {row.k:.0f})"
            if row.taken
            else f"{row.dataset} none (at best {row.kept:.0%} is kept)"
            for row in here.itertuples()
        ]
        regimes.append(f"{', '.join(each)} in the {regime} regime")
    return (
        f"A quorum that keeps {_percent(least_kept)} of NDCG@50 (the victim's or popularity's, whichever has "
        f"more) is proven to bring a new item to at most {_percent(tolerated)} of users, whatever the fakes "
        f"do, up to so many fakes per real user: {'; '.join(regimes)}."
    )


def _reached(grown: pd.DataFrame) -> str:
    thr, told = reached(grown), []
    sizes = thr.loc[thr["attack_size"] > 0, "attack_size"]
    least, most = sizes.min(), sizes.max()
    for (dataset, regime), here in thr.groupby(SETTING, sort=False):
        means = here.pivot(index="label", columns="attack_size", values="mean")
        means = means.loc[here["label"].drop_duplicates()]
        each = [f"{name} {row[least]:.3f} → {row[most]:.3f}" for name, row in means.iterrows()]
        told.append(f"{', '.join(each)} ({dataset}, {regime} regime)")
    return (
        f"With {_percent(least)} → {_percent(most)} fakes ({_seeds(thr)}), under the stronger of a few attacks "
        f"(07's searched ones reach more), THR@50 is: {'; '.join(told)}."
    )


def _seeds(rows: pd.DataFrame) -> str:
    n = rows["n"].max()
    return f"{n} seed{'s' if n > 1 else ''}"


def _fewest(found: pd.DataFrame, agreed: pd.DataFrame) -> str:
    """Where lists run out first, and what is known there; where neighbours agree by chance."""
    lists = found[(found["metric"] == "list_length") & (found["defense"] == QUORUM)]
    lists = lists[lists["k"] == agreed["k"].iloc[0]]
    quorums = sorted(lists["quorum"].unique())
    middle = quorums[len(quorums) // 2]
    short = lists[lists["quorum"] == middle].sort_values("mean", kind="stable").iloc[0]
    here = agreed[(agreed["dataset"] == short["dataset"]) & (agreed["regime"] == short["regime"])]
    here = here.iloc[0]
    chance = [
        f"{row.dataset} ({row.regime} regime, {row.measured:.3f}, by chance {row.chance:.3f})"
        for row in agreed[agreed["by_chance"] >= 0.5].itertuples()
    ]
    return (
        f"At this quorum lists are shortest on {short['dataset']} ({short['mean']:.1f} of 50 items at {middle:.0f} of "
        f"{short['k']:.0f} in the {short['regime']} regime), where one cell in {1 / here['density']:.0f} is "
        f"known and an item has {here['k'] * here['density']:.1f} votes of {here['k']:.0f} neighbours on "
        f"average; neighbours agree between two trainings by chance on: {', '.join(chance) or 'none'}."
    )
