"""What the cells of :mod:`rvdlib.lab.study.breakdown` say: tables."""

import bisect
import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from rvdlib.data import load_dataset
from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.statistics import summarise
from rvdlib.lab.study import tables
from rvdlib.lab.study.adaptive import under_strongest
from rvdlib.lab.study.breakdown import COUNT, FLOOR, LATENT, POPULARITY, QUORUM, RULE
from rvdlib.lab.study.effects import CLOSED_FORM
from rvdlib.theory.bagging import most_fakes
from rvdlib.theory.certificate import thr_bound

SETTING = ["dataset", "regime"]
SAMPLES, LISTED = (50, 100, 200, 400), 50
BOUND = "thr_bound_"  # columns of bounds: the attack size follows
GROWING = [UNDEFENDED, CLOSED_FORM, QUORUM, COUNT]  # what faces a growing attack, in this order
PROMISED = ["dataset", "k", "quorum", "min_ratings"]  # what a bound depends on
METRICS = ["hit_ratio", "ndcg", "list_length", "catalogue_share", "kept"]
SHOWN = {"kept": "accuracy kept", "list_length": "list length"}
BY = {
    LATENT: "latent vectors",
    "cosine": "latent vectors, cosine",
    "profile_overlap": "profile overlap",
}  # what neighbours are found by, as shown


def clean(rows: pd.DataFrame) -> pd.DataFrame:
    """Nobody attacks: means and intervals over seeds, of what each quorum and each floor serves.

    ``kept``: of NDCG@50 and of HR@50, whichever less is kept of; a share of the victim's or popularity's
    on the same seed, whichever has more.

    Returns:
        Columns dataset, regime, defense, k, quorum, distance, min_ratings, metric, mean, low, high, n;
        NaN is what a defence has no choice of.
    """
    rows = rows[rows["attack"] == "none"]
    rows = rows[rows["defense"].isin([UNDEFENDED, POPULARITY, QUORUM, FLOOR])]
    asked = rows.loc[rows["defense"] == POPULARITY, "dataset"]  # others are attacked only
    rows = rows[rows["dataset"].isin(asked)]
    by = [*SETTING, "seed"]
    ranked = ["ndcg", "hit_ratio"]
    plain = rows[rows["defense"].isin([UNDEFENDED, POPULARITY])]
    best = plain.groupby(by, sort=False)[ranked].max()
    best = best.reindex(pd.MultiIndex.from_frame(rows[by])).to_numpy()
    kept = (rows[ranked] / best).min(axis=1)
    rows = rows.assign(kept=kept, at=rows.groupby(SETTING, sort=False).ngroup())
    rows = rows.sort_values(
        ["at", "k", "quorum", "min_ratings"], na_position="first", kind="stable"
    )
    return summarise(rows, [*SETTING, "defense", *RULE], METRICS)


def bounds(found: pd.DataFrame, fakes: Sequence[float], tolerated: float) -> pd.DataFrame:
    """What each rule promises of a target that no real user rated.

    A quorum, nobody standing in more than k lists, by whatever distance: the theorem asks for no
    geometry. A floor lets nothing through that fewer have rated, and promises nothing beyond.

    Args:
        found: as from :func:`clean`.
        fakes: attack sizes, fakes per real user.
        tolerated: THR.

    Returns:
        Columns dataset, k, quorum, min_ratings; a column ``thr_bound_SIZE`` for each of ``fakes``; and
        ``taken``, the most fakes per real user, at most 1, with which the THR is still at most
        ``tolerated``.
    """
    asked = found.loc[found["defense"].isin([QUORUM, FLOOR]), PROMISED].drop_duplicates()
    promised = []
    for row in asked.to_dict("records"):
        n_users = load_dataset(row["dataset"]).n_users
        bound = _bound(row, n_users)
        for size in fakes:
            row[f"{BOUND}{size:g}"] = bound(math.floor(round(size * n_users, 9)))
        most = bisect.bisect_right(range(n_users + 1), tolerated, key=bound) - 1
        promised.append(row | {"taken": most / n_users})
    return pd.DataFrame(promised)


def _bound(rule: Mapping[str, float], n_users: int) -> Callable[[int], float]:
    """Number of fakes → the most THR that a new item can have."""
    if not math.isnan(rule["min_ratings"]):
        return lambda m: float(m >= rule["min_ratings"])
    limits = {"quorum": int(rule["quorum"]), "max_in_degree": int(rule["k"]), "n_users": n_users}
    return lambda m: float(thr_bound(0, m, **limits))


