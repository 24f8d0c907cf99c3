"""Which rival a reader should take in each regime, and what beats the forms of RVD, computed from tables.

Of the defences alone whose HR@50 and NDCG@50 are at most 2 % below the undefended victim's and those of
the most popular items, those count that remove nine tenths of the lift of the strongest attack, and of
these the most accurate is taken; where none does, the one with the lowest THR@50. Combinations do not
stand for choice: they meet fewer attackers. Whoever takes what is best on the rows that a table reports
chooses in hindsight: so it is said which others the seeds do not tell from it, and each seed is also
served by what is best on the others (leave one seed out), where the worst attackers are those of the
others, too.

Throughout, ``table`` is what :func:`rvdlib.lab.study.rivals.measured` makes of the ``seeds`` of
:func:`rvdlib.lab.study.rivals.by_seed`, both of the one victim that is attacked in earnest, ``means`` one
data set and regime of :func:`levels`, and ``chosen`` as from :func:`by_others`.
"""

from typing import NamedTuple

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.runner.in_short import EQUAL, FIRST, OF_STARS
from rvdlib.lab.study import adaptive, rivals, tables
from rvdlib.lab.study.adaptive import HARDENED
from rvdlib.lab.study.effects import CLOSED_FORM, RVD
from rvdlib.lab.study.rivals import ALONE, BOUND, CHAIN, HELD, SHOWN

FORMS = [RVD, CLOSED_FORM, HARDENED]
ENOUGH = 0.9  # of the lift
NAMED = 3  # of those that are not told apart, the nearest stand in the table
METRICS = ["target_hit_ratio", *SHOWN]
BEATEN = f"lower, at an NDCG@50 that is at most {adaptive.AFFORDABLE:.0%} lower"
MORE_LOSS = 0.05  # of accuracy, for who can afford it
UNTOLD = "the same, but lower by means that the seeds do not tell apart"
Case = tuple[str, str]  # data set, regime
Levels = dict[Case, pd.DataFrame]  # a row a defence


class Choice(NamedTuple):
    """The defence ``taken``: of all in ``among`` the best in ``metric``."""

    taken: str
    metric: str
    among: list[str]


def levels(table: pd.DataFrame) -> Levels:
    """For each data set and regime a row a defence alone: ``kind``, and metrics, means over target sets."""
    found = {}
    for key, here in table[table["kind"] != CHAIN].groupby(["dataset", "regime"], sort=False):
        kinds = here.drop_duplicates("defense").set_index("defense")["kind"]
        means = here.groupby(["defense", "metric"])["mean"].mean().unstack()
        found[key] = means.reindex(index=kinds.index, columns=METRICS).assign(kind=kinds)
    return found


def recommended(
    means: pd.DataFrame, loss: float = adaptive.AFFORDABLE, stars: bool = False
) -> Choice | None:
    """The defence to take, as the module has it, at this ``loss`` of accuracy; None if all cost more.

    ``stars``: its RMSE may not be higher by more, either.
    """
    able = means[adaptive.accurate(means, loss) & (means["kind"] != BOUND)]
    if stars:
        able = able[able["rmse_change"] <= loss]
    able = able.drop(index=UNDEFENDED, errors="ignore")
    if able.empty:
        return None
    enough = able[able["lift_removed"] >= ENOUGH]
    if enough.empty:
        return Choice(able["target_hit_ratio"].idxmin(), "target_hit_ratio", [*able.index])
    return Choice(enough["ndcg"].idxmax(), "ndcg", [*enough.index])


def alike(seeds: pd.DataFrame, case: Case, choice: Choice) -> list[str]:
    """Those that the seeds do not tell from what is taken, the nearest first.

    Of those it was taken from; where it has the lowest THR@50, the undefended victim may be one.
    """
    costs = _by_seed(seeds, case, choice.metric) * (-1 if choice.metric == "ndcg" else 1)
    among = [*choice.among, *[UNDEFENDED] * (choice.metric != "ndcg")]
    order = costs.loc[among].mean(axis=1).sort_values(kind="stable").index
    return adaptive.alike(costs, choice.taken, order)


def _by_seed(seeds: pd.DataFrame, case: Case, metric: str) -> pd.DataFrame:
    """A row a defence, a column a seed; means over target sets."""
    return of_case(seeds, case).groupby(["defense", "seed"])[metric].mean().unstack()


def of_case(rows: pd.DataFrame, case: Case) -> pd.DataFrame:
    """The rows of one data set and regime."""
    return rows[(rows["dataset"] == case[0]) & (rows["regime"] == case[1])]


