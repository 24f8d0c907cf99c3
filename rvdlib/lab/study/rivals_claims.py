"""What 10 says of two claims: does RVD add to another defence (C11), and hold as the attack grows (C5)?

Both are judged under the paper's attacks; what stronger ones do stands beside.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from rvdlib import metrics
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell
from rvdlib.lab.experiment.hyperparameters import RVD_HARDENED, combinations, rival_defenses
from rvdlib.lab.runner.ledger import FEWEST
from rvdlib.lab.statistics import Interval, holm, p_above, summarise, t_interval
from rvdlib.lab.study import adaptive, effects, tables
from rvdlib.lab.study.adaptive import BOTH
from rvdlib.lab.study.claims import LEVEL, PAPER_ATTACKS, Part, judge
from rvdlib.lab.study.effects import CLOSED_FORM, RVD, crossed, scenarios
from rvdlib.lab.study.rivals import SETTING, TOLD
from rvdlib.lab.study.who_pays import DETECTORS

GROWN = [UNDEFENDED, RVD, RVD_HARDENED, CLOSED_FORM, BOTH, "unobserved weight"]
AVERAGED = "average of all"
# What a chain gains on the better of its parts, as :func:`combined` has it and as shown.
LIFT, RATIO = "lift_removed", "target_hit_ratio"
GAINS = {LIFT: "of the lift of the paper's attacks", RATIO: "THR@50, worst attack, lower by"}
MORE, LESS = "more", "less"
DETECTOR, TRAINING = "a detector", "another training"
ANY_FORM = "a form of RVD"


def combined(rows: pd.DataFrame) -> list[tuple[tuple[str, str], Part]]:
    """What each chain gains on the better of its two parts, seed by seed, in both of :data:`GAINS`.

    The better part is the one that does better on average. Attacks count that the chain and both its
    parts meet, each once, whatever its attackers are called. Lifts are added up over the attacks; the
    worst attack is each defence's own.
    """
    known = rows[~rows["defense"].isin(TOLD)]
    apart = known["attack"].where(known["attack"] == "none", adaptive.known(known))
    known = known.assign(papers=known["attack"].isin(PAPER_ATTACKS), attack=apart)
    known = known.drop_duplicates([*SETTING, "defense", "attack", "seed"])
    found = []
    for key, here in _attacked(known).groupby(SETTING, sort=False):
        where = dict(zip(SETTING, key, strict=True))
        for name, parts in combinations(where["regime"]).items():
            own = here[here["defense"].isin([name, *parts])]
            own = own[own.groupby("attack")["defense"].transform("nunique") == 3]
            if own.empty:
                continue
            papers = own[own["papers"]].groupby("defense")
            worst = adaptive.under_strongest(own, ["defense"], "attack").groupby("defense")
            removed = {each: effects.removed(rows) for each, rows in papers}
            held = {each: -rows.set_index("seed")[RATIO] for each, rows in worst}
            values = {LIFT: _beyond(name, parts, removed), RATIO: _beyond(name, parts, held)}
            found.append((parts, Part(where | {"defense": name}, values)))
    return found


def _beyond(chain: str, parts: Sequence[str], does: Mapping[str, pd.Series]) -> pd.Series:
    """By seed, what the chain does more than the better of its parts; of attacks that it does not meet,
    nothing."""
    if chain not in does:
        return pd.Series(dtype=float)
    return does[chain] - does[max(parts, key=lambda part: does[part].fillna(0).mean())]


def by_kind(found: Sequence[tuple[tuple[str, str], Part]]) -> list[tuple[tuple[str, str], Part]]:
    """:func:`combined`, averaged seed by seed over the chains that begin with a detector, and with a
    training: many chains are too many tests for few seeds."""
    kinds: dict[tuple, list[Part]] = {}
    for (first, _), part in found:
        kind = DETECTOR if first in DETECTORS else TRAINING
        kinds.setdefault((*(part.where[name] for name in SETTING), kind), []).append(part)
    averaged = []
    for (*place, kind), parts in kinds.items():
        values = {
            name: pd.concat([part.values[name] for part in parts]).groupby(level=0).mean()
            for name in GAINS
        }
        where = dict(zip(SETTING, place, strict=True)) | {"defense": f"{kind} + {ANY_FORM}"}
        averaged.append(((kind, ANY_FORM), Part(where, values)))
    return averaged


def gains(found: Sequence[tuple[tuple[str, str], Part]]) -> pd.DataFrame:
    """:func:`combined` as rows: setting, defense, first, then, metric, mean, low, high, n, shown.

    ``shown`` is :data:`MORE` or :data:`LESS` where a one-sided t-test tells the gain from 0, all chains
    of a metric and data set corrected together (Holm), or empty.
    """
    columns = [*SETTING, "defense", "first", "then", "metric", *Interval._fields]
    rows = [
        (*part.where.values(), *parts, metric, *t_interval(values))
        for parts, part in found
        for metric, values in part.values.items()
    ]
    table = pd.DataFrame(rows, columns=columns).assign(shown="")
    series = [values for _, part in found for values in part.values.values()]
    for sign, word in ((1, MORE), (-1, LESS)):
        p = pd.Series([p_above(sign * values, 0.0) for values in series], dtype=float)
        corrected = p.groupby([table["dataset"], table["metric"]]).transform(holm)
        table.loc[corrected <= LEVEL, "shown"] = word
    return table


def gains_shown(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`gains` as a reader sees it: a row a metric and first defence, a column a form of RVD."""
    metric = table["metric"].map(GAINS)
    index = ["dataset", "regime", "gain", "first"]
    return tables.wide(table.assign(gain=metric), index, "then").rename_axis(columns=None)


