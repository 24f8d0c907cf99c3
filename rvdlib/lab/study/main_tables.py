"""What is read of the main results: tables, the share of the lift that is left, claims, the answer."""

from collections.abc import Mapping, Sequence

import pandas as pd
from IPython.display import Markdown

from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment.cells import UNDEFENDED
from rvdlib.lab.runner.ledger import NOT, NOT_MEASURED, REPRODUCED
from rvdlib.lab.runner.shown import with_reach
from rvdlib.lab.statistics import Interval, interval_of, summarise, t_interval
from rvdlib.lab.study import claims, effects, tables
from rvdlib.lab.study.adaptive import BOTH
from rvdlib.lab.study.effects import RVD
from rvdlib.lab.study.main_results import DEFENSES, KNOWING, PAPERS, SETTING

MEASURED = {
    "target_hit_ratio": "THR@50",
    "lift_removed": "lift removed",
    "plain_reduction": "plain reduction",
    "hit_ratio": "HR@50",
    "ndcg": "NDCG@50",
    "rmse": "RMSE",
    "list_length": "items in a list",
}  # metrics of :func:`table`, as shown
ACCURACY = ["hit_ratio", "ndcg", "rmse", "list_length"]
KEPT = ["metric", "value", *Interval._fields[1:]]


def shown_coverage(covered: pd.DataFrame) -> pd.DataFrame:
    """:func:`coverage` as a reader sees it: finished of planned cells, and seeds that are whole."""
    by, rows = ["dataset", "regime", "users"], []
    for key, here in covered.groupby(by, sort=False):
        done, asked = here["computed"].sum(), here["planned"].sum()
        seeds = here.groupby("seed")[["planned", "computed"]].sum()
        whole = int((seeds["planned"] == seeds["computed"]).sum())
        state = "complete" if done == asked else "not computed" if not done else "in part"
        rows.append((*key, f"{done:,} of {asked:,}", f"{whole} of {len(seeds)}", state))
    columns = ["data set", "regime", "users a seed", "cells", "whole seeds", ""]
    return pd.DataFrame(rows, columns=columns).set_index("data set")


def of_the_paper(rows: pd.DataFrame) -> pd.DataFrame:
    """What the claims are about: the paper's attacks, and no attack."""
    return rows[rows["kind"].isin(["", PAPERS])]


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Data set × attack × victim × defence, every metric of :data:`MEASURED`; tidy.

    ``rows`` as from :func:`comparable`. The attack of a knowing attacker is *knows it*: of each
    defence another one, so that undefended victims have none.

    Returns:
        Columns dataset, regime, target_set, attack, victim, defense, metric, value, low, high, n;
        no row where a metric is not defined, as a lift removed where there is none.
    """
    rows = rows[(rows["kind"] != KNOWING) | (rows["defense"] != UNDEFENDED)]
    by, found = [*SETTING, "attack", "victim", "defense"], []
    rows = rows.assign(attack=rows["attack"].mask(rows["kind"] == KNOWING, "knows it"))
    for key, here in rows.groupby(by, sort=False):
        shares = here if key[3] != "none" and key[5] != UNDEFENDED else here.iloc[:0]
        measured = {
            "lift_removed": t_interval(effects.removed(shares)),
            "plain_reduction": t_interval(effects.plain_reduction(shares)),
        }
        for metric in MEASURED:
            interval = measured.get(metric) or interval_of(metric, here[metric])
            found.append((*key, metric, *interval))
    return pd.DataFrame(found, columns=[*by, *KEPT]).dropna(subset="value", ignore_index=True)


def over_victims(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50 by attack and defence, the mean over the victims that have it; tidy.

    ``rows`` as from :func:`whole`; what knows the defence is left out, it has one of its own each.
    """
    by = [*SETTING, "attack", "defense"]
    known = rows[rows["kind"] != KNOWING]
    means = known.groupby([*by, "seed"], sort=False)["target_hit_ratio"].mean().reset_index()
    return summarise(means, by, ["target_hit_ratio"]).rename(columns={"mean": "value"})


def saved(rows: pd.DataFrame, profile: str) -> pd.DataFrame:
    """:func:`table` as its files hold it, one a data set: one of all would be too large to read."""
    tidy = table(rows)
    found = [
        tables.kept(own.reset_index(drop=True), profile, f"11_table_{dataset}")
        for dataset, own in tidy.groupby("dataset", sort=False)
    ]
    return pd.concat(found, ignore_index=True) if found else tidy


