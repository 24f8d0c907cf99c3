"""What the study found, in a few sentences of computed numbers: the first thing README says."""

from collections.abc import Callable

import pandas as pd

from rvdlib.lab.experiment.hyperparameters import REGIMES, RVD_HARDENED
from rvdlib.lab.runner.verdicts import span_of

RVD, SOLVED, BY_CHANCE = "RVD", "closed form", "random neighbours"
BOTH, RETRAINED = "closed form and quorum", "unobserved weight"
# Of 07_fewer_targets.csv: two kinds of ``fakes``, and the mean of all target sets.
STRONGEST, MORE, EVERY_SET = "strongest searched", "more than the strongest", "mean"
ELSEWHERE = (RVD_HARDENED, "closed form, hardened", BOTH)  # of 07_elsewhere.csv, who is named
SHOWN, SHORT = 50, 45  # items in a list, and below which its length is said


def in_short(
    ledger: pd.DataFrame,
    held: pd.DataFrame,
    elsewhere: pd.DataFrame,
    fewer: pd.DataFrame,
    remains: pd.DataFrame,
    accurate: pd.DataFrame,
) -> str:
    """Sentences in Markdown, a bullet each.

    Args:
        ledger: the tests of every claim, as :func:`rvdlib.lab.runner.verdicts.measured` finds them.
        held: 07's ``07_held.csv``, what defences hold under attackers who know them.
        elsewhere: 07's ``07_elsewhere.csv``, the same for other victims, targets and data sets.
        fewer: its ``07_fewer_targets.csv``, under fakes that do not rate every target.
        remains: 11's ``11_lift_left.csv``, what the paper's attacks keep of their lift.
        accurate: its ``11_accuracy.csv``.
    """
    said = (
        _oblivious(ledger),
        _knowing(held),
        f"**Fakes that rate fewer of the targets.** {fewer_targets(fewer)}",
        _neighbours(held),
        _time(ledger),
        _instead(held, remains, accurate),
        "**Other victims, targets and data sets**, each defence under its strongest attacker (07). "
        + elsewhere_of(elsewhere),
    )
    return "\n".join(f"- {sentence}" for sentence in said)


def _by_regime(say: Callable[[str], str]) -> str:
    return " ".join(f"*{regime.capitalize()} regime:* {say(regime)}." for regime in REGIMES)


def _oblivious(ledger: pd.DataFrame) -> str:
    removed, change = (
        ledger[ledger["id"] == name].groupby("regime")["value"].median() for name in ("C1", "C2")
    )
    each = _by_regime(
        lambda regime: (
            f"RVD removes {removed[regime]:.0%} of their lift; of the accuracy metrics the one that suffers "
            f"most changes by {change[regime]:+.1%}"
        )
    )
    return (
        f"**Attackers who do not know RVD** (medians over data sets and victims, attacks pooled; in the "
        f"rating regime RVD was chosen by RMSE alone). {each}"
    )


def _level(held: pd.DataFrame, regime: str, metric: str = "target_hit_ratio") -> pd.Series:
    """Defence → mean over victims and target sets."""
    here = held[(held["regime"] == regime) & (held["metric"] == metric)]
    return here.groupby("defense")["mean"].mean()


def _knowing(held: pd.DataFrame) -> str:
    def each(regime: str) -> str:
        thr, removed = _level(held, regime), _level(held, regime, "lift_removed")[RVD]
        clean = _level(held, regime, "target_hit_ratio_clean")["none"]
        return (
            f"THR@50 {thr[RVD]:.3f} with RVD, {thr['none']:.3f} without ({clean:.3f} where nobody attacks): "
            f"RVD removes {removed:.0%} of their lift"
        )

    return (
        "**The strongest attackers** that each meets, those who know RVD among them (ML-100K, MF, 07; in the "
        "ranking regime the mean of random and middling targets). "
        f"{_by_regime(each)}"
    )


