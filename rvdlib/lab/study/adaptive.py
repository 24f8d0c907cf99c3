"""Attackers who know the defence: which cells to run, what falls, what holds, and at what price.

Each defence meets every attacker: those who know nothing of it, and for each defence the attacker who
was searched against it (:mod:`rvdlib.lab.tuning.attack_search`, other seeds), told its choices. The
worst attacker of a defence is named after the fact, which favours him.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from rvdlib import metrics
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, carry_out, evaluate_cell
from rvdlib.lab.experiment.hyperparameters import attacked_defenses, searched_attackers
from rvdlib.lab.experiment.knowing import by_neighbors, told
from rvdlib.lab.statistics import Interval, paired, summarise, t_interval
from rvdlib.lab.study import tables
from rvdlib.lab.study.claims import OURS
from rvdlib.lab.study.effects import METRICS, RVD, scenarios
from rvdlib.threads import single_thread

AGAINST, ALL, VICINITY = "against ", "all of them", "vicinity"
RANDOM, SOLVED, UNLIMITED = "random neighbours", "closed form", "user-kNN"
BOTH, QUORUM = "closed form and quorum", "quorum"
AFFORDABLE = 0.02  # of accuracy, relative
SETTING = ["regime", "target_set", "victim"]
HELD = {
    "target_hit_ratio_clean": "THR@50, not attacked",
    "target_hit_ratio": "THR@50, worst attacker",
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
    seeds: Sequence[int],
    n_users: int | None = None,
) -> list[tuple[Cell, str]]:
    """Each cell and what its attacker is called.

    Args:
        target_sets: regime → what is promoted in it.
        attacks: that know nothing of the defence; ``none`` among them.
        n_users: size of the sample of users that is evaluated; None: every user.
    """
    found = []
    for regime, promoted in target_sets.items():
        for victim in victims:
            defenses = {UNDEFENDED: {}} | attacked_defenses(regime, victim, dataset)
            for label, attack, known, faced in _attackers(regime, attacks, defenses):
                found += [
                    (Cell(scenario=each, defense=name, n_users=n_users, **defenses[name]), label)
                    for each in scenarios(
                        dataset, [victim], [regime], [attack], promoted, seeds, **known
                    )
                    for name in faced
                ]
    return found


def _attackers(regime, attacks, defenses) -> Iterator[tuple[str, str, dict, list[str]]]:
    """What an attacker is called, his attack, what he knows, and whom he faces."""
    for attack in attacks:
        yield attack, attack, {}, [*defenses]
    for name, searched in searched_attackers(regime).items():
        attack, size = searched["attack"], searched["filler_size"]
        options = told(regime, attack, defenses.get(name, {}), searched["options"])
        yield AGAINST + name, attack, {"attack_options": options, "filler_size": size}, [*defenses]
    for name, form in defenses.items():
        if by_neighbors(form):
            known = {"attack_options": told(regime, VICINITY, form)}
            yield VICINITY, VICINITY, known, [name]


def held(rows: pd.DataFrame) -> pd.DataFrame:
    """What each defence holds under its worst attacker, and what it costs when nobody attacks.

    Returns:
        Columns regime, target_set, victim, defense, worst (the attacker's name), metric, mean, low,
        high, n; metrics are those of :data:`HELD`. ``lift_removed``: of the lift that the undefended
        victim's own worst attacker has; changes are relative to the undefended victim, paired.
    """
    found = []
    for key, here in rows.groupby(SETTING, sort=False):
        worst, under, lift = {}, {}, {}
        for name, own in here.groupby("defense", sort=False):
            thr = own.pivot_table(index="seed", columns="attacker", values="target_hit_ratio")
            worst[name] = _worst(own)
            under[name] = thr[worst[name]]
            lift[name] = under[name] - thr["none"]
        clean = dict(list(here[here["attacker"] == "none"].groupby("defense", sort=False)))
        for name, own in clean.items():
            at = own.set_index("seed")
            values = {
                "target_hit_ratio_clean": at["target_hit_ratio"],
                "target_hit_ratio": under[name],
                "lift_removed": metrics.lift_removed(lift[name], lift[UNDEFENDED]),
                **{metric: at[metric] for metric in ("hit_ratio", "ndcg", "list_length")},
                **{
                    f"{metric}_change": paired(own, clean[UNDEFENDED], metric, relative=True)
                    for metric in ("hit_ratio", "ndcg")
                },
            }
            found += [
                (*key, name, worst[name], metric, *t_interval(values[metric])) for metric in HELD
            ]
    return pd.DataFrame(found, columns=[*SETTING, "defense", "worst", "metric", *Interval._fields])


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`held` as a reader sees it."""
    by = [*SETTING, "defense", "worst"]
    return tables.wide(table, by, "metric").rename(columns=HELD)


def attackers(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50 of each defence under each attacker: mean and interval over seeds; tidy."""
    return summarise(rows, [*SETTING, "attacker", "attack", "defense"], ["target_hit_ratio"])


def by_neighbours(rows: pd.DataFrame) -> list[str]:
    """The defences that the vicinity attack was told of: those that have neighbours."""
    return list(dict.fromkeys(rows.loc[rows["attacker"] == VICINITY, "defense"]))


def checklist(
    rows: pd.DataFrame, trials: pd.DataFrame, swaps: pd.DataFrame, repeated: float
) -> pd.DataFrame:
    """What evaluations of defences at test time are held to, each with its figure.

    The list follows Croce et al. 2022 and Carlini et al. 2019. Intervals are over seeds unless said.

    Args:
        trials: of the attack search.
        swaps: of the check by exchanged fillers.
        repeated: the largest difference of two evaluations of one cell (:func:`repeated`).

    Returns:
        Columns regime, item, metric, mean, low, high, n.
    """
    found = [("both", "the same answer twice", "largest difference", repeated, np.nan, np.nan, 2)]
    for regime, here in rows.groupby("regime", sort=False):
        searched = here[(AGAINST + here["defense"]).isin(here["attacker"])]
        own = searched[searched["attacker"] == AGAINST + searched["defense"]]
        own = own[~own["defense"].isin([UNDEFENDED, RANDOM])]
        gains = {
            name: paired(each, _facing(searched, each, AGAINST + UNDEFENDED), "target_hit_ratio")
            for name, each in own.groupby("defense", sort=False)
        }
        least = min(gains, key=lambda name: gains[name].mean())
        unlimited = here[here["defense"] == UNLIMITED]
        log, swapped = (table[table["regime"] == regime] for table in (trials, swaps))
        checked = here["certificate_violations"].dropna()
        gained, mean = "THR@50 gained", "THR@50, mean over defences"
        items = [
            ("knowing the defence, less transfer from the undefended victim", mean,
             _gain(own, _facing(searched, own, AGAINST + UNDEFENDED))),
            (f"the same where it gains least ({least})", "THR@50", t_interval(gains[least])),
            ("knowing the defence, less low clones", mean, _gain(own, _facing(searched, own, OURS))),
            ("knowing the defence, less one attack on all", mean,
             _gain(own, _facing(searched, own, AGAINST + ALL))),
            ("the last quarter of the search, over defences", gained, _late(log)),
            ("fillers exchanged on the attacked system, over defences and seeds", gained,
             t_interval(swapped["after"] - swapped["before"])),
            ("neighbours without a limit, under who knows them", "THR@50",
             t_interval(_under(unlimited, AGAINST + UNLIMITED))),
            ("the same under low clones", "THR@50", t_interval(_under(unlimited, OURS))),
            ("certificates of the quorum", "violations, cells",
             Interval(checked.sum(), np.nan, np.nan, len(checked))),
        ]  # fmt: skip
        found += [(regime, item, metric, *interval) for item, metric, interval in items]
    return pd.DataFrame(found, columns=["regime", "item", "metric", *Interval._fields])


def _under(rows: pd.DataFrame, attacker: str) -> pd.Series:
    return rows[rows["attacker"] == attacker].groupby("seed")["target_hit_ratio"].mean()


def _facing(rows: pd.DataFrame, own: pd.DataFrame, attacker: str) -> pd.DataFrame:
    """The rows of the same defences under another attacker."""
    return rows[(rows["attacker"] == attacker) & rows["defense"].isin(own["defense"])]


def _gain(own: pd.DataFrame, other: pd.DataFrame) -> Interval:
    return t_interval(paired(own, other, "target_hit_ratio"))


def _late(log: pd.DataFrame) -> Interval:
    """What the best of a search gained in its last quarter, over defences."""
    late = log["round"].max() * 3 / 4
    best = log.groupby("defense")["target_hit_ratio"].max()
    before = log[log["round"] <= late].groupby("defense")["target_hit_ratio"].max()
    return t_interval(best - before)


def repeated(cell: Cell) -> float:
    """The largest difference between two evaluations of a cell, each from the split on."""
    with single_thread():
        one, two = (evaluate_cell(cell, carry_out(cell.scenario, cell.training)) for _ in range(2))
    return max(abs(one[name] - two[name]) for name in METRICS if not np.isnan(one[name]))


def fine_tuning(rows: pd.DataFrame) -> str:
    """What fine-tuning adds to asking neighbours: a quorum in its order less one in the victim's.

    Each under its own worst attacker; accuracy where nobody attacks; means over victims and target
    sets, intervals over seeds.
    """
    said = []
    for regime, here in rows.groupby("regime", sort=False):
        sides = [here[here["defense"] == name] for name in (BOTH, QUORUM)]
        worst = [
            pd.concat(
                under[under["attacker"] == _worst(under)] for _, under in side.groupby(SETTING)
            )
            for side in sides
        ]
        clean = [side[side["attacker"] == "none"] for side in sides]
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
        "What fine-tuning adds to a quorum (in the order of the hardened closed form, less in the "
        f"victim's; each under its own worst attacker): {'; '.join(said)}."
    )


def _worst(under: pd.DataFrame) -> str:
    """The attacker under whom these rows of one defence have the highest mean target hit ratio."""
    attacked = under[under["attacker"] != "none"]
    return attacked.groupby("attacker", sort=False)["target_hit_ratio"].mean().idxmax()


def answer(table: pd.DataFrame) -> str:
    """The answer of 07: a sentence a regime, of levels that are means over victims and target sets."""
    sentences = []
    for regime, here in table.groupby("regime", sort=False):
        means = here.groupby(["defense", "metric"], sort=False)["mean"].mean().unstack(sort=False)
        thr, bare = means["target_hit_ratio"], means.loc[UNDEFENDED]
        able = thr[accurate(means)].drop([UNDEFENDED, "popularity"], errors="ignore")
        sentences.append(
            f"In the {regime} regime the strongest attacker raises the THR@50 of undefended victims "
            f"from {bare['target_hit_ratio_clean']:.3f} to {bare['target_hit_ratio']:.3f}; against the "
            f"strongest that each meets, RVD has {thr[RVD]:.3f} and the closed form {thr[SOLVED]:.3f}. "
            + _best(able, means)
        )
    return tables.answer(*sentences)


def _best(able: pd.Series, means: pd.DataFrame) -> str:
    """Of the defences that keep their accuracy, the one with the lowest target hit ratio."""
    if able.empty:
        return "No defence ranks as well as the victim and the most popular items."
    best = able.idxmin()
    hit, bare = means.loc[[best, UNDEFENDED], "hit_ratio"]
    return (
        f"Of all that rank as well as the victim and the most popular items, *{best}* has least: "
        f"{able[best]:.3f} ({means.loc[best, 'lift_removed']:.0%} of the lift removed), at HR@50 "
        f"{hit:.3f} (undefended {bare:.3f}), picked in hindsight."
    )


def accurate(means: pd.DataFrame) -> pd.Series:
    """Defence → whether HR@50 and NDCG@50 are at most 2 % below the undefended victim's and those
    of the most popular items; ``means``: a row a defence, columns metrics."""
    ranked = means[["hit_ratio", "ndcg"]]
    least = ranked.loc[ranked.index.intersection([UNDEFENDED, "popularity"])].max()
    return (ranked >= (1 - AFFORDABLE) * least).all(axis=1)
