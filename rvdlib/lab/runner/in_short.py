"""What the study found, in a few sentences of computed numbers, and its two tables: README's first page."""

from collections.abc import Mapping, Sequence

import pandas as pd

from rvdlib.lab.experiment.hyperparameters import REGIMES, RVD_HARDENED
from rvdlib.lab.runner.ledger import HOLDS, VERDICTS, claims
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
    there: pd.DataFrame,
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
        there: 07's ``07_elsewhere.csv``, the same with other victims and data sets.
        carried: ``results/search/carried_over.csv``, RVD as chosen on ML-100K and as chosen on the data set.
        searched: regime → the data sets that RVD's forms were chosen on, as
            :func:`rvdlib.lab.experiment.hyperparameters.searched_on` has it.
    """
    said = (
        _works(ledger, held),
        _taken(held, fewer, advice, there),
        _verdicts(ledger),
        _papers(remains, accurate),
        f"**Fakes outside the protocol.** {fewer_targets(fewer)}",
        _neighbours(held),
        _time(ledger),
        f"**Tuning.** {carried_over(carried, searched)}",
    )
    return "\n".join(f"- {sentence}" for sentence in said)


def _verdicts(ledger: pd.DataFrame) -> str:
    """How many verdicts there are of each kind, on the paper's claims, and which they are."""
    asked = {name for name, claim in claims().items() if not claim.question}
    one = ledger[ledger["id"].isin(asked)].drop_duplicates(["id", "regime"])
    kinds = []
    for verdict in VERDICTS:
        here = one[one["overall"] == verdict]
        by_regime = {regime: here.loc[here["regime"] == regime, "id"] for regime in REGIMES}
        which = "; ".join(
            f"{each}: {', '.join(ids)}" for each, ids in by_regime.items() if len(ids)
        )
        note = ", which is no evidence for the paper" if verdict == HOLDS else ""
        kinds += [f"{len(here)} *{verdict}* ({which}){note}"] if len(here) else []
    return (
        f"**Verdicts** on the paper's {one['id'].nunique()} claims in each regime ({len(one)} in all; "
        f"[next section](#what-reproduces-and-what-does-not)): {', '.join(kinds)}."
    )


def _works(ledger: pd.DataFrame, held: pd.DataFrame) -> str:
    tests = {name: ledger[ledger["id"] == name].groupby("regime") for name in ("C1", "C2")}
    removed, change = (each["value"].median() for each in tests.values())
    verdict = {name: each["overall"].first() for name, each in tests.items()}
    knowing = [f"{_level(held, regime, 'lift_removed')[RVD]:.0%}" for regime in REGIMES]
    each = "; ".join(
        f"{regime} regime {removed[regime]:.0%} (C1 *{verdict['C1'][regime]}*) at {change[regime]:+.1%} "
        f"(C2 *{verdict['C2'][regime]}*)"
        for regime in REGIMES
    )
    return (
        "**Does RVD work?** What it removes of the lift of attackers who do not know it, at what change of the accuracy "
        f"metric that suffers most (medians over tests): {each}. In the rating regime RMSE alone bounded what its choices "
        "may cost. Of the lift of the strongest attackers, those who know it among them, it removes "
        f"{' and '.join(knowing)} (MF, ML-100K; first table below)."
    )


def _level(held: pd.DataFrame, regime: str, metric: str = "target_hit_ratio") -> pd.Series:
    """Defence → mean over victims and target sets."""
    here = held[(held["regime"] == regime) & (held["metric"] == metric)]
    return here.groupby("defense")["mean"].mean()


def _taken(
    held: pd.DataFrame, fewer: pd.DataFrame, advice: pd.DataFrame, there: pd.DataFrame
) -> str:
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
    instead = f"; where stars must be right, a *{stars[0]}*" if stars else ""
    best, others = equal[0], ", ".join(f"*{name}*" for name in equal[1:])
    tests = there[(there["metric"] == "lowered") & (there["defense"] == least)]
    tests = tests[tests["regime"] == "ranking"]
    where = "; ".join(
        f"{dataset}: {', '.join(rows['victim'].unique())}"
        for dataset, rows in tests.groupby("dataset", sort=False)
    )
    return (
        f"**What we would take**, in hindsight. *Rating regime:* another training, *{first}*: THR@50 "
        f"{thr['rating'][first]:.3f} (undefended {thr['rating']['none']:.3f}), HR@50 {hit['rating'][first]:.3f} (undefended "
        f"{hit['rating']['none']:.3f}){instead}. Under more fakes, for any items, *{first}* is what the ranking "
        f"regime has undefended: THR@50 {thr['ranking']['none']:.3f}. *Ranking regime:* *{least}*, which removes "
        f"{removed['ranking'][least]:.0%} of the strongest attackers' lift. Notebook 10 takes *{best}* and cannot tell "
        f"{others} from it; of these *{least}* lets the least through, on average, outside the protocol. With other "
        f"victims or data sets ({where}) it is better than undefended, by its interval, in {(tests['low'] > 0).sum()} of "
        f"{len(tests)} cases (second table)."
    )