def fewer_targets(fewer: pd.DataFrame) -> str:
    """What fakes reach that rate one target or two, and how much more that is; of ``07_fewer_targets.csv``."""
    both = fewer[fewer["target_set"] == EVERY_SET].set_index(["fakes", "defense"])
    more = both.loc[MORE].sort_values("mean", ascending=False, kind="stable")
    reached = both["mean"][STRONGEST] + more["mean"]
    each = [
        f"{'undefended' if name == 'none' else f'*{name}*'} {reached[name]:.3f} ({row['mean']:+.3f}{'↑' * bool(row['low'] > 0)})"
        for name, row in more.iterrows()
    ]
    return (
        "Fakes that rate one target each, or two, which the protocol leaves out, told of the hardened closed form whomever "
        f"they meet (ranking regime, ML-100K, MF, {more['n'].max()} other seeds): THR@50, and how much more than the "
        f"strongest searched attacker, ↑ by its interval: {', '.join(each)}."
    )


def _neighbours(held: pd.DataFrame) -> str:
    def each(regime: str) -> str:
        thr, hit = _level(held, regime), _level(held, regime, "hit_ratio")
        near, chance = (f"{thr[name]:.3f} ({hit[name]:.3f})" for name in (SOLVED, BY_CHANCE))
        return f"{near} with the nearest, {chance} with users drawn at random"

    return (
        "**Is it the neighbourhood?** THR@50 of RVD's closed form, each under its strongest attacker, and in "
        "brackets HR@50 where nobody attacks. "
        f"{_by_regime(each)}"
    )


def _time(ledger: pd.DataFrame) -> str:
    span = span_of(ledger[ledger["id"] == "C6"])
    return f"**Time.** A request takes {span} undefended, both with a cache (MF, 12); without one 14 has more."


def _instead(held: pd.DataFrame, remains: pd.DataFrame, accurate: pd.DataFrame) -> str:
    thr, hit = _level(held, "rating"), _level(held, "rating", "hit_ratio")
    kept = 1 - _level(held, "ranking", "lift_removed")
    named = ", ".join(f"*{name}* {kept[name]:.0%}" for name in (RVD, RVD_HARDENED, SOLVED, BOTH))
    left = remains[(remains["kind"] == "the paper's") & (remains["regime"] == "ranking")]
    left = left[left["value"].notna()].set_index("defense")["value"]
    ranked = accurate[(accurate["regime"] == "ranking") & (accurate["metric"] == "hit_ratio")]
    hits = ranked.groupby(["defense", "dataset"])["value"].mean()
    lost = hits[BOTH] / hits["none"] - 1
    return (
        f"**What does better.** *Rating regime:* another training, *{RETRAINED}*: THR@50 {thr[RETRAINED]:.3f} at "
        f"HR@50 {hit[RETRAINED]:.3f} (undefended HR@50 {hit['none']:.3f}). *Ranking regime:* of the strongest "
        f"attackers' lift is left: {named}. Of that of the paper's attacks *{BOTH}* leaves "
        f"{_reach(left.loc[[BOTH]])} on {left.loc[[BOTH]].size} data sets (RVD {_reach(left.loc[[RVD]])}, *{SOLVED}* "
        f"{_reach(left.loc[[SOLVED]])}), and changes HR@50 by {lost.min():.0%} to {lost.max():.0%} on {lost.size}."
    )


def elsewhere_of(there: pd.DataFrame) -> str:
    """In how many cases (of victims and target sets) the defences that are named are lower than undefended by
    their interval, and higher; of ``07_elsewhere.csv``, of no rows nothing."""
    if there.empty:
        return ""
    by = ["dataset", "regime", "defense"]
    length = there[there["metric"] == "list_length"].groupby(by)["mean"].mean()
    said = []
    tests = there[(there["metric"] == "lowered") & there["defense"].isin(ELSEWHERE)]
    for (dataset, regime), here in tests.groupby(["dataset", "regime"], sort=False):
        each = []
        for name, own in here.groupby("defense", sort=False):
            items = length.get((dataset, regime, name), SHOWN)
            short = f" (lists of {items:.0f} items)" * bool(items < SHORT)
            lower, higher = (own["low"] > 0).sum(), (own["high"] < 0).sum()
            each.append(f"*{name}*{short} {lower} and {higher} of {len(own)}")
        victims = ", ".join(here["victim"].unique())
        said.append(
            f"{dataset}, {regime} regime ({victims}; {here['n'].max()} seeds): {', '.join(each)}"
        )
    return (
        "In how many cases, of victims and target sets, THR@50 is lower than undefended and in how many higher, by 95 % "
        f"intervals that are not corrected for their number: {'; '.join(said)}."
    )


def _reach(shares: pd.Series) -> str:
    return f"{shares.min():.0%} to {shares.max():.0%}"
