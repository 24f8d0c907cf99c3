"""Which rival a reader should take in each regime, and what beats the forms of RVD, computed from tables.

Of the defences whose HR@50 and NDCG@50 are at most 2 % below the undefended victim's and those of the
most popular items, those count that remove nine tenths of the lift of the strongest attack, and of
these the most accurate is taken, a combination only where no defence alone removes as much; where none
does, the one that removes most. Whoever takes what is best on the rows that a table reports chooses in
hindsight: so each seed is also served by what is best on the others (leave one seed out), under the
same attackers.
"""

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.study import adaptive, tables
from rvdlib.lab.study.effects import CLOSED_FORM, RVD
from rvdlib.lab.study.rivals import ALONE, BOUND, HELD, SHOWN

HARDENED = "closed form, hardened"
FORMS = [RVD, CLOSED_FORM, HARDENED]
ENOUGH = 0.9  # of the lift
METRICS = ["target_hit_ratio", *SHOWN]
BEATEN = "lower, and ranks at least as well"
Levels = dict[tuple[str, str], pd.DataFrame]  # (data set, regime) → a row a defence


def levels(table: pd.DataFrame) -> Levels:
    """For each data set and regime a row a defence: ``kind``, and metrics, means over victims.

    ``table`` as from :func:`rvdlib.lab.study.rivals.measured`.
    """
    found = {}
    for key, here in table.groupby(["dataset", "regime"], sort=False):
        kinds = here.drop_duplicates("defense").set_index("defense")["kind"]
        means = here.groupby(["defense", "metric"])["mean"].mean().unstack()
        found[key] = means.reindex(index=kinds.index, columns=METRICS).assign(kind=kinds)
    return found


def recommended(means: pd.DataFrame) -> str | None:
    """The defence to take, as the module has it; None if every one costs too much.

    ``means``: of a data set and regime, as from :func:`levels`.
    """
    able = means[adaptive.accurate(means) & (means["kind"] != BOUND)]
    able = able.drop(index=UNDEFENDED, errors="ignore")
    able = able.dropna(subset="lift_removed")
    if able.empty:
        return None
    enough = able[able["lift_removed"] >= ENOUGH]
    if enough.empty:
        return able["lift_removed"].idxmax()
    alone = enough[enough["kind"] == ALONE]
    taken = enough if alone.empty else alone
    return taken["ndcg"].idxmax()


def by_others(seeds: pd.DataFrame) -> pd.DataFrame:
    """For each seed the defence to take by all other seeds, and what it holds on this one.

    Args:
        seeds: as from :func:`rvdlib.lab.study.rivals.by_seed`; a data set of one seed is left out.

    Returns:
        Columns dataset, regime, seed, defense, and metrics.
    """
    tidy, found = seeds.melt([*HELD, "seed"], var_name="metric", value_name="mean"), []
    for (dataset, seed), own in tidy.groupby(["dataset", "seed"], sort=False):
        others = tidy[(tidy["dataset"] == dataset) & (tidy["seed"] != seed)]
        here = levels(own)
        for key, means in levels(others).items():
            if taken := recommended(means):
                found.append((*key, seed, taken, *here[key].loc[taken, METRICS]))
    return pd.DataFrame(found, columns=["dataset", "regime", "seed", "defense", *METRICS])


