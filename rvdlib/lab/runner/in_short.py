"""What the study found, in a few sentences of computed numbers: the first thing README says."""

from collections.abc import Callable

import pandas as pd

from rvdlib.lab.experiment.hyperparameters import REGIMES, RVD_HARDENED
from rvdlib.lab.runner.verdicts import span_of

RVD, SOLVED, BY_CHANCE = "RVD", "closed form", "random neighbours"
BOTH, RETRAINED = "closed form and quorum", "unobserved weight"
HARDENED, QUORUM = "closed form, hardened", "quorum"
EVERY, MORE = (
    "strongest with every target",
    "fewer targets, more by",
)  # fakes of 07_fewer_targets.csv


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
        _elsewhere(elsewhere),
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
    """What becomes of the ranking regime's defences where fakes rate one target or two; of ``07_fewer_targets.csv``."""
    level = fewer.groupby(["fakes", "defense"], sort=False)["mean"].mean()
    every, more = level[EVERY], level[MORE]
    named = {"none": "undefended"} | {
        name: f"*{name}*" for name in (SOLVED, HARDENED, RVD_HARDENED, QUORUM, BOTH)
    }
    each = [
        f"{named[name]} {every[name] + more[name]:.3f} instead of {every[name]:.3f}"
        for name in named
        if name in every
    ]
    sets = " and ".join(fewer["target_set"].unique())
    return (
        "Outside the protocol, which has every target in every fake, fakes that rate one each, or two, do more in the "
        f"ranking regime (ML-100K, MF, {fewer['n'].max()} other seeds; mean of {sets} targets): THR@50 "
        f"{', '.join(each)}."
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


def _elsewhere(there: pd.DataFrame) -> str:
    tests = there[(there["metric"] == "lowered") & there["defense"].isin([RVD_HARDENED, BOTH])]
    said = []
    for regime, here in tests.groupby("regime", sort=False):
        victims = here.groupby("dataset", sort=False)["victim"].unique()
        where = "; ".join(f"{dataset}: {', '.join(named)}" for dataset, named in victims.items())
        seeds = " to ".join(f"{n}" for n in sorted({here["n"].min(), here["n"].max()}))
        each = [
            f"*{name}* in {(own['low'] > 0).sum()} of {len(own)}, and higher in {(own['high'] < 0).sum()}"
            for name, own in here.groupby("defense", sort=False)
        ]
        said.append(f"*{regime.capitalize()} regime* ({where}; {seeds} seeds): {'; '.join(each)}.")
    return (
        "**Other victims, targets and data sets**, each defence under its strongest attacker (07): cases in which "
        "THR@50 is lower than undefended, by a 95 % interval that is not corrected for their number. "
        + " ".join(said)
    )


def _reach(shares: pd.Series) -> str:
    return f"{shares.min():.0%} to {shares.max():.0%}"
