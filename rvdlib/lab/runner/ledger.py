"""The ledger: what the paper says and what else is asked, from ``params/claims.yml``, and what notebooks found.

A notebook judges its own claims (:mod:`rvdlib.lab.study.claims`) and keeps them in a table of its
own, ``NN_claims.csv``. This module joins these to one file of all. Where two notebooks have measured a
claim, as they do under other attacks, both have a say. What has fewer than :data:`FEWEST` seeds on a
data set in a regime is left out where anything has more.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.strict_yaml import read_yaml

CLAIMS_FILE = paths.PARAMS / "claims.yml"
REPRODUCED, NOT, UNDECIDED = "reproduced", "not reproduced", "undecided"
PARTLY, MIXED = "partly", "mixed"
HOLDS, FAILS = "holds as restated", "fails as restated"
NOT_MEASURED, NOT_FOR_RVD = "not measured", "not measured for RVD"
SHOWN, CONTRARY = {REPRODUCED, HOLDS}, {NOT, FAILS}
# In the order in which a claim's tests are counted.
VERDICTS = (REPRODUCED, PARTLY, MIXED, NOT, UNDECIDED, HOLDS, FAILS, NOT_FOR_RVD, NOT_MEASURED)
SIGNS = {"above": ">", "at least": "≥", "below": "<", "at most": "≤"}
# What a part of a claim is about: columns that are empty where a claim has one part alone.
SETTINGS = ["dataset", "regime", "target_set", "victim", "attack", "defense"]
MEASURED = ["metric", "value", "low", "high", "n_seeds", "verdict", "overall"]
PART = ["id", *SETTINGS, *MEASURED]
COLUMNS = ["id", "claim", "reported", *SETTINGS, *MEASURED, "notebook", "profile"]
RULE = (
    "In one test (a notebook's data set and regime, often a victim) a claim is *reproduced* or *not "
    "reproduced* if it or its contrary is shown at the level of a 95 % interval, corrected for the number "
    "of tests of that notebook and data set; else it is *undecided*. In a regime a claim is *reproduced* if "
    "every test shows it, *mixed* if some show it and some its contrary, *partly* if at least half show it "
    "and none its contrary, *not reproduced* if at least half show its contrary and none shows it, and else "
    "*undecided*. Intervals shown are not corrected, verdicts are. Attacks are those of the literature: our low clones are "
    "left out of C1 to C4 and C8; C5, C7 and C11 count the paper's alone, C5 and C11 of these random and average. "
    "Accuracy has to hold in each metric. Fewer than three seeds do not count where anything has more. The rule "
    "was made stricter twice after results were seen: at first one test that showed a claim was enough for "
    "*partly*, later both regimes shared one verdict. How C5, C7, C8, C11 and C17 are asked was changed then, too "
    "(C5 and C11 once counted attacks that are not the paper's). Where the paper's statement was not at hand, ours *holds* or *fails as restated*; it fails if it does in one "
    "test. What was measured for another method alone is *not measured for RVD*."
)
FEWEST = 3  # seeds, below which an interval says next to nothing


class Claim(BaseModel):
    """One claim of the paper, or a question that it leaves open, and what would show it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: str
    metric: str
    shown: str  # the metric in few words
    reported: str | None = None
    threshold: float | None = None
    sense: Literal["above", "at least", "below", "at most"] | None = None
    notebook: str | None = None
    # The notebook that measures it on every data set, where ``notebook`` has one alone.
    all_datasets: str | None = None
    question: bool = False  # not of the paper: what its summary asks for next
    restated: bool = False  # the paper's own statement was not at hand
    measured_on: str | None = None  # the method, where it is not the paper's

    @property
    def said(self) -> str:
        """With what the paper reports."""
        return self.claim + (f" ({self.reported})" if self.reported else "")

    @property
    def shown_if(self) -> str:
        """``≥ 0.2``; nothing without a threshold."""
        return f"{SIGNS[self.sense]} {self.threshold:g}" if self.sense else ""

    @property
    def words(self) -> tuple[str, str]:
        """Of a test that shows the claim, and of one that shows its contrary."""
        return (HOLDS, FAILS) if self.restated else (REPRODUCED, NOT)

    def overall(self, verdicts: Iterable[str]) -> str:
        """The verdict of all its tests (:data:`RULE`); what was not measured does not count."""
        counted = [verdict for verdict in verdicts if verdict != NOT_MEASURED]
        shown = [verdict for verdict in counted if verdict in SHOWN]
        contrary = counted.count(NOT)
        if not counted:
            return NOT_MEASURED
        if self.measured_on:
            return NOT_FOR_RVD
        if FAILS in counted:
            return FAILS
        if len(shown) == len(counted):
            return shown[0]
        if shown and contrary:
            return MIXED
        if 2 * max(len(shown), contrary) < len(counted):
            return UNDECIDED
        return NOT if contrary else PARTLY

    def by_regime(self, rows: pd.DataFrame) -> pd.Series:
        """For each test, a row, the verdict of all tests of its regime."""
        return rows.groupby("regime", dropna=False)["verdict"].transform(self.overall)


