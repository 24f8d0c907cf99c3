"""What 10 opens with: which defence to take in each regime, and what combining adds, in words.

``table``, ``seeds``, ``means``, ``chosen`` and ``choice`` are those of
:mod:`rvdlib.lab.study.rivals_choice`.
"""

from collections.abc import Collection, Sequence

import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.runner.shown import FULL
from rvdlib.lab.study import tables
from rvdlib.lab.study.effects import CLOSED_FORM, RVD
from rvdlib.lab.study.rivals_choice import (
    ENOUGH,
    MORE_LOSS,
    Case,
    Choice,
    alike,
    both,
    levels,
    of_case,
    recommended,
)
from rvdlib.lab.study.rivals_claims import LESS, MORE, RATIO

SHORT = {"target_hit_ratio": "THR@50", "ndcg": "NDCG@50"}


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
    sentences, elsewhere = [], []
    for case, means in levels(table).items():
        choice, rest = recommended(means), [UNDEFENDED, RVD, CLOSED_FORM]
        advice, after = "no defence costs little enough", []
        if choice:
            rest = [name for name in rest if name != choice.taken]
            advice = _advice(choice, means)
            after = [
                _told(choice, means, alike(seeds, case, choice)),
                _by_others(choice, of_case(chosen, case)),
                _instead(
                    f"at a loss of {MORE_LOSS:.0%}", recommended(means, MORE_LOSS), choice, means
                ),
                _instead("for who needs stars", recommended(means, stars=True), choice, means),
            ]
            elsewhere.append(_with_others(of_case(others, case), case, choice.taken))
        said = "; ".join(filter(None, [advice, _named(means, rest), *after]))
        sentences.append(f"On {case[0]}, {case[1]} regime: {said}.")
    return tables.answer(*sentences, _elsewhere([*filter(None, elsewhere)]), _combining(kinds))


def _advice(choice: Choice, means: pd.DataFrame) -> str:
    held = means.loc[choice.taken]
    reason = {
        "ndcg": f"the most accurate of what removes {ENOUGH:.0%} of the lift",
        "target_hit_ratio": f"lowest of what costs little (none removes {ENOUGH:.0%} of the lift)",
    }[choice.metric]
    stars = ""
    if held["rmse_change"] > MORE_LOSS:
        stars = f" (RMSE {held['rmse']:.3f}, {held['rmse_change']:+.0%})"
    return (
        f"take *{choice.taken}*, {reason}: THR@50 {held['target_hit_ratio']:.3f} (NDCG@50 "
        f"{held['ndcg']:.3f}) under its worst attacker{_short(held)}{stars}"
    )


def _told(choice: Choice, means: pd.DataFrame, near: list[str]) -> str:
    metric = SHORT[choice.metric]
    if not near:
        return f"the seeds tell its {metric} from all others'"
    return f"its {metric} is not told from that of {_near(choice, means, near)}"


def _by_others(choice: Choice, others: pd.DataFrame) -> str:
    if others.empty:
        return ""
    same = (others["defense"] == choice.taken).sum()
    reached = both(others[[*SHORT]].mean())
    return f"where the other seeds choose, {reached}, {same} of {len(others)} alike"


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
    return f", in lists of {length:.0f}" if length < FULL else ""


def _instead(when: str, other: Choice | None, choice: Choice, means: pd.DataFrame) -> str:
    """What to take ``when`` something else counts, if it is another defence."""
    if not other or other.taken == choice.taken:
        return ""
    held = means.loc[other.taken]
    return f"{when} *{other.taken}* {both(held)}{_short(held)}"


def _named(means: pd.DataFrame, names: Collection[str]) -> str:
    """``*closed form* 0.106 (0.220)``: THR@50, and NDCG@50 in brackets, of each."""
    shown = means.loc[[*names]].rename({UNDEFENDED: "no defence"})
    return ", ".join(f"*{name}* {both(row)}" for name, row in shown.iterrows())


def _with_others(table: pd.DataFrame, case: Case, taken: str) -> str:
    """``0.847 to 0.997 becomes 0.004 to 0.017 (*quorum*; ml-100k, rating)``: THR@50 with other victims, which those
    attack who know nothing, without a defence and with this one."""
    kept = table[(table["metric"] == "oblivious") & table["defense"].isin([UNDEFENDED, taken])]
    by = kept.groupby(["victim", "defense"])["mean"].mean().unstack().dropna()
    if by.shape != (len(by), 2) or by.empty:
        return ""
    thr = f"{tables.span(by[UNDEFENDED])} becomes {tables.span(by[taken])}"
    return f"{thr} (*{taken}*; {', '.join(case)})"


def _elsewhere(said: Sequence[str]) -> str:
    if not said:
        return ""
    return f"With other victims, under attackers who do not know the defence to take, THR@50 of {'; of '.join(said)}."


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
        "A form of RVD after another defence lowers THR@50 below that of the better of the two, each under "
        "the worst attack that all three meet, by so much (below 0: raises it): after "
        f"{'; after '.join(said)}."
    )
