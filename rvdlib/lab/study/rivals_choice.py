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

from collections.abc import Collection
from typing import NamedTuple

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.study import adaptive, rivals, tables
from rvdlib.lab.study.adaptive import HARDENED
from rvdlib.lab.study.effects import CLOSED_FORM, RVD
from rvdlib.lab.study.rivals import ALONE, BOUND, CHAIN, HELD, SHOWN
from rvdlib.lab.study.rivals_claims import LESS, MORE, RATIO

FORMS = [RVD, CLOSED_FORM, HARDENED]
ENOUGH = 0.9  # of the lift
NAMED = 3  # of those that are not told apart, the nearest stand in the table
WHOLE = 49.5  # items: a list is shorter where some of its users' 50 places are empty
SHORT = {"target_hit_ratio": "THR@50", "ndcg": "NDCG@50"}
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


def recommended(means: pd.DataFrame, loss: float = adaptive.AFFORDABLE) -> Choice | None:
    """The defence to take, as the module has it, at this ``loss`` of accuracy; None if all cost more."""
    able = means[adaptive.accurate(means, loss) & (means["kind"] != BOUND)]
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
    return _of(seeds, case).groupby(["defense", "seed"])[metric].mean().unstack()


def _of(rows: pd.DataFrame, case: Case) -> pd.DataFrame:
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


