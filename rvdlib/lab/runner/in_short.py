"""What the study found, in a few sentences of computed numbers, and its two tables: README's first page."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from rvdlib.lab.experiment.hyperparameters import REGIMES, RVD_HARDENED
from rvdlib.lab.runner.ledger import HOLDS, UNDECIDED, claims
from rvdlib.lab.runner.shown import FULL, length_of
from rvdlib.lab.runner.verdicts import markdown, span_of
from rvdlib.lab.statistics import interval_of

RVD, SOLVED, BY_CHANCE = "RVD", "closed form", "random neighbours"
HARDENED, BOTH, RETRAINED = "closed form, hardened", "closed form and quorum", "unobserved weight"
# Of 10_advice.csv, which of them one may take.
FIRST, EQUAL, OF_STARS = "take this", "not told apart from it", "where stars must be right"
# Of 07_fewer_targets.csv: two kinds of ``fakes``, and the mean of all target sets.
STRONGEST, MORE, EVERY_SET = "strongest searched", "more than the strongest", "mean"
ATTACKED = (RVD, RVD_HARDENED, SOLVED, BY_CHANCE, HARDENED, BOTH, "quorum", "count", RETRAINED)
BY_CHOICE = ["defense", "chosen_on"]  # of carried_over.csv
ELSEWHERE = (RVD_HARDENED, HARDENED, BOTH)  # of 07_elsewhere.csv, who is named


def in_short(
    ledger: pd.DataFrame,
    held: pd.DataFrame,
    fewer: pd.DataFrame,
    remains: pd.DataFrame,
    accurate: pd.DataFrame,
    advice: pd.DataFrame,
    carried: pd.DataFrame,
    searched: Mapping[str, Sequence[str]],
) -> str:
    """Sentences in Markdown, a bullet each.

    Args:
        ledger: the tests of every claim, as :func:`rvdlib.lab.runner.verdicts.measured` finds them.
        held: 07's ``07_held.csv``, what defences hold under attackers who know them.
        fewer: its ``07_fewer_targets.csv``, under fakes that do not rate every target.
        remains: 11's ``11_lift_left.csv``, what the paper's attacks keep of their lift.
        accurate: its ``11_accuracy.csv``.
        advice: 10's ``10_advice.csv``, which defence to take.
        carried: ``results/search/carried_over.csv``, RVD as chosen on ML-100K and as chosen on the data set.
        searched: regime → the data sets that RVD's forms were chosen on, as
            :func:`rvdlib.lab.experiment.hyperparameters.searched_on` has it.
    """
    said = (
        _verdicts(ledger),
        _oblivious(ledger),
        f"**Choices.** {carried_over(carried, searched)}",
        _knowing(held),
        _taken(held, fewer, advice),
        _papers(remains, accurate),
        f"**Fakes outside the protocol.** {fewer_targets(fewer)}",
        _neighbours(held),
        _time(ledger),
    )
    return "\n".join(f"- {sentence}" for sentence in said)


def _by_regime(say: Callable[[str], str]) -> str:
    return " ".join(f"*{regime.capitalize()} regime:* {say(regime)}." for regime in REGIMES)


def _verdicts(ledger: pd.DataFrame) -> str:
    """How many verdicts there are of each kind, on the paper's claims, and which they are."""
    asked = {name for name, claim in claims().items() if not claim.question}
    one = ledger[ledger["id"].isin(asked)].drop_duplicates(["id", "regime"])
    count = one["overall"].value_counts()
    kinds = [
        f"{count[verdict]} *{verdict}*"
        + f" ({', '.join(f'{row.id} {row.regime}' for row in here.itertuples())})"
        * (verdict not in (UNDECIDED, HOLDS))
        for verdict, here in one.groupby("overall", sort=False)
    ]
    by_count = sorted(kinds, key=lambda kind: -int(kind.split()[0]))
    return (
        f"**Verdicts** on the paper's {one['id'].nunique()} claims, by regime (of {len(one)}): "
        f"{', '.join(by_count)}."
    )


def _oblivious(ledger: pd.DataFrame) -> str:
    removed, change = (
        ledger[ledger["id"] == name].groupby("regime")["value"].median() for name in ("C1", "C2")
    )
    each = _by_regime(
        lambda regime: (
            f"RVD removes {removed[regime]:.0%} of their lift, and of the accuracy metrics the one that "
            f"suffers most changes by {change[regime]:+.1%}"
        )
    )
    return (
        "**Attackers who do not know RVD** (medians over data sets and victims; in the rating regime RVD was "
        f"chosen by RMSE alone). {each}"
    )


def _level(held: pd.DataFrame, regime: str, metric: str = "target_hit_ratio") -> pd.Series:
    """Defence → mean over victims and target sets."""
    here = held[(held["regime"] == regime) & (held["metric"] == metric)]
    return here.groupby("defense")["mean"].mean()