def growing_cells(
    datasets: Mapping[str, Mapping],
    victim: str,
    target_sets: Mapping[str, str],
    attacks: Sequence[str],
    attack_sizes: Sequence[float],
) -> list[Cell]:
    """Each of :data:`GROWN` that there is, without an attack, and under each attack at each size."""
    found = []
    for dataset, part in datasets.items():
        for regime in part["regimes"]:
            known = {UNDEFENDED: {}} | rival_defenses(
                regime, victim, dataset, against=[RVD_HARDENED]
            )
            forms = [(name, known[name]) for name in GROWN if name in known]
            of, rest = (dataset, [victim], [regime]), ([target_sets[regime]], part["seeds"])
            under = scenarios(*of, ["none"], *rest)
            for size in attack_sizes:
                under += scenarios(*of, attacks, *rest, size)
            found += crossed(under, forms, part["n_users"])
    return found


def grown(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50, the undefended victim's lift, and the share of it removed, by attack and size, and
    :data:`AVERAGED` over attacks.

    Returns:
        Columns dataset, regime, target_set, defense, attack, attack_size, metric, mean, low, high, n.
    """
    by = ["dataset", "regime", "target_set", "defense", "attack", "attack_size"]
    columns = ["target_hit_ratio", "lift", "lift_undefended"]
    lifted = _attacked(rows)
    lifted = pd.concat([lifted, lifted.assign(attack=AVERAGED)])
    means = lifted.groupby([*by, "seed"], sort=False)[columns].mean().reset_index()
    means["lift_removed"] = metrics.lift_removed(means["lift"], means["lift_undefended"])
    found = summarise(means, by, ["target_hit_ratio", "lift", "lift_removed"])
    bare, removed = found["defense"] == UNDEFENDED, found["metric"] == "lift_removed"
    kept = ~(bare & removed) & (bare | (found["metric"] != "lift"))
    return found[kept].reset_index(drop=True)


def growth_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`grown` the lift of a row's attack and size, and the share of it that each defence removes."""
    here = table[table["metric"] != "target_hit_ratio"]
    here = here.assign(
        attack_size=here["attack_size"].map("{:.0%}".format),
        defense=here["defense"].replace({UNDEFENDED: "lift, no defence"}),
    )
    index = ["dataset", "regime", "target_set", "attack", "attack_size"]
    return tables.wide(here, index, "defense").rename_axis(columns=None)


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """THR@50 of :func:`grown` as :func:`rvdlib.lab.figures.breakdown_plots.growth` draws it."""
    here = table[(table["metric"] == "target_hit_ratio") & (table["attack"] == AVERAGED)]
    return here.assign(label=here["defense"])


def judged(grown_rows: pd.DataFrame, found: Sequence[tuple[tuple[str, str], Part]]) -> pd.DataFrame:
    """C5 of RVD by regime and attack size, and C11 of the chains that end with RVD."""
    lifted, parts = _attacked(grown_rows), []
    lifted = lifted[(lifted["defense"] == RVD) & lifted["attack"].isin(PAPER_ATTACKS)]
    for key, here in lifted.groupby([*SETTING, "attack_size"], sort=False):
        where = dict(zip(SETTING, key[:-1], strict=True)) | {"defense": RVD}
        removed = effects.removed(here)
        if removed.notna().sum() >= FEWEST:  # a seed without lift has no share of it
            parts.append(Part(where, {f"lift removed at {key[-1]:.0%} fakes": removed}))
    chains = [Part(part.where, {"": part.values[LIFT]}) for (_, then), part in found if then == RVD]
    return pd.concat([judge("C5", parts), judge("C11", chains)], ignore_index=True)


def _attacked(rows: pd.DataFrame) -> pd.DataFrame:
    lifted = effects.with_lift(rows)
    return lifted[lifted["attack"] != "none"]
