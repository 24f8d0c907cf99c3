"""The paper's tables on all its data sets: which cells, what of them is there, and what they say.

Attackers are of three kinds: the paper's seven, stronger ones that know no defence, and for some
defences the one who was searched against it, who meets that defence and the undefended victim alone.
Searches were made for MF on ML-100K (:mod:`rvdlib.lab.tuning.attack_search`); elsewhere their
attackers are carried over.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell
from rvdlib.lab.experiment.hyperparameters import attacked_defenses, searched_attackers
from rvdlib.lab.experiment.knowing import told
from rvdlib.lab.statistics import Interval, t_interval
from rvdlib.lab.study import effects, tables
from rvdlib.lab.study.adaptive import AGAINST, BOTH, LIMITED, RETRAINED
from rvdlib.lab.study.effects import CLOSED_FORM, RVD, scenarios

HARDENED = "closed form, hardened"
# The order of the tables.
DEFENSES = [RVD, CLOSED_FORM, HARDENED, BOTH, LIMITED, "least support", "popularity", RETRAINED]
# TNA stands for both of its forms.
PAPER_ATTACKS = ["random", "average", "bandwagon", "aush", "mixinf", "pga", "s_tna"]
PAPERS, STRONGER, KNOWING = "the paper's", "stronger", "knows the defence"
KINDS = [PAPERS, STRONGER, KNOWING]
SETTING = ["dataset", "regime", "target_set"]
MEASURED = {
    "target_hit_ratio_unattacked": "THR@50, not attacked",
    "target_hit_ratio": "THR@50, attacked",
    "lift_removed": "lift removed",
    "plain_reduction": "plain reduction",
    "hit_ratio": "HR@50",
    "ndcg": "NDCG@50",
    "rmse": "RMSE",
}  # metrics of :func:`table`, as shown


def cells(
    datasets: Mapping[str, Mapping], target_sets: Mapping[str, str]
) -> list[tuple[Cell, str]]:
    """Each cell and what its attacker is called.

    Args:
        datasets: data set → what :class:`rvdlib.lab.study.parameter_types.Slice` holds.
        target_sets: regime → what is promoted in it.
    """
    return [
        (Cell(scenario=each, defense=name, n_users=part["n_users"], **forms[name]), label)
        for dataset, part in datasets.items()
        for regime, victims in part["victims"].items()
        for victim in victims
        for forms in [_forms(dataset, regime, victim, part["retrained"])]
        for label, attack, known, faced in _attackers(regime, part, forms)
        for each in scenarios(
            dataset, [victim], [regime], [attack], [target_sets[regime]], part["seeds"], **known
        )
        for name in faced
    ]


def _forms(dataset: str, regime: str, victim: str, retrained: Sequence[str]) -> dict[str, dict]:
    known = attacked_defenses(regime, victim, dataset)
    names = [name for name in DEFENSES if name in known]
    if victim not in retrained and RETRAINED in names:
        names.remove(RETRAINED)
    return {UNDEFENDED: {}} | {name: known[name] for name in names}


def _attackers(regime, part, forms) -> Iterator[tuple[str, str, dict, list[str]]]:
    """What an attacker is called, his attack, what he knows, and whom he faces."""
    for attack in part["attacks"]:
        yield attack, attack, {}, [*forms]
    searched_for = searched_attackers(regime)
    for name in part["against"]:
        if name in forms and name in searched_for:  # not so the weight in the ranking regime
            searched = searched_for[name]
            attack, size = searched["attack"], searched["filler_size"]
            options = told(regime, attack, forms[name], searched["options"])
            known = {"attack_options": options, "filler_size": size}
            yield AGAINST + name, attack, known, [UNDEFENDED, name]


def kind(attacker: str) -> str:
    """One of :data:`KINDS`; empty where nobody attacks."""
    if attacker == "none":
        return ""
    if attacker.startswith(AGAINST):
        return KNOWING
    return PAPERS if attacker in PAPER_ATTACKS else STRONGER


def coverage(planned: Sequence[tuple[Cell, str]], found: Sequence[int]) -> pd.DataFrame:
    """What of the plan is on record.

    Args:
        found: places, in ``planned``, of the cells that are.

    Returns:
        A row for each data set, regime, seed and kind of attack: ``planned``, ``computed``.
    """
    there = set(found)
    rows = [
        {
            **cell.scenario.model_dump(include={"dataset", "regime", "seed"}),
            "kind": kind(label) or "not attacked",
            "planned": 1,
            "computed": int(place in there),
        }
        for place, (cell, label) in enumerate(planned)
    ]
    by = ["dataset", "regime", "seed", "kind"]
    return pd.DataFrame(rows).groupby(by, sort=False).sum().reset_index()


def shown_coverage(covered: pd.DataFrame) -> pd.DataFrame:
    """:func:`coverage` as a reader sees it: finished of planned cells, and seeds that are whole."""
    by, rows = ["dataset", "regime"], []
    for key, here in covered.groupby(by, sort=False):
        done, asked = here["computed"].sum(), here["planned"].sum()
        seeds = here.groupby("seed")[["planned", "computed"]].sum()
        whole = int((seeds["planned"] == seeds["computed"]).sum())
        state = "complete" if done == asked else "not computed" if not done else "in part"
        rows.append((*key, f"{done:,} of {asked:,}", f"{whole} of {len(seeds)}", state))
    columns = ["data set", "regime", "cells", "whole seeds", ""]
    return pd.DataFrame(rows, columns=columns).set_index("data set")


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a lift, with it: ``rows`` of finished cells, with the column ``attacker``.

    Those are left out whose defence was not finished without an attack, or whose attack was not
    finished undefended. ``attack`` is then what the attacker is called.
    """
    rows = rows.assign(attack=rows["attacker"], kind=rows["attacker"].map(kind))
    where = [*SETTING, "victim", "seed"]
    clean = rows[rows["attack"] == "none"]
    bare = rows[rows["defense"] == UNDEFENDED]
    kept = (
        _among(rows, clean, [*where, "defense"])
        & _among(rows, bare, [*where, "attack"])
        & _among(rows, clean[clean["defense"] == UNDEFENDED], where)
    )
    rows = rows[kept].reset_index(drop=True)
    if rows.empty:
        return rows.assign(lift=[], lift_undefended=[], target_hit_ratio_undefended=[])
    unattacked = rows.loc[rows["attack"] == "none", [*where, "defense", "target_hit_ratio"]]
    rows = effects.with_lift(rows)
    return rows.merge(unattacked, on=[*where, "defense"], suffixes=("", "_unattacked"))