def table(found: pd.DataFrame, promised: pd.DataFrame) -> pd.DataFrame:
    """What a reader sees of :func:`clean` and :func:`bounds`: a row a data set, regime and rule.

    What is left stands side by side for each distance; what is promised is the same by any.
    """
    by = [*SETTING, "defense"]
    here = found.assign(defense=labelled(found).str.removeprefix(f"{QUORUM} "))
    rows = here[[*SETTING, "defense", "k", "quorum", "min_ratings"]].drop_duplicates(by)
    wide = rows.merge(promised, on=PROMISED, how="left").set_index(by)
    names = {
        name: f"THR ≤, {percent(float(name.removeprefix(BOUND)))} fakes"
        for name in promised
        if name.startswith(BOUND)
    }
    names["taken"] = "fakes taken"
    limits = wide[list(names)].map(lambda value: "–" if pd.isna(value) else f"{value:.3f}")
    left = {}
    for metric, name in SHOWN.items():
        for distance in found["distance"].dropna().unique():
            of = here["distance"].isna() | (here["distance"] == distance)
            of = here[of & (here["metric"] == metric)].set_index(by)
            left[f"{name}, {BY[distance]}"] = tables.with_interval(of)
    return pd.DataFrame(left, index=wide.index).fillna("–").join(limits.rename(columns=names))


def percent(share: float) -> str:
    """``2.5%``: as many digits as there are."""
    return f"{round(100 * share, 9):g}%"


def taken(
    found: pd.DataFrame, promised: pd.DataFrame, least_kept: float, rule: str = QUORUM
) -> pd.DataFrame:
    """The quorum, or the floor, with which a data set takes the most fakes: a row a data set and regime.

    Of those that keep at least ``least_kept`` of the accuracy, by the mean over seeds; equal ones by
    what is kept. Chosen in hindsight, on these very seeds.

    Returns:
        Columns dataset, regime, k, quorum, distance, min_ratings, kept, list_length, taken. Where none
        keeps enough, taken is 0 and the others are of the one that keeps the most.
    """
    kept = _means(found, promised, rule)[[*SETTING, *RULE, "kept", "list_length", "taken"]]
    kept.loc[kept["kept"] < least_kept, "taken"] = 0.0
    best = kept.sort_values(["taken", "kept"], ascending=False, kind="stable")
    return best.groupby(SETTING, sort=False).head(1).sort_index().reset_index(drop=True)


def drawn(found: pd.DataFrame, promised: pd.DataFrame, k: int) -> pd.DataFrame:
    """What is kept by the quorums of ``k`` neighbours, means over seeds.

    Columns dataset, regime, distance (as shown), quorum, taken, kept (a share).
    """
    means = _means(found[found["k"] == k], promised, QUORUM)
    means = means.assign(distance=means["distance"].map(BY))
    return means[[*SETTING, "distance", "quorum", "taken", "kept"]]


def _means(found: pd.DataFrame, promised: pd.DataFrame, rule: str) -> pd.DataFrame:
    """A row a quorum or a floor: the mean of each metric of :func:`clean`, and what is ``taken``."""
    here = found[found["defense"] == rule].set_index([*SETTING, *RULE, "metric"])["mean"]
    means = here.unstack(sort=False).reset_index()
    return means.merge(promised[[*PROMISED, "taken"]], on=PROMISED)


def growing(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50 and list length as the attack grows, each defence under its strongest attack.

    The strongest is chosen for each size and defence by the mean over these very seeds, which favours
    the attacker. Size 0 is nobody's attack; ``lift`` is THR@50 less that at size 0, on the same seed.

    Returns:
        Columns dataset, regime, attack_size, defense, k, quorum, distance, min_ratings, attack, metric
        (target_hit_ratio, lift, list_length, ndcg), mean, low, high, n.
    """
    by = [*SETTING, "attack_size", "defense", *RULE]
    attacked = rows[rows["attack"] != "none"]
    forms = attacked[[*SETTING, "defense", *RULE]].drop_duplicates()
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
    own = [*forms, "seed"]
    before = clean[[*own, "target_hit_ratio"]].rename(columns={"target_hit_ratio": "before"})
    strongest = strongest.merge(before, on=own, how="left")
    strongest["lift"] = strongest["target_hit_ratio"] - strongest.pop("before")
    metrics = ["target_hit_ratio", "lift", "list_length", "ndcg"]
    return summarise(strongest, [*by, "attack"], metrics)


def reached(grown: pd.DataFrame, metric: str = "target_hit_ratio") -> pd.DataFrame:
    """One metric of :func:`growing`, with ``label``, what a figure calls the defence."""
    here = grown[grown["metric"] == metric]
    return here.assign(label=labelled(here))


def labelled(grown: pd.DataFrame) -> pd.Series:
    """What a defence is called in tables and figures: *quorum 6 of 30*, *count of 30*, *least support 34*."""
    named = grown["defense"]
    for name, form in (("quorum", " {:.0f}"), ("k", " of {:.0f}"), ("min_ratings", " {:.0f}")):
        named = named + ["" if pd.isna(value) else form.format(value) for value in grown[name]]
    return named


def growth_table(grown: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric of :func:`growing`: a row a data set, regime and size, a column a defence."""
    here = grown[grown["metric"] == metric]
    sizes = here["attack_size"].map(percent)
    here = here.assign(defense=labelled(here), attack_size=sizes)
    return tables.wide(here, [*SETTING, "attack_size"], "defense").rename_axis(columns=None)


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