@functools.cache
def claims() -> dict[str, Claim]:
    """Id → claim, C1 to C17.

    Raises:
        StudyError: names the file, the claim and the key that does not fit.
    """
    try:
        return TypeAdapter(dict[str, Claim]).validate_python(read_yaml(CLAIMS_FILE))
    except ValidationError as error:
        first = error.errors()[0]
        place = ", ".join(map(str, first["loc"]))
        raise StudyError(
            f"{CLAIMS_FILE}: {place}: {first['msg']}, got {first['input']!r}"
        ) from None


def assemble(profile: str) -> pd.DataFrame:
    """Write ``claims.csv`` and ``claims.json`` of a profile from its notebooks' tables of claims.

    Every claim is in it: a row a part, ``overall`` the verdict of all its parts of one regime, and one
    row *not measured* of a claim that no notebook has measured.

    Raises:
        StudyError: if a notebook's table has other columns, as an older version wrote them.
    """
    folder, found = paths.RESULTS / profile, []
    tables = _tables(folder)
    for name, claim in claims().items():
        rows = _measured(tables, name, claim)
        found.append(rows.assign(**claim.model_dump(include={"claim", "reported"})))
    ledger = pd.concat(found).assign(profile=profile).reindex(columns=COLUMNS)
    text = ledger.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    paths.write_atomically(folder / "claims.csv", text)
    records = ledger.astype(object).where(ledger.notna(), None).to_dict("records")
    paths.write_atomically(folder / "claims.json", json.dumps(records, indent=1) + "\n")
    return ledger


def read(profile: str) -> pd.DataFrame:
    """``claims.csv`` of a profile; of one without, a frame of no rows."""
    path = paths.RESULTS / profile / "claims.csv"
    return read_table(path) if path.is_file() else pd.DataFrame(columns=COLUMNS)


def said_of(name: str, judged: pd.DataFrame) -> str:
    """``C7: undecided in the rating regime, reproduced in the ranking regime``."""
    by_regime = judged[judged["id"] == name].groupby("regime", sort=False)["overall"].first()
    said = [f"{verdict} in the {regime} regime" for regime, verdict in by_regime.items()]
    return f"{name}: {', '.join(said)}"


def range_of(values: pd.Series, decimals: int) -> str:
    """``0.092 to 0.757``; one number where both ends are shown alike."""
    ends = (f"{values.agg(end):.{decimals}f}" for end in ("min", "max"))
    return " to ".join(dict.fromkeys(ends))


def read_table(path) -> pd.DataFrame:
    """A table of the study: only an empty cell is missing, and ``none`` is a name."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def _measured(tables: Mapping[str, pd.DataFrame], name: str, claim: Claim) -> pd.DataFrame:
    taken, enough = [], []
    for notebook in _notebooks(claim):
        table = tables[notebook]
        rows = table[table["id"] == name].astype(object).assign(notebook=notebook)
        for _, here in rows.groupby(
            [rows["dataset"].fillna(""), "regime"], sort=False, dropna=False
        ):
            seeds = here.loc[here["verdict"] != NOT_MEASURED, "n_seeds"]
            taken += [here] if len(seeds) else []
            enough += [here] if seeds.min() >= FEWEST else []
    if taken:
        rows = pd.concat(enough or taken)
        return rows.assign(overall=claim.by_regime(rows))
    nothing = {"id": name, "metric": claim.metric, "n_seeds": 0, "notebook": claim.notebook}
    return pd.DataFrame([nothing | dict.fromkeys(("verdict", "overall"), NOT_MEASURED)])


def _notebooks(claim: Claim) -> list[str]:
    return [name for name in (claim.all_datasets, claim.notebook) if name]


def _tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Notebook → its table of claims; of one that has not run, no rows."""
    named = sorted({name for claim in claims().values() for name in _notebooks(claim)})
    files = {name: folder / f"{name[:2]}_claims.csv" for name in named}
    nothing = pd.DataFrame(columns=PART)
    tables = {n: read_table(file) if file.is_file() else nothing for n, file in files.items()}
    if old := [files[name] for name in named if [*tables[name]] != PART]:
        only = " ".join(f"--only {path.name[:2]}" for path in old)
        raise StudyError(
            f"{' and '.join(map(str, old))} has other columns than a table of claims, an older version "
            f"wrote it: bring it up to date by rvd study --profile {folder.name} {only}"
        )
    return tables
