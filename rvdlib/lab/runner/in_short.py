"""What the study found, in a few sentences of computed numbers: the first thing README says."""

import statistics
from collections.abc import Sequence

import pandas as pd

from rvdlib.lab.experiment.hyperparameters import chosen_defenses
from rvdlib.lab.runner.ledger import UNDECIDED, claims
from rvdlib.lab.runner.verdicts import span_of
from rvdlib.models import VICTIMS

RVD, SOLVED, BY_CHANCE = "RVD", "closed form", "random neighbours"
BOTH, RETRAINED = "closed form and quorum", "unobserved weight"
MEANING = {
    "rating": "models learn from observed ratings alone",
    "ranking": "what nobody rated counts as a weak zero, as in recommenders that are deployed",
}


def in_short(
    ledger: pd.DataFrame, held: pd.DataFrame, elsewhere: pd.DataFrame, remains: pd.DataFrame
) -> str:
    """Sentences in Markdown, a bullet each.

    Args:
        ledger: the tests of every claim, as :func:`rvdlib.lab.runner.verdicts.measured` finds them.
        held: 07's ``07_held.csv``, what defences hold under attackers who know them.
        elsewhere: 07's ``07_elsewhere.csv``, the same for other victims.
        remains: 11's ``11_lift_left.csv``, what the paper's attacks keep of their lift.
    """
    said = [_oblivious(ledger), _accuracy(ledger), _knowing(held), _neighbours(held)]
    said += [_time(ledger), _instead(held, remains), _elsewhere(elsewhere), _undecided(ledger)]
    return "\n".join(f"- {sentence}" for sentence in said)


def _medians(ledger: pd.DataFrame, name: str) -> pd.Series:
    return ledger[ledger["id"] == name].groupby("regime")["value"].median()


def _oblivious(ledger: pd.DataFrame) -> str:
    tests = ledger[ledger["id"] == "C1"]
    removed, counts = _medians(ledger, "C1"), tests["regime"].value_counts()
    each = ", ".join(
        f"{removed[regime]:.0%} of it in the *{regime} regime* ({MEANING[regime]}; {counts[regime]} tests)"
        for regime in MEANING
    )
    return (
        "**Attackers who do not know RVD.** *THR@50* is the share of real users who find a promoted item "
        f"among their first 50; what an attack adds to it is its *lift*. RVD removes, in the median, {each}."
    )


def _accuracy(ledger: pd.DataFrame) -> str:
    change = _medians(ledger, "C2")
    return (
        f"**Accuracy.** The metric that suffers most changes by {change['rating']:+.0%} in the rating regime, "
        f"by {change['ranking']:+.1%} in the ranking regime (medians)."
    )


def _level(held: pd.DataFrame, regime: str, metric: str = "target_hit_ratio") -> pd.Series:
    """Defence → mean over victims and target sets."""
    here = held[(held["regime"] == regime) & (held["metric"] == metric)]
    return here.groupby("defense")["mean"].mean()


def _knowing(held: pd.DataFrame) -> str:
    thr = {regime: _level(held, regime) for regime in MEANING}
    removed = _level(held, "ranking", "lift_removed")[RVD]
    return (
        f"**Attackers who know it** take THR@50 to {thr['rating'][RVD]:.3f} in the rating regime "
        f"(undefended {thr['rating']['none']:.3f}) and to {thr['ranking'][RVD]:.3f} in the ranking regime "
        f"({thr['ranking']['none']:.3f}), where RVD so removes {removed:.0%} of the lift."
    )


def _neighbours(held: pd.DataFrame) -> str:
    sizes = [
        chosen_defenses(regime, victim)[RVD]["choices"]["k"]
        for regime in MEANING
        for victim in VICTIMS
        if "k" in chosen_defenses(regime, victim)[RVD]["choices"]
    ]
    each = "; ".join(
        f"{_level(held, regime)[SOLVED]:.3f} and {_level(held, regime)[BY_CHANCE]:.3f} in the {regime} regime"
        for regime in MEANING
    )
    return (
        f"**Neighbours.** Chosen on validation items, RVD listens to {min(sizes)} to {max(sizes)} of 943 "
        f"users (median {statistics.median(sizes):.0f}). Whether they are the nearest matters in the ranking "
        "regime alone: under attackers who know it, RVD's closed form has THR@50, with the nearest and with "
        f"users drawn at random, {each}."
    )


def _time(ledger: pd.DataFrame) -> str:
    return f"**Time.** A request takes {span_of(ledger[ledger['id'] == 'C6'])} undefended."


def _instead(held: pd.DataFrame, remains: pd.DataFrame) -> str:
    thr, hit = _level(held, "rating"), _level(held, "rating", "hit_ratio")
    left = remains[(remains["kind"] == "the paper's") & (remains["regime"] == "ranking")]
    left = left[left["value"].notna()].set_index("defense")["value"]
    kept = 1 - _level(held, "ranking", "lift_removed")[BOTH]
    return (
        f"**What holds instead.** In the rating regime another training, *{RETRAINED}* on what nobody rated: "
        f"THR@50 {thr[RETRAINED]:.3f} at HR@50 {hit[RETRAINED]:.3f} (undefended {hit['none']:.3f}). In the "
        f"ranking regime *{BOTH}*, which serves only what enough neighbours rated: it leaves "
        f"{_reach(left.loc[[BOTH]])} of the lift of the paper's attacks (RVD {_reach(left.loc[[RVD]])}) and "
        f"{kept:.0%} of that of attackers who know it, in shorter lists."
    )


def _elsewhere(there: pd.DataFrame) -> str:
    level = there.groupby(["victim", "defense", "metric"], sort=False)["mean"].mean()
    bare = level.xs("none", level="defense").unstack()
    lifts = bare["target_hit_ratio"] - bare["target_hit_ratio_clean"]
    removed = level.xs(BOTH, level="defense").unstack()["lift_removed"]
    each = ", ".join(f"{removed[name]:.0%} with {name} ({lifts[name]:.3f})" for name in lifts.index)
    return (
        f"**Beyond MF.** Chosen for the victim itself, it removes, of the lift (in brackets) that "
        f"attackers have in the ranking regime who were searched with MF, {each}."
    )


def _reach(shares: pd.Series) -> str:
    return f"{shares.min():.0%} to {shares.max():.0%}"


def _undecided(ledger: pd.DataFrame) -> str:
    open_in = ledger[ledger["overall"] == UNDECIDED].groupby("id")["regime"].unique()
    several: Sequence[str] = [name for name in claims() if len(open_in.get(name, ())) == 2]
    return f"**Not settled** in either regime: {', '.join(several) or 'nothing'}."
