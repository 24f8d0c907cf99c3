"""Notebook 13: the audit of a data set, with a stated number of repetitions and without a clock."""

from typing import Any

import pandas as pd

from rvdlib.audit import audit, document
from rvdlib.data import load_dataset
from rvdlib.lab.study import tables

ATTACKS = {
    "name": "attack",
    "knowledge": "the attacker knows",
    "targets": "targets",
    "thr": "THR",
    "low": "low",
    "high": "high",
    "lift": "lift",
}
REMEDIES = {
    "name": "remedy",
    "attack": "under attack",
    "targets": "targets",
    "verdict": "verdict",
    "thr": "THR",
    "thr_low": "low",
    "thr_high": "high",
    "thr_clean": "THR, not attacked",
    "accuracy_change": "NDCG, relative change",
    "coverage": "catalogue served",
    "list_length": "items in a list",
}


def audited(dataset: str, **asked: Any) -> dict[str, Any]:
    """The report of :func:`rvdlib.audit.audit`, without anything that differs from run to run."""
    found = audit(load_dataset(dataset), minutes=None, **asked)
    found.milliseconds.clear()
    return document(found) | {"seconds": None}


def answer(report: dict[str, Any]) -> str:
    """The audit's own sentences."""
    return tables.answer(*report["answer"])


def attacks(report: dict[str, Any]) -> pd.DataFrame:
    """One row an attack and set of targets: THR with its interval over repetitions, and the lift."""
    return pd.DataFrame(report["attacks"])[list(ATTACKS)]


def remedies(report: dict[str, Any]) -> pd.DataFrame:
    """One row a remedy, under the attack and the targets that are worst for it; first without any."""
    return pd.DataFrame(report["remedies"])[list(REMEDIES)]


def table(frame: pd.DataFrame, decimals: int = 3) -> pd.DataFrame:
    """As it is shown."""
    names = REMEDIES if "verdict" in frame else ATTACKS
    shown = frame.rename(columns=names).round(decimals).fillna("–")
    return shown.set_index(shown.columns[0])


def caveats(report: dict[str, Any]) -> str:
    """How sure, and what was not tried, in Markdown."""
    sure = [f"- {sentence}" for sentence in report["basis"][1:]]
    left = [f"- {each['what']}: {each['why']}" for each in report["not_tried"]]
    return "\n".join([*sure, "", "Not tried:", "", *left])