def _among(rows: pd.DataFrame, others: pd.DataFrame, by: list[str]) -> np.ndarray:
    keys = [pd.MultiIndex.from_frame(frame[by]) for frame in (rows, others)]
    return keys[0].isin(keys[1])


def whole(rows: pd.DataFrame, covered: pd.DataFrame) -> pd.DataFrame:
    """The rows of seeds of which a kind of attack is complete, with all that nobody attacked.

    What is averaged over victims and attacks has the same ones in every seed then.
    """
    by = ["dataset", "regime", "seed"]
    complete = covered[covered["planned"] == covered["computed"]]
    clean = complete[complete["kind"] == "not attacked"]
    complete = complete[_among(complete, clean, by)]
    named = rows.assign(kind=rows["kind"].replace("", "not attacked"))
    return rows[_among(named, complete, [*by, "kind"])]


def of_the_paper(rows: pd.DataFrame) -> pd.DataFrame:
    """What the claims are about: the paper's attacks, and no attack."""
    return rows[rows["kind"].isin(["", PAPERS])]


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Data set × attack × victim × defence, every metric of :data:`MEASURED`; tidy.

    ``rows`` as from :func:`comparable`. The attack of a knowing attacker is *knows it*: of each
    defence another one, so that undefended victims have none.

    Returns:
        Columns dataset, regime, target_set, attack, victim, defense, metric, value, low, high, n.
    """
    rows = rows[(rows["attack"] == "none") | ~_other_than_its_own(rows)]
    by, found = [*SETTING, "attack", "victim", "defense"], []
    rows = rows.assign(attack=rows["attack"].mask(rows["kind"] == KNOWING, "knows it"))
    for key, here in rows.groupby(by, sort=False):
        attacked = key[3] != "none"
        shares = here if attacked and key[5] != UNDEFENDED else here.iloc[:0]
        measured = {
            "lift_removed": t_interval(effects.removed(shares)),
            "plain_reduction": t_interval(effects.plain_reduction(shares)),
        }
        for metric in MEASURED:
            interval = measured.get(metric) or t_interval(here[metric])
            found.append((*key, metric, *interval))
    return pd.DataFrame(found, columns=[*by, "metric", "value", *Interval._fields[1:]])


def _other_than_its_own(rows: pd.DataFrame) -> pd.Series:
    """Undefended victims under the attacker who was searched against a defence."""
    return (rows["kind"] == KNOWING) & (rows["defense"] == UNDEFENDED)


def shown(found: pd.DataFrame, dataset: str, regime: str, metric: str) -> pd.DataFrame:
    """Of :func:`table`, one metric of one data set and regime: attack × victim, a column a defence.

    Mean ± the reach of the interval; – where nothing was computed.
    """
    here = found[(found["dataset"] == dataset) & (found["regime"] == regime)]
    here = here[here["metric"] == metric]
    reach = (here["high"] - here["low"]) / 2
    text = [
        "–" if np.isnan(value) else f"{value:.3f}" + ("" if np.isnan(r) else f" ± {r:.3f}")
        for value, r in zip(here["value"], reach, strict=True)
    ]
    labels = {name: ATTACKS[name].label for name in ATTACKS} | {"none": "not attacked"}
    here = here.assign(text=text, attack=here["attack"].replace(labels))
    wide = here.pivot(index=["attack", "victim"], columns="defense", values="text").fillna("–")
    order = here[["attack", "victim"]].drop_duplicates().itertuples(index=False, name=None)
    columns = [name for name in (UNDEFENDED, *DEFENSES) if name in wide]
    wide = wide.loc[list(order), columns].rename(columns={UNDEFENDED: "undefended"})
    return wide.rename_axis(columns=None)


def left(rows: pd.DataFrame) -> pd.DataFrame:
    """What each defence leaves of the lift, victims and attacks pooled, by kind of attack; tidy.

    ``rows`` as from :func:`whole`: 1 − the share removed (:func:`rvdlib.lab.study.effects.removed`).
    """
    shares = rows[(rows["kind"] != "") & (rows["defense"] != UNDEFENDED)]
    by = [*SETTING, "kind", "defense"]
    found = [
        (*key, "lift left", *t_interval(1 - effects.removed(here)))
        for key, here in shares.groupby(by, sort=False)
    ]
    return pd.DataFrame(found, columns=[*by, "metric", "value", *Interval._fields[1:]])


def answer(covered: pd.DataFrame, remains: pd.DataFrame) -> str:
    """The answer of 11: how much there is, and what is left of the lift in each regime."""
    done, asked = covered["computed"].sum(), covered["planned"].sum()
    missing = covered[covered["computed"] < covered["planned"]]
    where = ", ".join(
        f"{dataset} {here['computed'].sum() / here['planned'].sum():.0%}"
        for dataset, here in covered.groupby("dataset", sort=False)
        if dataset in set(missing["dataset"])
    )
    state = f"{done:,} of {asked:,} planned cells are computed"
    sentences = [f"{state}{f', of {where}' if where else ''}."]
    for regime in dict.fromkeys(covered["regime"]):
        here = remains[(remains["regime"] == regime) & (remains["kind"] == PAPERS)]
        said = [
            f"{name} leaves {_by_dataset(here[here['defense'] == name])}"
            for name in (RVD, BOTH)
            if name in set(here["defense"])
        ]
        found = ", ".join(said) or "no seed is complete"
        sentences.append(f"In the {regime} regime, of the lift of the paper's attacks, {found}.")
    return tables.answer(*sentences)


def _by_dataset(here: pd.DataFrame) -> str:
    shown = tables.with_interval(here, "value", decimals=2)
    return " and ".join(
        f"{value} ({name})" for name, value in zip(here["dataset"], shown, strict=True)
    )