def recommendations(table: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """The defence to take in each regime, beside the undefended victim and the forms of RVD.

    Args:
        table: as from :func:`rvdlib.lab.study.rivals.measured`.
        chosen: as from :func:`by_others`; of each regime its mean over seeds has a row.
    """
    found = []
    for key, means in levels(table).items():
        taken, others = recommended(means), _of(chosen, *key)
        rows = [("take this", taken, means.loc[taken])] if taken else []
        if len(others):
            counts = others["defense"].value_counts().items()
            named = ", ".join(f"{name} ({n} of {len(others)})" for name, n in counts)
            rows.append(("chosen by the other seeds", named, others.mean(numeric_only=True)))
        rest = dict.fromkeys([UNDEFENDED, *FORMS])
        rows += [("–", name, means.loc[name]) for name in rest if name != taken]
        found += [(*key, says, name, *map(values.get, SHOWN)) for says, name, values in rows]
    index = ["dataset", "regime", "", "defence"]
    shown = pd.DataFrame(found, columns=[*index, *SHOWN]).set_index(index).dropna(axis=1, how="all")
    shown = shown.rename(columns=SHOWN).map(lambda value: tables.span([value]), na_action="ignore")
    return shown.fillna("–")


def better_than(table: pd.DataFrame) -> pd.DataFrame:
    """For each form of RVD, which defences alone have a lower THR@50 and rank at least as well.

    Returns:
        A row a data set, regime and form: its THR@50 under its worst attacker and its NDCG@50, and the
        same of whatever beats it in both, the lowest first.
    """
    found = []
    for key, means in levels(table).items():
        alone = means[means["kind"] == ALONE].drop(index=UNDEFENDED)
        for form in FORMS:
            own = alone.loc[form]
            lower = alone["target_hit_ratio"] < own["target_hit_ratio"]
            beat = alone[lower & (alone["ndcg"] >= own["ndcg"])]
            beat = beat.sort_values("target_hit_ratio", kind="stable")
            named = [f"{name} ({_both(row)})" for name, row in beat.iterrows()]
            found.append((*key, form, _both(own), "; ".join(named) or "none"))
    index, shown = ["dataset", "regime", "defence"], ["THR@50, NDCG@50", BEATEN]
    return pd.DataFrame(found, columns=[*index, *shown]).set_index(index)


def _both(row: pd.Series) -> str:
    return f"{row['target_hit_ratio']:.3f}, {row['ndcg']:.3f}"


def _of(chosen: pd.DataFrame, dataset: str, regime: str) -> pd.DataFrame:
    return chosen[(chosen["dataset"] == dataset) & (chosen["regime"] == regime)]


def answer(table: pd.DataFrame, chosen: pd.DataFrame, gained: pd.DataFrame) -> str:
    """The answer of 10: what to take in each regime, and what combining adds.

    Args:
        table: as from :func:`rvdlib.lab.study.rivals.measured`.
        chosen: as from :func:`by_others`.
        gained: as from :func:`rvdlib.lab.study.rivals.gains`.
    """
    sentences = []
    for (dataset, regime), means in levels(table).items():
        taken = recommended(means)
        shown = means.loc[[name for name in (UNDEFENDED, *FORMS) if name != taken]]
        shown = shown.rename({UNDEFENDED: "no defence"})
        beside = ", ".join(
            f"{name} {row['target_hit_ratio']:.3f} ({row['ndcg']:.3f})"
            for name, row in shown.iterrows()
        )
        advice = _advice(taken, means, _of(chosen, dataset, regime))
        sentences.append(f"On {dataset} in the {regime} regime {advice}; the others: {beside}.")
    return tables.answer(*sentences, _combining(gained))


def _advice(taken: str | None, means: pd.DataFrame, others: pd.DataFrame) -> str:
    if not taken:
        return "no defence costs little enough"
    held, left = means.loc[taken], ""
    most = "" if held["lift_removed"] >= ENOUGH else f"; none removes {ENOUGH:.0%}"
    if len(others):
        same, thr, ndcg = (
            (others["defense"] == taken).sum(),
            *others[["target_hit_ratio", "ndcg"]].mean(),
        )
        left = f"; a choice by the other seeds takes it on {same} of {len(others)}, and has {thr:.3f} ({ndcg:.3f})"
    return (
        f"*{taken}* is to be taken, in hindsight: it removes {held['lift_removed']:.0%} of the lift, the mean "
        f"of the seeds' shares{most}, with THR@50 {held['target_hit_ratio']:.3f} under its worst attacker and "
        f"NDCG@50 {held['ndcg']:.3f}{left}"
    )


def _combining(gained: pd.DataFrame) -> str:
    if gained.empty:
        return ""
    more = gained[gained["low"] > 0].sort_values("mean", ascending=False, kind="stable")
    most = "".join(f" (*{row.defense}* most, by {row.mean:.2f})" for row in more[:1].itertuples())
    return (
        f"Of {len(gained)} comparisons of a chain, a defence before or in training and then a form of "
        f"RVD, with the better of its two parts, {len(more)} show by an interval above 0 that the chain "
        f"removes more of the lift{most}, and {(gained['high'] < 0).sum()} that it removes less."
    )
