"""The verdicts on claims and questions as README and the site show them, in Markdown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import pandas as pd

from rvdlib import paths
from rvdlib.lab.experiment.hyperparameters import REGIMES
from rvdlib.lab.profiles import COMMITTED
from rvdlib.lab.runner.ledger import (
    CONTRARY,
    NOT_MEASURED,
    SHOWN,
    VERDICTS,
    claims,
    range_of,
    read,
    read_table,
)

MEDIANS = (
    "By regime: the verdict, the median over tests (of a data set, and where it matters of a victim, an attack or an "
    "attack size), and in brackets how many of them show the claim, and how many its contrary, if any; –: no test "
    "of three seeds, or nothing to measure. ML-100K is measured twice, in 03 and in 11."
)
ASKED = ("the paper's claim", "a question that it leaves open")  # by Claim.question


def claims_table(link: Callable[[str, str], str], profiles: Sequence[str] = COMMITTED) -> str:
    """Every claim in Markdown: its verdict on each data set in each regime, and what its parts measured.

    ``link``: profile and notebook → a link to it.
    """
    ledgers, lines = {profile: read(profile) for profile in profiles}, []
    for name, claim in claims().items():
        profile, rows = measured(ledgers, name)
        verdict = "<br>".join(by_dataset(rows, partial(link, profile))) if profile else NOT_MEASURED
        lines.append([name, claim.said, claim.metric, claim.shown_if or "–", verdict])
    return markdown("| | what is said or asked | what is measured | shown if | verdict |", 5, lines)


def by_dataset(rows: pd.DataFrame, link: Callable[[str], str]) -> list[str]:
    """A line a notebook, data set and regime: the verdict there, of how many tests, what they measured."""
    lines, claim = [], claims()[rows["id"].iloc[0]]
    by = ["notebook", "dataset", "regime"]  # each in the order in which it comes first
    known = rows[by].astype(object).fillna("")
    ordered = {name: pd.Categorical(known[name], known[name].unique()) for name in by}
    for (_, dataset, regime), here in rows.assign(**ordered).groupby(by, observed=True):
        counts, seeds = here["verdict"].value_counts(sort=False), here["n_seeds"].astype(float)
        about = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if verdict in counts]
        if seeds.min() > 0:  # not of timings
            about.append(f"{range_of(seeds, 0)} seed{'s' if seeds.max() > 1 else ''}")
        verdict, place = claim.overall(here["verdict"]), f"{dataset}, " if dataset else ""
        how, again = ", ".join(about), link(here["notebook"].iloc[0])
        lines.append(f"{place}{regime}: *{verdict}* ({how}), {span_of(here)}, {again}")
    return lines


def summary() -> str:
    """Two tables in Markdown, of claims and of questions: a row each, and in each regime its verdict."""
    ledgers, lines = {profile: read(profile) for profile in COMMITTED}, {False: [], True: []}
    for name, claim in claims().items():
        rows = measured(ledgers, name)[1]
        cells = [_in_regime(rows[rows["regime"] == each]) if len(rows) else "–" for each in REGIMES]
        measure = f"{claim.shown} ({claim.shown_if})" if claim.shown_if else claim.shown
        lines[claim.question].append([name, claim.said, measure, *cells])
    regimes = " | ".join(f"{each} regime" for each in REGIMES)
    tables = [
        markdown(f"| | {title} | what is measured (shown if) | {regimes} |", 5, lines[asked])
        for asked, title in enumerate(ASKED)
        if lines[asked]
    ]
    return "\n\n".join([MEDIANS, *tables])


def _in_regime(rows: pd.DataFrame) -> str:
    """``*partly* 0.42 (13 of 22)``."""
    if rows.empty:
        return "–"
    shown, contrary = counted(rows)
    median = span_of(rows) if rows["value"].isna().all() else f"{rows['value'].median():.2g}"
    against = f", contrary {contrary}" if contrary else ""
    return f"**{rows['overall'].iloc[0]}** {median} ({shown} of {len(rows)}{against})"


def counted(rows: pd.DataFrame) -> tuple[int, int]:
    """How many of these tests show their claim, and how many its contrary."""
    shown, contrary = (int(rows["verdict"].isin(kind).sum()) for kind in (SHOWN, CONTRARY))
    return shown, contrary


def measured(ledgers: Mapping[str, pd.DataFrame], name: str) -> tuple[str, pd.DataFrame]:
    """The first profile that has measured a claim, and its rows; nothing where none has."""
    for profile, ledger in ledgers.items():
        rows = ledger[(ledger["id"] == name) & (ledger["verdict"] != NOT_MEASURED)]
        if len(rows):
            return profile, rows
    return "", pd.DataFrame()


def found(profiles: Sequence[str] = COMMITTED) -> pd.DataFrame:
    """The tests of every claim, each claim's of the first profile that has measured it."""
    ledgers = {profile: read(profile) for profile in profiles}
    return pd.concat([measured(ledgers, name)[1] for name in claims()])


def span_of(rows: pd.DataFrame) -> str:
    """What was measured, with its interval; of several parts, the least and the greatest."""
    if rows["value"].isna().all():
        return _timed(rows)
    if len(rows) == 1:
        value, low, high = (f"{rows[name].iloc[0]:.3f}" for name in ("value", "low", "high"))
        return value if low == "nan" else f"{value} [{low}, {high}]"
    return range_of(rows["value"], 3)


def _timed(rows: pd.DataFrame) -> str:
    """Of a claim on timings, which have tables of their own: the ratio, and of what milliseconds it is."""
    name = f"{rows['notebook'].iloc[0]}_caching.csv"
    path = paths.RESULTS / str(rows["profile"].iloc[0]) / name
    times = read_table(path) if path.is_file() else pd.DataFrame()
    if "rvd_cpu_ms" not in times:  # an older version wrote it
        return "in its tables"
    times = times[times["regime"].isin(rows["regime"])]
    means = times.groupby("regime")[["ratio", "rvd_cpu_ms", "undefended_cpu_ms"]].mean()
    ratio, ours, bare = (range_of(means[name], n) for name, n in zip(means, (0, 2, 3), strict=True))
    return f"{ratio} times as long, {ours} ms against {bare} ms"


def markdown(head: str, texts: int, rows: Iterable[Sequence[str]]) -> str:
    """A table under the line ``head``; all columns but the first ``texts`` are set to the right."""
    rule = "|" + "---|" * texts + "--:|" * (head.count("|") - 1 - texts)
    return "\n".join([head, rule, *(f"| {' | '.join(row)} |" for row in rows)])
