"""Which rival a reader should take in each regime, and what beats the forms of RVD, computed from tables.

Of the defences that cost no accuracy worth the name, those count that remove nine tenths of the lift
of the strongest attack, and of these the most accurate is taken, a combination only where no defence
alone removes as much; where none does, the one that removes most. For lists accuracy is HR@50 and NDCG@50, at most 2 % below the undefended victim's
and those of the most popular items; where predicted stars are shown it is RMSE, at most 5 % above.
"""

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.statistics import BETTER
from rvdlib.lab.study import adaptive, tables
from rvdlib.lab.study.effects import CLOSED_FORM, RVD
from rvdlib.lab.study.rivals import ALONE, BOUND, SHOWN, kind

HARDENED = "closed form, hardened"
FORMS = [RVD, CLOSED_FORM, HARDENED]
ENOUGH = 0.9  # of the lift
STARS = 0.05  # of RMSE, relative


def levels(table: pd.DataFrame, regime: str) -> pd.DataFrame:
    """A row a defence, columns ``kind`` and metrics: means over victims and target sets.

    ``table`` as from :func:`rvdlib.lab.study.rivals.measured`.
    """
    here = table[table["regime"] == regime]
    means = here.groupby(["defense", "metric"], sort=False)["mean"].mean().unstack(sort=False)
    names = list(dict.fromkeys(here["defense"]))
    return means.loc[names].assign(kind=[kind(regime, name) for name in names])


def recommended(means: pd.DataFrame, stars: bool = False) -> str | None:
    """The defence to take, as the module has it; None if every one costs too much.

    Args:
        means: as from :func:`levels`.
        stars: whether predicted stars are shown, and not lists alone.
    """
    affordable = means["rmse_change"] <= STARS if stars else adaptive.accurate(means)
    able = means[affordable & (means["kind"] != BOUND)].drop(index=UNDEFENDED, errors="ignore")
    if able.empty:
        return None
    metric = "rmse" if stars else "ndcg"
    enough = able[able["lift_removed"] >= ENOUGH]
    if enough.empty:
        return able["lift_removed"].idxmax()
    alone = enough[enough["kind"] == ALONE]
    taken = enough if alone.empty else alone
    return (BETTER[metric] * taken[metric]).idxmax()


def recommendations(table: pd.DataFrame) -> pd.DataFrame:
    """The defence to take in each case, beside the undefended victim and the forms of RVD."""
    found = []
    for regime in table["regime"].unique():
        means = levels(table, regime)
        cases = {"lists": False} | ({"predicted stars": True} if regime == "rating" else {})
        for case, stars in cases.items():
            taken = recommended(means, stars)
            for name in dict.fromkeys([taken, UNDEFENDED, *FORMS]):
                if name is None:
                    continue
                of = {metric: means.at[name, metric] for metric in SHOWN if metric in means}
                says = "take this" if name == taken else "–"
                found.append({"regime": regime, "shown": case, "": says, "defence": name} | of)
    shown = pd.DataFrame(found).set_index(["regime", "shown", "", "defence"])
    shown = shown.rename(columns=SHOWN).map(lambda value: tables.span([value]), na_action="ignore")
    return shown.fillna("–")


def better_than(table: pd.DataFrame) -> pd.DataFrame:
    """For each form of RVD, which defences alone have a lower THR@50 and rank at least as well.

    Returns:
        A row a regime and form: its THR@50 under its worst attacker and its NDCG@50, and the same of
        whatever beats it in both, the lowest first.
    """
    found = []
    for regime in table["regime"].unique():
        means = levels(table, regime)
        alone = means[means["kind"] == ALONE].drop(index=UNDEFENDED)
        for form in FORMS:
            own = alone.loc[form]
            lower = alone["target_hit_ratio"] < own["target_hit_ratio"]
            beat = alone[lower & (alone["ndcg"] >= own["ndcg"])]
            beat = beat.sort_values("target_hit_ratio", kind="stable")
            named = [f"{name} ({_both(row)})" for name, row in beat.iterrows()]
            found.append((regime, form, _both(own), "; ".join(named) or "none"))
    columns = ["regime", "defence", "THR@50, NDCG@50", "lower, and ranks at least as well"]
    return pd.DataFrame(found, columns=columns).set_index(columns[:2])


def _both(row: pd.Series) -> str:
    return f"{row['target_hit_ratio']:.3f}, {row['ndcg']:.3f}"


def answer(table: pd.DataFrame, gained: pd.DataFrame) -> str:
    """The answer of 10: what to take in each regime, and what combining adds.

    Args:
        table: as from :func:`rvdlib.lab.study.rivals.measured`.
        gained: as from :func:`rvdlib.lab.study.rivals.gains`.
    """
    regimes = table["regime"].unique()
    return tables.answer(*(_of_regime(table, regime) for regime in regimes), _combining(gained))


def _of_regime(table: pd.DataFrame, regime: str) -> str:
    means = levels(table, regime)
    thr, ndcg = means["target_hit_ratio"], means["ndcg"]
    forms = ", ".join(f"{name} {thr[name]:.3f} ({ndcg[name]:.3f})" for name in FORMS)
    taken = recommended(means)
    advice = "no defence ranks as well as the victim and the most popular items"
    if taken:
        share = means.at[taken, "lift_removed"]
        advice = (
            f"for lists *{taken}* does best in hindsight, with THR@50 {thr[taken]:.3f} under its worst attacker here at NDCG@50 "
            f"{ndcg[taken]:.3f} ({share:.0%} of the lift removed)"
        )
    stars = ""
    if regime == "rating":
        best = recommended(means, stars=True)
        stars = "; where predicted stars are shown, every defence costs more than 5 % of RMSE"
        if best:
            stars = (
                f"; where predicted stars are shown *{best}* does, with THR@50 {thr[best]:.3f} at RMSE "
                f"{means.at[best, 'rmse']:.3f} (undefended {means.at[UNDEFENDED, 'rmse']:.3f})"
            )
    return (
        f"In the {regime} regime, where undefended victims have THR@50 {thr[UNDEFENDED]:.3f} at NDCG@50 "
        f"{ndcg[UNDEFENDED]:.3f}, {advice}{stars}; beside these stand {forms}."
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