def _knowing(held: pd.DataFrame) -> str:
    removed = {regime: _level(held, regime, "lift_removed")[RVD] for regime in REGIMES}
    each = " and ".join(f"{removed[regime]:.0%} in the {regime} regime" for regime in REGIMES)
    return (
        "**The strongest attackers**, those who know RVD among them: it removes "
        f"{each} (MF, ML-100K; first table below)."
    )


def _taken(held: pd.DataFrame, fewer: pd.DataFrame, advice: pd.DataFrame) -> str:
    """What one would take of 10's advice for ML-100K; of its equals, who lets fewest through outside the protocol."""
    own = advice[advice["dataset"] == "ml-100k"]

    def those(regime: str, *says: str) -> list[str]:
        return [*own.loc[(own["regime"] == regime) & own["says"].isin(says), "defense"]]

    reached = _reached(fewer)["now"]
    equal = those("ranking", FIRST, EQUAL)
    least = min((name for name in equal if name in reached), key=lambda name: reached[name])
    thr, hit, removed = (
        {regime: _level(held, regime, metric) for regime in REGIMES}
        for metric in ("target_hit_ratio", "hit_ratio", "lift_removed")
    )
    first, stars = those("rating", FIRST)[0], those("rating", OF_STARS)
    instead = f", or a *{stars[0]}* where stars must be right" if stars else ""
    others = ", ".join(f"*{name}*" for name in equal if name != least)
    return (
        f"**What we would take.** *Rating regime:* another training, *{first}* (THR@50 "
        f"{thr['rating'][first]:.3f} at HR@50 {hit['rating'][first]:.3f}, undefended {thr['rating']['none']:.3f} at "
        f"{hit['rating']['none']:.3f}){instead}. *Ranking regime:* *{least}* removes {removed['ranking'][least]:.0%} of the "
        f"strongest attackers' lift; the seeds of 10 do not tell {others} from it, but outside the protocol it lets "
        "the least through on average. Both are hindsight."
    )


def _papers(remains: pd.DataFrame, accurate: pd.DataFrame) -> str:
    left = remains[(remains["kind"] == "the paper's") & (remains["regime"] == "ranking")]
    left = left[left["value"].notna()].set_index("defense")["value"]
    ranked = accurate[(accurate["regime"] == "ranking") & (accurate["metric"] == "hit_ratio")]
    hits = ranked.groupby(["defense", "dataset"])["value"].mean()
    lost = hits[BOTH] / hits["none"] - 1
    return (
        f"**The paper's attacks on all data sets**, ranking regime: *{BOTH}* leaves {_reach(left.loc[[BOTH]])} of their "
        f"lift on {left.loc[[BOTH]].size} data sets (RVD {_reach(left.loc[[RVD]])}, *{SOLVED}* "
        f"{_reach(left.loc[[SOLVED]])}), and changes HR@50 by {lost.min():.0%} to {lost.max():.0%} on {lost.size}."
    )


def _reached(fewer: pd.DataFrame) -> pd.DataFrame:
    """Defence → THR@50 ``before``, under the strongest searched, and under fakes that rate one target or two."""
    both = fewer[fewer["target_set"] == EVERY_SET].set_index(["fakes", "defense"])["mean"]
    return pd.DataFrame({"before": both[STRONGEST], "now": both[STRONGEST] + both[MORE]})


def fewer_targets(fewer: pd.DataFrame) -> str:
    """What fakes reach that rate one target or two, and what every target; of ``07_fewer_targets.csv``."""
    reached = _reached(fewer)
    each = [
        f"*{name}* {reached.now[name]:.3f} instead of {reached.before[name]:.3f}"
        for name in (HARDENED, RVD_HARDENED, SOLVED, BOTH)
        if name in reached.index
    ]
    more = fewer[(fewer["target_set"] == EVERY_SET) & (fewer["fakes"] == MORE)]
    rest = ", ".join(
        "no defence" if name == "none" else f"*{name}*"
        for name in more.loc[more["low"] <= 0, "defense"]
    )
    return (
        "Fakes that rate only one of the targets each, or two, and were told of the hardened closed form reach more than "
        f"the strongest attacker whom we searched (ranking regime, {fewer['n'].max()} other seeds): THR@50 "
        f"{', '.join(each)}; not more, by their intervals, against {rest}."
    )