def by_others(rows: pd.DataFrame) -> pd.DataFrame:
    """For each seed the defence to take by all other seeds, and what it holds on this one.

    The choice knows nothing of the seed, not even who attacks worst on it. What it holds is, as of
    any defence in the tables, under the attacker who is worst on all seeds.

    Args:
        rows: as from :func:`rvdlib.lab.study.rivals.run`; a data set of one seed is left out.

    Returns:
        Columns dataset, regime, seed, defense, and metrics.
    """
    found = []
    for _, here in rows.groupby("dataset", sort=False):
        held = rivals.by_seed(here)
        for seed in dict.fromkeys(held["seed"]) if held["seed"].nunique() > 1 else ():
            own = levels(_tidy(held[held["seed"] == seed]))
            others = levels(_tidy(rivals.by_seed(here[here["seed"] != seed])))
            for case, means in others.items():
                if choice := recommended(means):
                    found.append((*case, seed, choice.taken, *own[case].loc[choice.taken, METRICS]))
    return pd.DataFrame(found, columns=["dataset", "regime", "seed", "defense", *METRICS])


def _tidy(seeds: pd.DataFrame) -> pd.DataFrame:
    return seeds.melt([*HELD, "seed"], var_name="metric", value_name="mean")


def advice(table: pd.DataFrame, seeds: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """The defence to take in each regime, beside the undefended victim and the forms of RVD.

    Of what is ``chosen`` by the other seeds in a regime, the mean has a row.

    Returns:
        Columns dataset, regime, says (why it stands here), defense, and metrics.
    """
    found = []
    for case, means in levels(table).items():
        choice, others, names = recommended(means), of_case(chosen, case), {}
        if choice:
            names[choice.taken] = FIRST
            names |= dict.fromkeys(alike(seeds, case, choice)[:NAMED], EQUAL)
        for says, other in (
            (f"at a loss of {MORE_LOSS:.0%}", recommended(means, MORE_LOSS)),
            (OF_STARS, recommended(means, stars=True)),
        ):
            if other:
                names.setdefault(other.taken, says)
        rows = [(says, name, means.loc[name]) for name, says in names.items()]
        if len(others):
            counts = others["defense"].value_counts().items()
            named = ", ".join(f"{name} ({n} of {len(others)})" for name, n in counts)
            rows.append(("chosen by the other seeds", named, others.mean(numeric_only=True)))
        rest = dict.fromkeys([UNDEFENDED, *FORMS])
        rows += [("for comparison", name, means.loc[name]) for name in rest if name not in names]
        found += [(*case, says, name, *map(values.get, METRICS)) for says, name, values in rows]
    return pd.DataFrame(found, columns=["dataset", "regime", "says", "defense", *METRICS])


def advice_shown(advice: pd.DataFrame) -> pd.DataFrame:
    """:func:`advice` as a reader sees it."""
    index = ["dataset", "regime", "says", "defense"]
    shown = advice.set_index(index)[[*SHOWN]].dropna(axis=1, how="all").rename(columns=SHOWN)
    shown = shown.map(lambda value: tables.span([value]), na_action="ignore").fillna("–")
    return shown.rename_axis(index=["dataset", "regime", "", "defence"])


def better_than(table: pd.DataFrame, seeds: pd.DataFrame) -> pd.DataFrame:
    """For each form of RVD, which defences alone have a lower THR@50 and rank nearly as well, or better.

    Returns:
        A row a data set, regime and form: its THR@50 under its worst attacker and its NDCG@50, and the
        same of whatever beats it in both, the lowest first: what the seeds show to be lower (an
        interval of paired differences of THR@50 below 0), and the others.
    """
    found = []
    for case, means in levels(table).items():
        thr = _by_seed(seeds, case, "target_hit_ratio")
        alone = means[means["kind"] == ALONE].drop(index=UNDEFENDED)
        for form in FORMS:
            own = alone.loc[form]
            lower = alone["target_hit_ratio"] < own["target_hit_ratio"]
            beat = alone[lower & (alone["ndcg"] >= (1 - adaptive.AFFORDABLE) * own["ndcg"])]
            beat = beat.sort_values("target_hit_ratio", kind="stable")
            untold = {name for name in beat.index if adaptive.alike(thr, name, [form])}
            sides = beat.drop(index=untold), beat[beat.index.isin(untold)]
            found.append((*case, form, both(own), *map(_listed, sides)))
    index, shown = ["dataset", "regime", "defence"], ["THR@50 (NDCG@50)", BEATEN, UNTOLD]
    return pd.DataFrame(found, columns=[*index, *shown]).set_index(index)


def _listed(beat: pd.DataFrame) -> str:
    return ", ".join(f"{name} {both(row)}" for name, row in beat.iterrows()) or "none"


def both(row: pd.Series) -> str:
    """THR@50, and NDCG@50 in brackets."""
    return f"{row['target_hit_ratio']:.3f} ({row['ndcg']:.3f})"
