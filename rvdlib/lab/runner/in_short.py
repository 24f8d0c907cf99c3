"""What the study found, in a few sentences of computed numbers: the first thing README says."""

import pandas as pd

from rvdlib.lab.experiment.hyperparameters import RVD_HARDENED
from rvdlib.lab.runner.ledger import UNDECIDED, claims
from rvdlib.lab.runner.verdicts import counted, span_of

RVD, SOLVED, BY_CHANCE = "RVD", "closed form", "random neighbours"
BOTH, RETRAINED = "closed form and quorum", "unobserved weight"
MEANING = {
    "rating": "models learn from observed ratings alone",
    "ranking": "what nobody rated counts as a weak zero, as in recommenders that are deployed",
}


def in_short(
    ledger: pd.DataFrame,
    held: pd.DataFrame,
    elsewhere: pd.DataFrame,
    remains: pd.DataFrame,
    accurate: pd.DataFrame,
) -> str:
    """Sentences in Markdown, a bullet each.

    Args:
        ledger: the tests of every claim, as :func:`rvdlib.lab.runner.verdicts.measured` finds them.
        held: 07's ``07_held.csv``, what defences hold under attackers who know them.
        elsewhere: 07's ``07_elsewhere.csv``, the same for other victims.
        remains: 11's ``11_lift_left.csv``, what the paper's attacks keep of their lift.
        accurate: its ``11_accuracy.csv``.
    """
    said = (
        _oblivious(ledger),
        _knowing(held),
        _neighbours(held),
        _time(ledger),
        _instead(held, remains, accurate),
        _elsewhere(elsewhere),
        _undecided(ledger),
    )
    return "\n".join(f"- {sentence}" for sentence in said)


def _medians(ledger: pd.DataFrame, name: str) -> pd.Series:
    return ledger[ledger["id"] == name].groupby("regime")["value"].median()


def _oblivious(ledger: pd.DataFrame) -> str:
    removed, change = _medians(ledger, "C1"), _medians(ledger, "C2")
    each = ", ".join(
        f"{removed[regime]:.0%} of it in the *{regime} regime* ({MEANING[regime]}), where the accuracy metric "
        f"that suffers most changes by {change[regime]:+.{decimals}%}"
        for regime, decimals in (("rating", 0), ("ranking", 1))
    )
    return (
        "**Attackers who do not know RVD.** *THR@50* is the share of real users who find a promoted item "
        f"among their first 50; what an attack adds to it is its *lift*. RVD removes, in the median, {each}."
    )


def _level(held: pd.DataFrame, regime: str, metric: str = "target_hit_ratio") -> pd.Series:
    """Defence → mean over victims and target sets."""
    here = held[(held["regime"] == regime) & (held["metric"] == metric)]
    return here.groupby("defense")["mean"].mean()


def _knowing(held: pd.DataFrame) -> str:
    thr = {regime: _level(held, regime) for regime in MEANING}
    removed = _level(held, "ranking", "lift_removed")[RVD]
    return (
        f"**The strongest attackers,** those who know RVD among them (ML-100K, MF), raise THR@50 to "
        f"{thr['rating'][RVD]:.3f} in the rating regime (undefended {thr['rating']['none']:.3f}) and to "
        f"{thr['ranking'][RVD]:.3f} in the ranking regime ({thr['ranking']['none']:.3f}), where RVD so removes "
        f"{removed:.0%} of the lift."
    )


def _neighbours(held: pd.DataFrame) -> str:
    thr = {regime: _level(held, regime) for regime in MEANING}
    each = "; ".join(
        f"{own[SOLVED]:.3f} and {own[BY_CHANCE]:.3f} in the {regime} regime"
        for regime, own in thr.items()
    )
    return (
        "**Is it the neighbourhood?** With a user's nearest neighbours, and with as many users drawn at random, "
        f"the closed form of RVD has, under the strongest attackers, THR@50 {each}."
    )


def _time(ledger: pd.DataFrame) -> str:
    span = span_of(ledger[ledger["id"] == "C6"])
    return f"**Time.** A request takes {span} undefended, both with a cache (MF)."


def _instead(held: pd.DataFrame, remains: pd.DataFrame, accurate: pd.DataFrame) -> str:
    thr, hit = _level(held, "rating"), _level(held, "rating", "hit_ratio")
    left = remains[(remains["kind"] == "the paper's") & (remains["regime"] == "ranking")]
    left = left[left["value"].notna()].set_index("defense")["value"]
    kept = 1 - _level(held, "ranking", "lift_removed")[[BOTH, RVD_HARDENED]]
    ranked = accurate[(accurate["regime"] == "ranking") & (accurate["metric"] == "hit_ratio")]
    hits = ranked.groupby(["defense", "dataset"])["value"].mean()
    lost = hits[BOTH] / hits["none"] - 1
    return (
        f"**What does best,** in hindsight. In the rating regime another training, *{RETRAINED}* on what "
        f"nobody rated: THR@50 {thr[RETRAINED]:.3f} at HR@50 {hit[RETRAINED]:.3f} (undefended "
        f"{hit['none']:.3f}). In the ranking regime *{BOTH}*, which serves only what enough neighbours rated: "
        f"it leaves {kept[BOTH]:.0%} of the strongest attackers' lift (RVD, where it was chosen against such, "
        f"{kept[RVD_HARDENED]:.0%}), and {_reach(left.loc[[BOTH]])} of that of the paper's attacks on "
        f"{left.loc[[BOTH]].size} data sets that have one (RVD {_reach(left.loc[[RVD]])}), and changes HR@50 by "
        f"{lost.min():.0%} to {lost.max():.0%}."
    )


def _elsewhere(there: pd.DataFrame) -> str:
    tests = there[(there["metric"] == "lift_removed") & there["defense"].isin([BOTH, RVD_HARDENED])]
    above, below = (tests["low"] > 0).sum(), (tests["high"] < 0).sum()
    victims = ", ".join(dict.fromkeys(there["victim"]))
    return (
        f"**Beyond MF** (ranking regime; {victims}): of {len(tests)} intervals of what "
        f"*{BOTH}* and *{RVD_HARDENED}* remove, by victim and targets, over three seeds, {above} lie above 0 "
        f"and {below} below."
    )


def _reach(shares: pd.Series) -> str:
    return f"{shares.min():.0%} to {shares.max():.0%}"


def _undecided(ledger: pd.DataFrame) -> str:
    open_in = ledger[ledger["overall"] == UNDECIDED].groupby("id")["regime"].nunique()
    said = []
    for name in (each for each in claims() if open_in.get(each, 0) == 2):
        own = ledger[ledger["id"] == name]
        shown, contrary = counted(own)
        said.append(f"{name} ({shown}, {contrary} of {len(own)})")
    return (
        "**Undecided** by our rule in both regimes, with the tests that show it, and its contrary: "
        f"{', '.join(said) or 'nothing'}."
    )