def _papers(remains: pd.DataFrame, accurate: pd.DataFrame) -> str:
    left = remains[(remains["kind"] == "the paper's") & (remains["regime"] == "ranking")]
    left = left[left["value"].notna()].set_index("defense")
    ranked = accurate[(accurate["regime"] == "ranking") & (accurate["metric"] == "hit_ratio")]
    hits = ranked.groupby(["defense", "dataset"])["value"].mean()
    lost = hits[BOTH] / hits["none"] - 1
    each = ", ".join(f"*{name}* {_left(left.loc[[name]])}" for name in (BOTH, RVD, SOLVED))
    there = left.loc[[BOTH]]
    return (
        f"**The paper's attacks**, ranking regime: of their lift are left, on the {len(there)} data sets where there is any, "
        f"with the widest interval of {there['n'].min():.0f} seeds, {each}. The first changes HR@50 by {lost.min():.0%} "
        f"({lost.idxmin()}) to {lost.max():.0%}."
    )


def _left(rows: pd.DataFrame) -> str:
    return f"{_reach(rows['value'])} (± {((rows['high'] - rows['low']) / 2).max():.0%})"


def _reached(fewer: pd.DataFrame) -> pd.DataFrame:
    """Defence → THR@50 ``before``, under the strongest searched, and under fakes that rate one target or two."""
    both = fewer[fewer["target_set"] == EVERY_SET].set_index(["fakes", "defense"])["mean"]
    return pd.DataFrame({"before": both[STRONGEST], "now": both[STRONGEST] + both[MORE]})


def fewer_targets(fewer: pd.DataFrame) -> str:
    """What fakes reach that rate one target or two, and what every target; of ``07_fewer_targets.csv``."""
    reached = _reached(fewer)
    more = fewer[(fewer["target_set"] == EVERY_SET) & (fewer["fakes"] == MORE)]
    each = [
        f"*{name}* {reached.before[name]:.3f} → {reached.now[name]:.3f}"
        for name in more.loc[more["low"] > 0, "defense"]
    ]
    rest = ", ".join(
        "no defence" if name == "none" else f"*{name}*"
        for name in more.loc[more["low"] <= 0, "defense"]
    )
    return (
        "Fakes that rate one or two of the targets each, told of the hardened closed form, reach more THR@50 than the "
        f"strongest attacker searched (ranking regime, {fewer['n'].max()} other seeds): {', '.join(each)}; not more, by "
        f"their intervals, against {rest}."
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
        before, there = (
            "{:.0%} [{:.0%}, {:.0%}]".format(*interval_of("lift_removed", removed[name, at])[:3])
            for at in ("ml-100k", dataset)
        )
        said.append(
            f"*{name}* removes {before} → {there} of the lift, at an NDCG@50 of {ndcg[name, 'ml-100k']:.3f} → "
            f"{ndcg[name, dataset]:.3f}"
        )
    return (
        f"RVD is tuned on the data set itself ({where}); elsewhere, and all else that was searched, as on ML-100K. On "
        f"{dataset} (ranking regime; {victims} victims pooled, {seeds} seeds; random fakes and low clones), tuned on "
        f"ML-100K → there: {'; '.join(said)} (undefended {ndcg['none', '']:.3f})."
    )


def _neighbours(held: pd.DataFrame) -> str:
    levels = {regime: _level(held, regime) for regime in REGIMES}
    each = "; ".join(
        f"{regime} regime {thr[SOLVED]:.3f} with the nearest, {thr[BY_CHANCE]:.3f} at random"
        for regime, thr in levels.items()
    )
    return (
        "**Is it the neighbourhood?** THR@50 of the closed form with the nearest users and with users drawn at random, "
        f"each under its strongest attacker: {each}."
    )


def _time(ledger: pd.DataFrame) -> str:
    span = span_of(ledger[ledger["id"] == "C6"])
    return (
        f"**Time.** A request under RVD takes {span} undefended, both with a cache (MF; notebook 12). Notebook 14 has "
        "times without one."
    )


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
    return markdown(f"| | {each} | THR@50, one or two targets a fake † |", 1, rows)


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