def recommendations(table: pd.DataFrame, seeds: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """The defence to take in each regime, beside the undefended victim and the forms of RVD.

    Of what is ``chosen`` by the other seeds in a regime, the mean has a row.
    """
    found = []
    for case, means in levels(table).items():
        choice, others, names = recommended(means), _of(chosen, case), {}
        if choice:
            names[choice.taken] = "take this"
            names |= dict.fromkeys(alike(seeds, case, choice)[:NAMED], "not told apart from it")
        more = recommended(means, MORE_LOSS)
        if more and more.taken not in names:
            names[more.taken] = f"at a loss of {MORE_LOSS:.0%}"
        rows = [(says, name, means.loc[name]) for name, says in names.items()]
        if len(others):
            counts = others["defense"].value_counts().items()
            named = ", ".join(f"{name} ({n} of {len(others)})" for name, n in counts)
            rows.append(("chosen by the other seeds", named, others.mean(numeric_only=True)))
        rest = dict.fromkeys([UNDEFENDED, *FORMS])
        rows += [("–", name, means.loc[name]) for name in rest if name not in names]
        found += [(*case, says, name, *map(values.get, SHOWN)) for says, name, values in rows]
    index = ["dataset", "regime", "", "defence"]
    shown = pd.DataFrame(found, columns=[*index, *SHOWN]).set_index(index).dropna(axis=1, how="all")
    shown = shown.rename(columns=SHOWN).map(lambda value: tables.span([value]), na_action="ignore")
    return shown.fillna("–")


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
            found.append((*case, form, _both(own), *map(_listed, sides)))
    index, shown = ["dataset", "regime", "defence"], ["THR@50 (NDCG@50)", BEATEN, UNTOLD]
    return pd.DataFrame(found, columns=[*index, *shown]).set_index(index)


def _listed(beat: pd.DataFrame) -> str:
    return ", ".join(f"{name} {_both(row)}" for name, row in beat.iterrows()) or "none"


def _both(row: pd.Series) -> str:
    return f"{row['target_hit_ratio']:.3f} ({row['ndcg']:.3f})"


def answer(
    table: pd.DataFrame,
    seeds: pd.DataFrame,
    chosen: pd.DataFrame,
    kinds: pd.DataFrame,
    others: pd.DataFrame,
) -> str:
    """The answer of 10: what to take in each regime, and what combining adds.

    Args:
        kinds: as from :func:`rvdlib.lab.study.rivals_claims.gains`, of chains of a kind.
        others: of other victims what ``table`` is of this one.
    """
    sentences = []
    for case, means in levels(table).items():
        advice, rest = "no defence costs little enough", [UNDEFENDED, RVD, CLOSED_FORM]
        if choice := recommended(means):
            near = alike(seeds, case, choice)
            advice = _advice(choice, means, near, _of(chosen, case)) + _at_more(choice, means)
            rest = [name for name in rest if name != choice.taken]
        elsewhere = _with_others(_of(others, case), choice.taken) if choice else ""
        sentences.append(
            f"On {case[0]} in the {case[1]} regime {advice}; the others: {_named(means, rest)}."
            + elsewhere
        )
    return tables.answer(*sentences, _combining(kinds))


def _advice(choice: Choice, means: pd.DataFrame, near: list[str], others: pd.DataFrame) -> str:
    held, metric, left = means.loc[choice.taken], SHORT[choice.metric], ""
    reason = {
        "ndcg": f"the most accurate of what removes {ENOUGH:.0%} of the lift",
        "target_hit_ratio": f"lowest of what costs little (none removes {ENOUGH:.0%} of the lift)",
    }[choice.metric]
    if len(others):
        same = (others["defense"] == choice.taken).sum()
        reached = _both(others[[*SHORT]].mean())
        left = f", {reached} where the other seeds choose, {same} of {len(others)} alike"
    if held["rmse_change"] > MORE_LOSS:
        left += f" (RMSE {held['rmse']:.3f}, {held['rmse_change']:+.0%})"
    return (
        f"take *{choice.taken}*, {reason}: THR@50 {held['target_hit_ratio']:.3f} (NDCG@50 "
        f"{held['ndcg']:.3f}) under its worst attacker in hindsight{_short(held)}{left}; the seeds "
        + (
            f"do not tell its {metric} from that of {_near(choice, means, near)}"
            if near
            else f"tell its {metric} from all others"
        )
    )


def _near(choice: Choice, means: pd.DataFrame, near: list[str]) -> str:
    """Of those that are not told apart the one that is best in the other metric, and how many more."""
    there = means.loc[near]
    best = there["target_hit_ratio"].idxmin() if choice.metric == "ndcg" else there["ndcg"].idxmax()
    more = len(near) - 1
    which = {"ndcg": "with a higher THR@50", "target_hit_ratio": "less accurate"}[choice.metric]
    return _named(means, [best]) + f" and {more} more, {which}" * (more > 0)


def _short(held: pd.Series) -> str:
    """How many items its lists have, where they are shorter than others."""
    length = held["list_length"]
    return f", in lists of {length:.0f} items" if length < WHOLE else ""


def _at_more(choice: Choice, means: pd.DataFrame) -> str:
    """What who can afford to lose more accuracy takes, if it is another defence."""
    more = recommended(means, MORE_LOSS)
    if not more or more.taken == choice.taken:
        return ""
    held = means.loc[more.taken]
    return (
        f"; who accepts a loss of {MORE_LOSS:.0%} takes *{more.taken}* {_both(held)}{_short(held)}"
    )


def _named(means: pd.DataFrame, names: Collection[str]) -> str:
    """``*closed form* 0.106 (0.220)``: THR@50, and NDCG@50 in brackets, of each."""
    shown = means.loc[[*names]].rename({UNDEFENDED: "no defence"})
    return ", ".join(f"*{name}* {_both(row)}" for name, row in shown.iterrows())


def _with_others(table: pd.DataFrame, taken: str) -> str:
    """Of each other victim, which those attack who know nothing, what it holds without a defence and with."""
    kept = table[table["defense"].isin([UNDEFENDED, taken])]
    means = kept.groupby(["victim", "defense", "metric"], sort=False)["mean"].mean().unstack()
    said = [
        f"{_both(here.loc[victim, UNDEFENDED])} to {_both(here.loc[victim, taken])} ({victim})"
        for victim, here in means.groupby("victim", sort=False)
        if len(here) == 2
    ]
    if not said:
        return ""
    return (
        " With other victims, under who knows nothing of it, THR@50 (NDCG@50) goes from "
        f"{', '.join(said)}."
    )


def _combining(kinds: pd.DataFrame) -> str:
    if kinds.empty:
        return ""
    said = []
    for first, here in kinds[kinds["metric"] == RATIO].groupby("first", sort=False):
        gains = [
            f"{tables.format_interval(row.mean, row.low, row.high)} ({row.dataset}, {row.regime}"
            f"{', shown' if row.shown in (MORE, LESS) else ''})"
            for row in here.itertuples()
        ]
        said.append(f"{first} {', '.join(gains)}")
    return (
        "A form of RVD after a defence before or in training lowers THR@50 below that of the better of "
        "the two, each under the worst attack that all three meet, by so much (below 0: raises it): after "
        f"{'; after '.join(said)}."
    )
