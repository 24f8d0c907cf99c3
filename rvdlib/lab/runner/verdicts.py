"""The verdicts on the paper's claims as README and the site show them, in Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import pandas as pd

from rvdlib import paths
from rvdlib.lab.runner.ledger import (
    CONTRARY,
    FAILS,
    HOLDS,
    NOT_MEASURED,
    SHOWN,
    VERDICTS,
    claims,
    range_of,
    read,
    read_table,
)

PROFILES = ("paper", "quick")
NOT_AT_HAND = "; the paper's theorems were not at hand: ours, which we proved, are measured"
MEDIANS = (
    "Each number is the median over a regime's tests (data sets, victims, attacks); in brackets, how many "
    "of them show the claim, and how many its contrary."
)


def to_results(profile: str, notebook: str) -> str:
    """A link to an executed notebook, as seen from README."""
    return f"[{notebook[:2]}](results/{profile}/{notebook}.ipynb)"


def claims_table(
    profiles: Sequence[str] = PROFILES, link: Callable[[str, str], str] = to_results
) -> str:
    """Every claim in Markdown: on each data set its verdict, and the range of what its parts measured."""
    ledgers, lines = {profile: read(profile) for profile in profiles}, []
    for name, claim in claims().items():
        profile, rows = measured(ledgers, name)
        verdict = "<br>".join(verdicts(rows, partial(link, profile))) if profile else NOT_MEASURED
        lines.append([name, claim.said, claim.metric, verdict])
    return markdown("| | the paper says | what is measured | verdict |", 4, lines)


def verdicts(rows: pd.DataFrame, link: Callable[[str], str]) -> list[str]:
    """A line a notebook and data set: the verdict there, of how many tests, and what they measured."""
    found, claim = [], claims()[rows["id"].iloc[0]]
    by = ["notebook", rows["dataset"].astype(object).fillna("")]
    for (_, dataset), here in rows.groupby(by, sort=False):
        counts, seeds = here["verdict"].value_counts(sort=False), here["n_seeds"].astype(float)
        about = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict in counts]
        if seeds.min() > 0:  # not of timings
            about.append(f"{range_of(seeds, 0)} seed{'s' if seeds.max() > 1 else ''}")
        where, verdict = f"{dataset}: " if dataset else "", claim.overall(here["verdict"])
        how, again = ", ".join(about), link(here["notebook"].iloc[0])
        found.append(f"{where}*{verdict}* ({how}), {span_of(here)}, {again}")
    return found


def summary() -> str:
    """A heading a verdict in Markdown, under it a line a claim: what was measured, in how many tests."""
    ledgers, said = {profile: read(profile) for profile in PROFILES}, {}
    for name, claim in claims().items():
        rows = measured(ledgers, name)[1]
        verdict = rows["overall"].iloc[0] if len(rows) else NOT_MEASURED
        how = f": {claim.shown} {_by_regime(rows)}" if len(rows) else ""
        said.setdefault(verdict, []).append(f"  - {claim.claim} ({name}){how}.")
    lines = []
    for verdict in (each for each in VERDICTS if each in said):
        note = NOT_AT_HAND if verdict in (HOLDS, FAILS) else ""
        lines.append(
            f"- **{verdict[0].upper()}{verdict[1:]}** ({len(said[verdict])} of {len(claims())}{note}):"
        )
        lines += said[verdict]
    return "\n".join([MEDIANS, "", *lines])


def _by_regime(rows: pd.DataFrame) -> str:
    """The median over a regime's tests, how many show the claim, and how many its contrary."""
    found, timed = [], f"{span_of(rows)}, " if rows["value"].isna().all() else ""
    for regime, own in rows.groupby("regime", sort=False):
        shown, contrary = (own["verdict"].isin(kind).sum() for kind in (SHOWN, CONTRARY))
        median = "" if timed else f"{own['value'].median():.2g} "
        found.append(f"{median}in the {regime} regime ({shown} of {len(own)}; contrary {contrary})")
    return timed + ", ".join(found)


def measured(ledgers: Mapping[str, pd.DataFrame], name: str) -> tuple[str, pd.DataFrame]:
    """The first profile that has measured a claim, and its rows; nothing where none has."""
    for profile, ledger in ledgers.items():
        rows = ledger[(ledger["id"] == name) & (ledger["verdict"] != NOT_MEASURED)]
        if len(rows):
            return profile, rows
    return "", pd.DataFrame()


def span_of(rows: pd.DataFrame, decimals: int = 3) -> str:
    """What was measured, with its interval; of several parts, the least and the greatest."""
    if rows["value"].isna().all():
        return _timed(rows)
    if len(rows) == 1:
        value, low, high = (
            f"{rows[name].iloc[0]:.{decimals}f}" for name in ("value", "low", "high")
        )
        return value if low == "nan" else f"{value} [{low}, {high}]"
    return range_of(rows["value"], decimals)


def _timed(rows: pd.DataFrame) -> str:
    """Of a claim on timings, which have tables of their own: the ratio, and of what milliseconds it is."""
    name = f"{rows['notebook'].iloc[0]}_caching.csv"
    path = paths.RESULTS / str(rows["profile"].iloc[0]) / name
    times = read_table(path) if path.is_file() else pd.DataFrame()
    if "rvd_cpu_ms" not in times:  # an older version wrote it
        return "in its tables"
    means = times.groupby("regime")[["ratio", "rvd_cpu_ms", "undefended_cpu_ms"]].mean()
    ratio, ours, bare = (range_of(means[name], n) for name, n in zip(means, (0, 2, 3), strict=True))
    return f"{ratio} times as long, {ours} ms against {bare} ms"


def markdown(head: str, texts: int, rows: Iterable[Sequence[str]]) -> str:
    """A table under the line ``head``; all columns but the first ``texts`` are set to the right."""
    rule = "|" + "---|" * texts + "--:|" * (head.count("|") - 1 - texts)
    return "\n".join([head, rule, *(f"| {' | '.join(row)} |" for row in rows)])