def accuracy(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy under the paper's attacks, means over them: data set × victim × defence; tidy.

    ``rows`` as from :func:`whole`.
    """
    by = [*SETTING, "victim", "defense"]
    attacked = rows[rows["kind"] == PAPERS]
    means = attacked.groupby([*by, "seed"], sort=False)[ACCURACY].mean().reset_index()
    found = summarise(means, by, ACCURACY).rename(columns={"mean": "value"})
    return found.dropna(subset="value", ignore_index=True)


def by_dataset(found: pd.DataFrame, datasets: Mapping[str, Mapping], across: str) -> list:
    """For each data set and regime of the plan a title, and a table or *not computed*.

    Rows ``across`` (attack, metric or kind), × victim where they are apart, a column a defence: mean ± the
    interval's reach.
    """
    shown = []
    for dataset, part in datasets.items():
        for regime in part["victims"]:
            here = found[(found["dataset"] == dataset) & (found["regime"] == regime)]
            shown.append(Markdown(f"**{dataset}, {regime} regime**"))
            shown.append(_wide(here, across) if len(here) else Markdown("Not computed."))
    return shown


def _wide(here: pd.DataFrame, across: str) -> pd.DataFrame:
    bounds = zip(here["value"], here["low"], here["high"], strict=True)
    text = ["no lift" if pd.isna(each[0]) else with_reach(*each) for each in bounds]
    labels = {name: each.label for name, each in ATTACKS.items()} | {"none": "not attacked"}
    here = here.assign(text=text, **{across: here[across].replace(labels | MEASURED)})
    rows = [name for name in (across, "victim") if name in here]
    wide = here.pivot(index=rows, columns="defense", values="text").fillna("–")
    columns = [name for name in (UNDEFENDED, *DEFENSES) if name in wide]
    wide = wide.loc[here.set_index(rows).index.unique(), columns]
    return wide.rename(columns={UNDEFENDED: "undefended"}).rename_axis(columns=None)


def left(rows: pd.DataFrame, within: Sequence[str] = ("kind",)) -> pd.DataFrame:
    """What each defence leaves of the lift, by kind of attack, all else pooled; tidy.

    ``rows`` as from :func:`whole`: 1 − the share removed (:func:`rvdlib.lab.study.effects.removed`).
    ``within``: what is not pooled, as ``("kind", "victim")``.
    """
    shares = rows[(rows["kind"] != "") & (rows["defense"] != UNDEFENDED)]
    by = [*SETTING, *within, "defense"]
    found = [
        (*key, "lift left", *t_interval(1 - effects.removed(here)))
        for key, here in shares.groupby(by, sort=False)
    ]
    return pd.DataFrame(found, columns=[*by, *KEPT])


def along(rows: pd.DataFrame) -> pd.DataFrame:
    """THR@50 by data set, regime, victim, dial and value, ``rows`` as from :func:`dials`; tidy."""
    by = ["dataset", "regime", "victim", "swept", "value"]
    return summarise(rows, by, ["target_hit_ratio"])


def shown_along(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`along` as a reader sees it, a column a value."""
    dial = table["swept"] + " = " + table["value"].map("{:g}".format)
    return tables.wide(table.assign(dial=dial), ["dataset", "regime", "victim"], "dial").fillna("–")


def judged(papers: pd.DataFrame, turned: pd.DataFrame) -> pd.DataFrame:
    """C1 to C4 and C8 of :func:`of_the_paper`'s rows, C12 to C14 of those of :func:`dials`."""
    found = [claims.of_effects(papers)] + ([claims.of_sweeps(turned)] if len(turned) else [])
    return pd.concat(found, ignore_index=True)


def counted(judged: pd.DataFrame) -> pd.DataFrame:
    """Of the tests of a claim, how many show it, ``5 of 6``, and its contrary, ``3 of 6 (1 against)``."""
    by = ["id", "defense", "dataset", "regime"]

    def said(verdicts: pd.Series) -> str:
        shown, contrary = (int((verdicts == each).sum()) for each in (REPRODUCED, NOT))
        return f"{shown} of {len(verdicts)}" + (f" ({contrary} against)" if contrary else "")

    asked = judged[judged["verdict"] != NOT_MEASURED]
    found = asked.groupby(by, sort=False)["verdict"].agg(said)
    wide = found.unstack(["dataset", "regime"], sort=False).fillna("–")
    return wide.rename_axis(columns=[None, None])


def answer(covered: pd.DataFrame, remains: pd.DataFrame, accurate: pd.DataFrame) -> str:
    """The answer of 11: how much there is; in each regime what is :func:`left`, at what :func:`accuracy`."""
    done, asked = covered["computed"].sum(), covered["planned"].sum()
    missing = covered["planned"] - covered["computed"]
    whole = missing.groupby([covered[name] for name in ("dataset", "regime", "seed")], sort=False)
    whole = (whole.sum() == 0).groupby(level=["dataset", "regime"], sort=False).sum()
    seeds = whole.groupby(level="dataset", sort=False).min()
    where = ", ".join(f"{n} of {name}" for name, n in seeds.items())
    sentences = [
        f"{done:,} of {asked:,} planned cells are computed; complete in both regimes are so many seeds: "
        f"{where}."
    ]
    ranked = accurate[accurate["metric"] == "hit_ratio"]
    hit = ranked.groupby(["regime", "defense", "dataset"])["value"].mean()
    for regime in dict.fromkeys(covered["regime"]):
        here = remains[(remains["regime"] == regime) & (remains["kind"] == PAPERS)]
        lifted = here[here["value"].notna()]
        said = [
            f"*{name}* leaves {tables.span(own['value'], '{:.0%}')} at HR@50 "
            f"{tables.span(hit[regime, name][own['dataset']])}"
            for name in (RVD, BOTH)
            if len(own := lifted[lifted["defense"] == name])
        ]
        if not said:
            sentences.append(f"In the {regime} regime no seed is complete.")
            continue
        bare = tables.span(hit[regime, UNDEFENDED][lifted["dataset"].unique()])
        flat = [name for name in here["dataset"].unique() if name not in {*lifted["dataset"]}]
        none = f" There is hardly any lift on {', '.join(flat)}." if flat else ""
        sentences.append(
            f"In the {regime} regime, of the lift of the paper's attacks, by data set ({', '.join(lifted['dataset'].unique())}), "
            f"{'; '.join(said)} (undefended {bare}).{none}"
        )
    return tables.answer(*sentences)