def carried_over(carried: pd.DataFrame, searched: Mapping[str, Sequence[str]]) -> str:
    """What RVD's forms remove of the lift as chosen on ML-100K, and on the data set; of ``carried_over.csv``."""
    where = "; ".join(f"{regime} regime: {', '.join(names)}" for regime, names in searched.items())
    carried = carried.fillna({"chosen_on": ""})  # undefended
    (dataset,) = carried["dataset"].unique()
    seeds, victims = carried["seed"].nunique(), carried["victim"].nunique()
    lifts = carried.pivot_table("target_hit_ratio", ["victim", "seed", *BY_CHOICE], "attack")
    lifts = lifts.drop(columns="none").sub(lifts["none"], axis=0).sum(axis=1)
    pooled = lifts.groupby(["seed", *BY_CHOICE]).sum().unstack(BY_CHOICE)
    removed = 1 - pooled.div(pooled["none", ""], axis=0)
    ndcg, said = carried[carried["attack"] == "none"].groupby(BY_CHOICE)["ndcg"].mean(), []
    for name in (RVD, SOLVED):
        there, before = (
            "{:.0%} [{:.0%}, {:.0%}]".format(*interval_of("lift_removed", removed[name, at])[:3])
            for at in (dataset, "ml-100k")
        )
        said.append(
            f"*{name}* removes {there} of the lift instead of {before} as chosen on ML-100K, at NDCG@50 "
            f"{ndcg[name, dataset]:.3f} instead of {ndcg[name, 'ml-100k']:.3f}"
        )
    return (
        f"RVD is as chosen on the data set itself ({where}); elsewhere, and all else that "
        f"was searched, as on ML-100K. Chosen on {dataset} (ranking regime; {victims} victims pooled, {seeds} seeds; "
        f"random fakes and low clones), {'; '.join(said)}; undefended {ndcg['none', '']:.3f}."
    )


def _neighbours(held: pd.DataFrame) -> str:
    def each(regime: str) -> str:
        thr = _level(held, regime)
        return f"{thr[SOLVED]:.3f} and {thr[BY_CHANCE]:.3f}"

    return (
        "**Is it the neighbourhood?** THR@50 of RVD's closed form with the nearest users, and with users drawn at "
        f"random, each under its strongest attacker. {_by_regime(each)}"
    )


def _time(ledger: pd.DataFrame) -> str:
    span = span_of(ledger[ledger["id"] == "C6"])
    return f"**Time.** A request under RVD takes {span} undefended, both with a cache (MF, 12); without one 14 has more."


def attacked_table(held: pd.DataFrame, fewer: pd.DataFrame) -> str:
    """What the strongest attackers reach, a row a defence; Markdown.

    Args:
        held: 07's ``07_held.csv``; means over victims and target sets are shown.
        fewer: its ``07_fewer_targets.csv``.
    """
    reached, rows = _reached(fewer)["now"], []
    columns = (
        "target_hit_ratio_clean",
        "target_hit_ratio",
        "lift_removed",
        "hit_ratio",
        "list_length",
    )
    of = {
        each: pd.DataFrame({name: _level(held, each, name) for name in columns}) for each in REGIMES
    }
    for name in ("none", *ATTACKED):
        row = ["undefended" if name == "none" else name]
        for levels in of.values():
            if name not in levels.index:
                row += ["–", "–", "–"]
                continue
            clean, attacked, removed, hit, length = levels.loc[name]
            removed = "–" if name == "none" else f"{round(removed, 2) + 0:.0%}"  # no -0%
            row += [f"{clean:.3f} → {attacked:.3f}", removed, f"{hit:.3f}{length_of(length)}"]
        rows.append([*row, f"{reached[name]:.3f}" if name in reached else "–"])
    each = " | ".join(f"{regime}: THR@50 | lift removed | HR@50" for regime in REGIMES)
    return markdown(f"| | {each} | one or two targets |", 1, rows)


def elsewhere_table(there: pd.DataFrame) -> str:
    """In how many cases (of victims and target sets) a defence is lower than undefended by its interval, and
    in how many higher; Markdown, of no rows nothing.

    Args:
        there: 07's ``07_elsewhere.csv``.
    """
    if there.empty:
        return ""
    by = ["dataset", "regime", "defense"]
    length = there[there["metric"] == "list_length"].groupby(by)["mean"].mean()
    tests, rows = there[(there["metric"] == "lowered") & there["defense"].isin(ELSEWHERE)], []
    for (dataset, regime), here in tests.groupby(["dataset", "regime"], sort=False):
        row = [f"{dataset}, {regime}", ", ".join(here["victim"].unique()), f"{here['n'].max()}"]
        for name in ELSEWHERE:
            own = here[here["defense"] == name]
            items = length.get((dataset, regime, name), FULL)
            lower, higher = (own["low"] > 0).sum(), (own["high"] < 0).sum()
            row.append(
                f"{lower} better, {higher} worse of {len(own)}{length_of(items)}"
                if len(own)
                else "–"
            )
        rows.append(row)
    return markdown(f"| | victims | seeds | {' | '.join(ELSEWHERE)} |", 2, rows)


def _reach(shares: pd.Series) -> str:
    return f"{shares.min():.0%} to {shares.max():.0%}"
