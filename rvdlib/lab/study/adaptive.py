"""Attackers who know the defence: which cells to run, what falls, what holds, and at what price.

Each defence meets every attacker: those who know nothing of it, and for each defence the attacker who
was searched against it (:mod:`rvdlib.lab.tuning.attack_search`, other seeds), told its choices, and
those of earlier searches. The worst attacker of a defence is named after the fact, which favours him.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import pandas as pd

from rvdlib import metrics
from rvdlib.defenses import DEFENSES
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell
from rvdlib.lab.experiment.hyperparameters import RVD_HARDENED, attacked_defenses
from rvdlib.lab.experiment.knowing import has_neighbors, searched, told
from rvdlib.lab.statistics import Interval, paired, relative_change, summarise, t_interval
from rvdlib.lab.study import tables
from rvdlib.lab.study.effects import ATTACK_SIZE, RVD, crossed, scenarios

AGAINST, EARLIER, VICINITY = "against ", "earlier", "vicinity"
RANDOM, SOLVED, RETRAINED = "random neighbours", "closed form", "unobserved weight"
LIMITED, UNLIMITED = "count", "user-kNN"
BOTH, QUORUM, HARDENED = "closed form and quorum", "quorum", "closed form, hardened"
AFFORDABLE = 0.02  # of accuracy, relative
SETTING = ["regime", "target_set", "victim"]
KNOWN = ["attack", "attack_size", "attack_options", "visible_share", "filler_size", "crafted_for"]
HELD = {
    "target_hit_ratio_clean": "THR@50, not attacked",
    "target_hit_ratio": "THR@50, worst attacker",
    "lowered": "THR@50, lower by",
    "lift_removed": "lift removed",
    "hit_ratio": "HR@50",
    "ndcg": "NDCG@50",
    "hit_ratio_change": "HR@50, change",
    "ndcg_change": "NDCG@50, change",
    "list_length": "items in a list",
}  # metrics of :func:`held`, as shown


def cells(
    dataset: str,
    victims: Sequence[str],
    target_sets: Mapping[str, Sequence[str]],
    attacks: Sequence[str],
    against: Sequence[str],
    seeds: Sequence[int],
    n_users: int | None = None,
    forms: Callable[[str, str, str], dict[str, dict]] | None = None,
    own: bool = False,
) -> list[tuple[Cell, str]]:
    """Each cell and what its attacker is called.

    Args:
        attacks: that are told nothing of the defence; ``none`` among them.
        against: the searched attackers, by whom they were searched against.
        forms: the defences of a regime, victim and data set; :func:`attacked_defenses` unless said.
        own: whoever was searched against a defence and is not in ``against`` meets that defence too,
            others of its method, and the undefended victim.
    """
    found, forms = [], forms or partial(attacked_defenses, against=against)
    for regime, promoted in target_sets.items():
        for victim in victims:
            defenses = {UNDEFENDED: {}} | forms(regime, victim, dataset)
            for label, attack, known, faced in _attackers(regime, attacks, against, defenses, own):
                of = dataset, [victim], [regime], [attack], promoted, seeds
                met = [(name, defenses[name]) for name in faced]
                for cell in crossed(scenarios(*of, **known), met, n_users):
                    found.append((cell, label))
    return found


def _attackers(
    regime, attacks, against, defenses, own
) -> Iterator[tuple[str, str, dict, list[str]]]:
    """What an attacker is called, his attack, what he knows, and whom he faces."""
    for attack in attacks:
        yield attack, attack, {}, [*defenses]
    alone = [each for each in defenses if each not in (UNDEFENDED, *against)] if own else []
    for name in [*against, *alone]:
        faced = [*defenses] if name in against else [UNDEFENDED, *_of_its_method(name, defenses)]
        for at, found in enumerate(searched(regime, name, defenses.get(name, {}))):
            yield AGAINST + name + f" ({EARLIER} {at})" * (at > 0), *found, faced
    for name, form in defenses.items():
        if has_neighbors(form):
            known = {"attack_options": told(regime, VICINITY, form)}
            yield VICINITY, VICINITY, known, [name]


def _of_its_method(name: str, defenses: Mapping[str, Mapping]) -> list[str]:
    """Those that serve by the method of this one, a form of it, or what it is a form of, itself among
    them; of a chain, its last counts."""
    serves = {
        other: DEFENSES[form.get("chain", [form])[-1]["method"]]
        for other, form in defenses.items()
        if form
    }
    own = serves[name]
    return [name for name, each in serves.items() if issubclass(each, own) or issubclass(own, each)]


def held(rows: pd.DataFrame) -> pd.DataFrame:
    """What each defence holds under its worst attacker, and what it costs when nobody attacks.

    Returns:
        Columns regime, target_set, victim, defense, worst (the attacker's name), metric, mean, low,
        high, n; metrics are those of :data:`HELD`. ``lowered``: how much lower THR@50 is than the
        undefended victim's under its worst of those attackers whom the defence met;
        ``lift_removed``: of the lift that this one has; changes are relative to the undefended
        victim, paired.
    """
    found = by_seed(rows, SETTING, ["hit_ratio", "ndcg", "list_length"]).reset_index()
    return summarise(found, [*SETTING, "defense", "worst"], list(HELD))


def by_seed(rows: pd.DataFrame, setting: list[str], accuracy: list[str]) -> pd.DataFrame:
    """What each defence holds on each seed under its worst attacker, beside the undefended victim.

    Returns:
        Indexed by ``setting``, defense and seed: ``accuracy`` where nobody attacks, and its changes;
        worst, target_hit_ratio_clean, target_hit_ratio, lowered and lift_removed, as :func:`held` has
        them.
    """
    keys = [*setting, "defense", "seed"]
    clean = rows[rows["attacker"] == "none"].set_index(keys)
    under = under_worst(rows, setting).set_index(keys)
    found = clean[accuracy].assign(
        worst=under["attacker"],
        target_hit_ratio_clean=clean["target_hit_ratio"],
        target_hit_ratio=under["target_hit_ratio"],
        lift=under["target_hit_ratio"] - clean["target_hit_ratio"],
    )
    bare = found.xs(UNDEFENDED, level="defense").reindex(found.index.droplevel("defense"))
    met = rows[[*setting, "defense", "attacker"]].drop_duplicates()
    met = rows[rows["defense"] == UNDEFENDED].drop(columns="defense").merge(met)
    level = under_worst(met, setting).set_index(keys)["target_hit_ratio"].reindex(found.index)
    found["lowered"] = level - found["target_hit_ratio"]
    lift = level - bare["target_hit_ratio_clean"].to_numpy()
    found["lift_removed"] = metrics.lift_removed(found.pop("lift"), lift)
    for name in accuracy:
        found[f"{name}_change"] = relative_change(found[name], bare[name].set_axis(found.index))
    return found


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`held` as a reader sees it."""
    by = [*SETTING, "defense", "worst"]
    return tables.wide(table, by, "metric").rename(columns=HELD)


def attackers(rows: pd.DataFrame, setting: list[str] = SETTING) -> pd.DataFrame:
    """THR@50 of each defence under each attacker: mean and interval over seeds; tidy."""
    return summarise(rows, [*setting, "attacker", "attack", "defense"], ["target_hit_ratio"])


def told_to_vicinity(rows: pd.DataFrame) -> list[str]:
    """The defences that the vicinity attack was told of: those that have neighbours."""
    return list(dict.fromkeys(rows.loc[rows["attacker"] == VICINITY, "defense"]))


def under_worst(rows: pd.DataFrame, setting: list[str] = SETTING) -> pd.DataFrame:
    """The rows of each defence under its worst attacker, in each setting."""
    return under_strongest(rows[rows["attacker"] != "none"], [*setting, "defense"], "attacker")


def under_strongest(rows: pd.DataFrame, by: list[str], attacker: str) -> pd.DataFrame:
    """Of each group, the rows of that ``attacker`` whose target hit ratio is highest, on average."""
    means = rows.groupby([*by, attacker], sort=False, dropna=False)["target_hit_ratio"].mean()
    worst = means.reset_index().sort_values("target_hit_ratio", ascending=False, kind="stable")
    return rows.merge(worst.drop_duplicates(by)[[*by, attacker]])


def fine_tuning(rows: pd.DataFrame) -> str:
    """What fine-tuning adds to asking neighbours: a quorum in its order less one in the victim's.

    Each under its own worst attacker; accuracy where nobody attacks; means over victims and target
    sets, intervals over seeds.
    """
    said = []
    for regime, here in rows.groupby("regime", sort=False):
        worst, clean = (
            [each[each["defense"] == name] for name in (BOTH, QUORUM)]
            for each in (under_worst(here), here[here["attacker"] == "none"])
        )
        gains = {
            "THR@50": paired(*worst, "target_hit_ratio"),
            "HR@50": paired(*clean, "hit_ratio"),
            "NDCG@50": paired(*clean, "ndcg"),
        }
        shown = ", ".join(
            f"{name} {tables.format_interval(*t_interval(gain)[:3])}"
            for name, gain in gains.items()
        )
        said.append(f"in the {regime} regime {shown}")
    return (
        "What fine-tuning, as one exact step, adds to a quorum: the order of the hardened closed form less the "
        f"victim's, each under its own worst attacker: {'; '.join(said)}. An interval across 0 means that these "
        "seeds do not tell."
    )


def answer(table: pd.DataFrame, rows: pd.DataFrame, beyond: str = "") -> str:
    """The answer of 07: what falls and what holds in each regime; means over victims and target sets.

    ``table``: :func:`held` of the cells' ``rows``; ``beyond``: on attackers outside the protocol.
    """
    sentences, kinds, by = [], [], ["defense", "seed"]
    found = by_seed(rows, SETTING, ["hit_ratio"])[["target_hit_ratio", "hit_ratio"]]
    seeds = found.groupby(["regime", *by]).mean()
    met = distinct(rows[rows["attacker"] != "none"])
    for regime, here in table.groupby("regime", sort=False):
        means = here.groupby(["defense", "metric"], sort=False)["mean"].mean().unstack(sort=False)
        thr, bare = means["target_hit_ratio"], means.loc[UNDEFENDED]
        able = thr[accurate(means)].drop([UNDEFENDED, "popularity", RETRAINED], errors="ignore")
        sentences += [
            f"{regime.capitalize()} regime ({', '.join(rows['dataset'].unique())}, "
            f"{' and '.join(here['victim'].unique())}, {ATTACK_SIZE[regime]:.0%} fakes, "
            f"{' and '.join(here['target_set'].unique())} targets, {here['n'].max()} seeds): the strongest of "
            f"{met[regime]} attackers raises THR@50 from {bare['target_hit_ratio_clean']:.3f} to "
            f"{bare['target_hit_ratio']:.3f} undefended; under the strongest that each meets, RVD has "
            f"{thr[RVD]:.3f}{_beside(thr, RVD_HARDENED, 'chosen against attackers who know it')}, the closed form "
            f"{thr[SOLVED]:.3f}{_beside(thr, RANDOM, f'with {RANDOM}')}.",
            f"{_best(able, means, here, seeds.loc[regime])}.",
        ]
        others = [
            f"*{name}* {thr[name]:.3f} at HR@50 {means.loc[name, 'hit_ratio']:.3f}"
            for name in (RETRAINED, UNLIMITED, "popularity")
            if name in thr.index
        ]
        kinds += [f"in the {regime} regime {', '.join(others)}"] if others else []
    if kinds:
        sentences.append(f"Recommenders of another kind: {'; '.join(kinds)}.")
    return tables.answer(*sentences, beyond)


def _beside(thr: pd.Series, name: str, how: str) -> str:
    """THR@50 of a variant, in brackets, where it was measured."""
    return f" ({how} {thr[name]:.3f})" if name in thr.index else ""


def distinct(attacked: pd.DataFrame) -> pd.Series:
    """By regime, how many attackers differ in more than their name: two searches may find one attack."""
    fakes = (
        attacked.assign(known=known(attacked))
        .groupby(["regime", "attacker"])["known"]
        .agg(frozenset)
    )
    return fakes.groupby("regime").nunique()


def known(rows: pd.DataFrame) -> list[str]:
    """Of each row, all that makes its attack this one, whatever its attacker is called."""
    return [json.dumps(each, sort_keys=True) for each in rows[KNOWN].to_numpy().tolist()]


def _best(able: pd.Series, means: pd.DataFrame, held: pd.DataFrame, seeds: pd.DataFrame) -> str:
    """Of the defences that rank as well as the victim and popularity, the one with the lowest target hit
    ratio, and those that the seeds do not tell from it; ``seeds``: a row a defence and seed."""
    if able.empty:
        return "No defence ranks as well as the victim and the most popular items"
    best = able.idxmin()
    hit = seeds["hit_ratio"].unstack()
    change = _with_span(t_interval(hit.loc[best] - hit.loc[UNDEFENDED]), "{:+.3f}")
    lift = held[(held["defense"] == best) & (held["metric"] == "lift_removed")]
    shares = [
        _with_span(row, "{:.0%}") + f" ({row.victim}, {row.target_set})" * (len(lift) > 1)
        for row in lift.itertuples()
    ]
    near = [f"*{name}*" for name in alike(seeds["target_hit_ratio"].unstack(), best, able.index)]
    apart = f"do not tell it from {', '.join(near)}" if near else "tell it from all others"
    return (
        f"Of those that keep the victim and on average lose at most {AFFORDABLE:.0%} of HR@50 and NDCG@50, *{best}* "
        f"has the lowest THR@50, picked after the fact: {able[best]:.3f} ({' and '.join(shares)} of the lift "
        f"removed) at HR@50 {means.loc[best, 'hit_ratio']:.3f} ({change} to undefended) in lists of "
        f"{means.loc[best, 'list_length']:.0f} items; the seeds {apart}"
    )


def alike(by_seed: pd.DataFrame, best: str, others: Iterable[str]) -> list[str]:
    """Those of ``others`` whose interval of paired differences to ``best``, of which less is better, is not
    above 0; ``by_seed``: a row a defence, columns seeds."""
    apart = {name: t_interval(by_seed.loc[name] - by_seed.loc[best]).low for name in others}
    return [name for name, low in apart.items() if name != best and not low > 0]


def _with_span(found: Interval, form: str) -> str:
    """``79% [65%, 92%]``: a mean, and its interval where there is one."""
    span = f" [{form}, {form}]".format(found.low, found.high)
    return form.format(found.mean) + span * (not pd.isna(found.low))


def accurate(means: pd.DataFrame, loss: float = AFFORDABLE) -> pd.Series:
    """Defence → whether HR@50 and NDCG@50 are at most a ``loss`` of 2 % below the undefended victim's
    and those of the most popular items; ``means``: a row a defence, columns metrics."""
    ranked = means[["hit_ratio", "ndcg"]]
    least = ranked.loc[ranked.index.intersection([UNDEFENDED, "popularity"])].max()
    return (ranked >= (1 - loss) * least).all(axis=1)
