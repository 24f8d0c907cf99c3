"""The only place that judges: the paper's claims, held against rows of cells.

**One part of a claim**, a test, is one setting, a regime with its targets, and where it matters one
victim; attacks are averaged. It has one value a seed, and ``params/claims.yml`` names the threshold.
Two one-sided t-tests over seeds ask whether the claim is shown, and whether its contrary is; neither
is *undecided*. *Not measured* is what has no value, for want of a victim or of a lift that could be
removed. The tests of all parts of a claim on a data set are corrected together (Holm), at the level of
a 95 % interval: of one part the verdict is what its interval says; of several, an interval may lie
beyond the threshold and the part be undecided. :data:`rvdlib.lab.runner.ledger.RULE` joins them.

**Accuracy (C2)** is maintained in a part if it is in each metric: HR@50 and NDCG@50, in the rating
regime RMSE too (the ranking regime's scores are no stars); not, if one metric is shown to be worse. A
defence that lacks one of them, as popularity has no RMSE, is not measured.

**The attacks of C1 to C4 and C8** are those of the literature: low clones, ours, are left out. C5 and
C11 have the paper's, C7 too, each by itself. *Few* fakes (C8) are fewer than random neighbours have.

**The lift removed (C1, C4)** is pooled: the lifts of all attacks of a seed (C4: and of both victims)
are added up before they are compared, so that a small one counts as little as it is.

**The best k (C12)** is looked for inside the range on the other seeds, so that none chooses what it
tests, and must beat each end.

**The attacker who knows RVD (C15)** is held against low clones, named beforehand: they have his budget
and rate as he does, and know nothing of neighbours. Where they reach nearly every user (:data:`MOST`)
he can add nothing, and where neither reaches anybody there is nothing to compare: not measured.

All this is judged for the paper's method; other defences in a table of their own (:func:`others`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.runner.ledger import NOT_MEASURED, PART, SETTINGS, UNDECIDED, Claim, claims
from rvdlib.lab.statistics import BETTER, CONFIDENCE, Interval, holm, p_above, paired, t_interval
from rvdlib.lab.study import effects
from rvdlib.lab.study.effects import RVD
from rvdlib.lab.study.tables import with_interval

LEVEL = (1 - CONFIDENCE) / 2
MAINTAINED = -claims()["C2"].threshold  # the share of accuracy that a defence may cost
RANKED = {"hit_ratio": "HR@50", "ndcg": "NDCG@50"}
ACCURACY = {"rating": RANKED | {"rmse": "RMSE"}, "ranking": RANKED}
DEEP, SHALLOW = ["AutoRec", "CDAE"], ["MF", "NSVD"]
LEAST = 0.01  # of a target hit ratio that a defence could lower
MOST = 0.95  # of one that an attacker could still raise
OURS = "low_clone"  # the strongest attack that knows nothing of RVD; the paper has it not
# TNA stands for both of its forms.
PAPER_ATTACKS = ["random", "average", "bandwagon", "aush", "mixinf", "pga", "s_tna"]
SETTING = ["dataset", "regime", "target_set"]


class Part(NamedTuple):
    """Where a claim is tested, and what was measured there, one value a seed.

    Several metrics must all satisfy the claim; each is named by what is measured.
    """

    where: Mapping[str, str]
    values: Mapping[str, pd.Series]


def judge(name: str, parts: Sequence[Part]) -> pd.DataFrame:
    """The verdict on each part of a claim and, in column ``overall``, on all of them in its regime.

    Returns:
        Columns of :data:`rvdlib.lab.runner.ledger.PART`. Value, low and high are mean and t-interval;
        of several metrics, of the one that is furthest from the claim.
    """
    if not parts:
        return pd.DataFrame(columns=PART)
    claim = claims()[name]
    tests = [_test(part, claim) for part in parts]
    p = pd.DataFrame(tests, columns=_Test._fields)
    p = p.assign(dataset=[part.where.get("dataset", "") for part in parts])
    corrected = p.groupby("dataset")[["held", "contrary"]].transform(holm).to_numpy()
    pairs = zip(tests, corrected, strict=True)
    verdicts = [_verdict(claim, test.interval, *pair) for test, pair in pairs]
    names = ("value", "low", "high", "n_seeds")
    rows = [
        {
            "id": name,
            **part.where,
            "metric": test.metric or claim.metric,
            **dict(zip(names, test.interval, strict=True)),
        }
        for part, test in zip(parts, tests, strict=True)
    ]
    found = pd.DataFrame(rows, columns=PART).assign(verdict=verdicts)
    return found.assign(overall=claim.by_regime(found))


def shown(judged: pd.DataFrame) -> pd.DataFrame:
    """Verdicts as a reader sees them: what was measured as text, empty columns left out."""
    said = [claims()[name].claim for name in judged["id"]]
    table = judged.assign(claim=said, measured=with_interval(judged, "value"))
    columns = ["id", "claim", *SETTINGS, "measured", "verdict", "overall"]
    return table[columns].dropna(axis=1, how="all").fillna("–").set_index("id")


class _Test(NamedTuple):
    """p of the claim and of its contrary, and the metric that is furthest from the claim."""

    held: float
    contrary: float
    metric: str
    interval: Interval


def _test(part: Part, claim: Claim) -> _Test:
    """All metrics must hold for the claim: the largest p counts. One that fails is enough for the
    contrary: the smallest counts, times their number. What was not measured does not count.
    """
    up, closed = claim.sense in ("above", "at least"), claim.sense in ("at least", "at most")
    sign = 1 if up else -1
    tests = []
    for metric, values in part.values.items():
        signed, bound = sign * np.asarray(values, dtype=float), sign * claim.threshold
        held = p_above(signed, bound, inclusive=closed)
        contrary = p_above(-signed, -bound, inclusive=not closed)
        tests.append(_Test(held, contrary, metric, t_interval(values)))
    measured = [test for test in tests if not np.isnan(test.interval.mean)] or tests
    worst = min(measured, key=lambda test: sign * test.interval.mean)
    held, contrary = ([getattr(t, side) for t in measured] for side in ("held", "contrary"))
    return worst._replace(
        held=np.max(held), contrary=min(1.0, len(contrary) * np.fmin.reduce(contrary))
    )


def _verdict(claim: Claim, interval: Interval, held: float, contrary: float) -> str:
    if np.isnan(interval.mean):
        return NOT_MEASURED
    shown, refuted = claim.words
    return shown if held <= LEVEL else refuted if contrary <= LEVEL else UNDECIDED


# Notebook 03: what RVD does to attacks and to accuracy.


def of_effects(rows: pd.DataFrame) -> pd.DataFrame:
    """C1 to C4 and C8, of RVD; ``rows`` as from :func:`rvdlib.lab.study.effects.with_lift`."""
    attacked = _attacked(rows)
    parts = _of_defense(attacked, RVD) | {"C3": [], "C8": []}
    served, by = attacked[attacked["defense"] == RVD], [*SETTING, "victim"]
    for key, here in served.groupby(by, sort=False):
        size = here["attack_size"]  # fakes by real users: size / (1 + size) of all are fake
        over = (here["fake_neighbor_share"] * (1 + size) / size).groupby(here["seed"]).mean()
        parts["C8"].append(Part(_named(by, key) | {"defense": RVD}, {"": over}))
    for key, here in attacked[attacked["defense"] == UNDEFENDED].groupby(SETTING, sort=False):
        where = _named(SETTING, key) | {"defense": UNDEFENDED}
        parts["C3"].append(Part(where, {"": _deep_less_shallow(here, _mean_thr)}))
    return pd.concat([judge(name, parts[name]) for name in sorted(parts)], ignore_index=True)


def others(rows: pd.DataFrame) -> pd.DataFrame:
    """The questions of C1, C2 and C4 put to every other defence; each corrected by itself."""
    attacked = _attacked(rows)
    names = [name for name in attacked["defense"].unique() if name not in (UNDEFENDED, RVD)]
    asked = [part for name in names for part in _of_defense(attacked, name).items()]
    return pd.concat([judge(*part) for part in asked] or [judge("C1", [])], ignore_index=True)


def _attacked(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[~rows["attack"].isin(["none", OURS])]


def _of_defense(attacked: pd.DataFrame, defense: str) -> dict[str, list[Part]]:
    parts = {"C1": [], "C2": [], "C4": []}
    for key, here in attacked[attacked["defense"] == defense].groupby(SETTING, sort=False):
        where = _named(SETTING, key) | {"defense": defense}
        parts["C4"].append(Part(where, {"": _deep_less_shallow(here, effects.removed)}))
        bare = attacked[attacked["defense"] == UNDEFENDED]
        bare = bare[(bare[SETTING] == pd.Series(_named(SETTING, key))).all(axis=1)]
        for victim, own in here.groupby("victim", sort=False):
            its, named = bare[bare["victim"] == victim], where | {"victim": victim}
            parts["C1"].append(Part(named, {"": effects.removed(own)}))
            changes = {
                f"relative change of {shown}, positive is better": BETTER[metric]
                * paired(own, its, metric, relative=True)
                for metric, shown in ACCURACY[key[1]].items()
            }
            if any(change.isna().all() for change in changes.values()):
                changes = {name: change * np.nan for name, change in changes.items()}
            parts["C2"].append(Part(named, changes))
    return parts


def _mean_thr(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby("seed")["target_hit_ratio"].mean()


def _deep_less_shallow(rows: pd.DataFrame, measure) -> pd.Series:
    """NaN where either kind of victim is missing."""
    deep, shallow = (measure(rows[rows["victim"].isin(kind)]) for kind in (DEEP, SHALLOW))
    return deep - shallow


# Notebook 04: neighbours and depth.


def of_sweeps(rows: pd.DataFrame) -> pd.DataFrame:
    """C12 to C14; ``rows`` as :func:`rvdlib.lab.study.sweeps.summary` takes them.

    Raises:
        ValueError: if k was not swept from 1, or steps from 0.
    """
    turned = rows[rows["swept"].isin(["k", "steps"])]
    parts = {"C12": [], "C13": [], "C14": []}
    by = ["dataset", "regime", "victim"]
    for key, group in turned.groupby(by, sort=False):
        table = group.pivot(index="seed", columns=["swept", "value"], values="target_hit_ratio")
        by_k, by_steps = (table[dial].sort_index(axis=1) for dial in ("k", "steps"))
        if (by_k.columns[0], by_steps.columns[0]) != (1, 0):
            raise ValueError(
                "the claims compare k = 1 with 0 steps (undefended): sweep k from 1 and steps from 0, "
                f"not from {by_k.columns[0]:g} and {by_steps.columns[0]:g}"
            )
        where = _named(by, key) | {"defense": RVD}
        undefended = by_steps.iloc[:, 0]
        if undefended.mean() < LEAST:  # nothing that could fall
            by_k, by_steps, undefended = by_k * np.nan, by_steps * np.nan, undefended * np.nan
        parts["C12"].append(Part(where, _best_inside(by_k)))
        parts["C13"].append(Part(where, {"": undefended - by_steps.iloc[:, -1]}))
        parts["C14"].append(Part(where, {"": undefended - by_k.iloc[:, 0]}))
    found = [judge(claim, its) for claim, its in parts.items()]
    return pd.concat(found, ignore_index=True)


def _best_inside(by_k: pd.DataFrame) -> dict[str, pd.Series]:
    """Seed by seed: THR at each end, less that at the k inside that is best on the other seeds."""
    inside = by_k.iloc[:, 1:-1]
    if inside.shape[1] == 0 or by_k.isna().all(axis=None):
        return {"": by_k.iloc[:, 0] * np.nan}
    others = {seed: inside.drop(index=seed) if len(inside) > 1 else inside for seed in inside.index}
    best = pd.Series({s: inside.loc[s, rest.mean().idxmin()] for s, rest in others.items()})
    return {
        f"THR@50 at k = {k:g}, less that at the best k inside": by_k[k] - best
        for k in by_k.columns[[0, -1]]
    }


# Notebooks 06 and 08.


def of_fakes(rows: pd.DataFrame) -> pd.DataFrame:
    """C7 by attack of the paper: means over target sets."""
    by, papers = ["dataset", "regime", "victim", "attack"], rows["attack"].isin(PAPER_ATTACKS)
    return of_means(rows[papers], {"C7": "fakes_near_fakes"}, by)


def of_means(
    rows: pd.DataFrame, columns: Mapping[str, str], by: Sequence[str] = ("regime", "victim")
) -> pd.DataFrame:
    """Claims, each of the column that has its metric: means over a seed's rows."""
    by, found = [*by], []
    for claim, column in columns.items():
        seeds = rows.groupby([*by, "seed"], sort=False)[column].mean().groupby(by, sort=False)
        parts = [Part(_named(by, key), {"": each.droplevel(by)}) for key, each in seeds]
        found.append(judge(claim, parts))
    return pd.concat(found, ignore_index=True)


# Notebook 07: the attacker who knows.


def of_knowing(rows: pd.DataFrame, knowing: str, defense: str = RVD) -> pd.DataFrame:
    """C15 by regime: what the attacker ``knowing`` gains over low clones."""
    parts, rows = [], rows[rows["defense"] == defense]
    for key, here in rows.groupby([*SETTING, "victim"], sort=False):
        his, theirs = (here[here["attacker"] == name] for name in (knowing, OURS))
        gained = paired(his, theirs, "target_hit_ratio")
        low_clones = theirs["target_hit_ratio"].mean()
        if low_clones > MOST or low_clones == his["target_hit_ratio"].mean() == 0:
            gained *= np.nan
        where = _named([*SETTING, "victim"], key) | {"attack": knowing, "defense": defense}
        parts.append(Part(where, {"": gained}))
    return judge("C15", parts)


def _named(names: Sequence[str], key: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, key, strict=True))
