"""The report: one HTML page that loads nothing, the same as JSON and CSV, and the choices as YAML.

Names and ids come from somebody's file. In HTML they are escaped, in CSV no cell begins a formula, and in
the terminal no control character is printed.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from rvdlib.audit import words
from rvdlib.audit.findings import findings
from rvdlib.audit.run import Audit
from rvdlib.defenses.forms import chain_of
from rvdlib.paths import write_atomically
from rvdlib.plain_text import plain

FILES = ("index.html", "audit.json", "audit.csv", "defense.yml")
_COLUMNS = [
    *("kind", "name", "knowledge", "targets", "attack", "thr", "low", "high", "accuracy_change"),
    *("ms_per_user", "coverage", "list_length", "verdict"),
]


def document(
    found: Audit, command: Sequence[str] = (), source: tuple[str, dict] | None = None
) -> dict[str, Any]:
    """The findings, and what they mean in words.

    Args:
        command: how the audit was called.
        source: the name or file that ``load_dataset`` read, and its layout, for the code in the report.
    """
    report = findings(found)
    return report | {
        "source": list(source) if source else None,
        "answer": words.answer(report),
        "recommendation": words.recommendation(report),
        "basis": words.basis(report),
        "command": plain(shlex.join(command)) if command else None,
    }


def write(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write the report's files, each whole or not at all, over those of an earlier one.

    ``defense.yml`` is written only if a remedy is recommended; an earlier one is then removed.
    """
    contents = {
        "audit.json": json.dumps(report, indent=1, allow_nan=False) + "\n",
        "audit.csv": as_csv(report),
        "index.html": as_html(report, folder),
    }
    if report["form"]:
        contents["defense.yml"] = as_yaml(report["form"], f"rvd audit of {report['dataset']}")
    else:
        (folder / "defense.yml").unlink(missing_ok=True)
    for name, content in contents.items():
        write_atomically(folder / name, content)
    return [folder / name for name in contents]


def as_yaml(form: dict[str, Any], made_by: str) -> str:
    """A form as a file of choices: ``regime``, and ``method`` with ``choices`` or a ``chain``."""
    head = f"# Written by {plain(made_by)}; chosen on validation items and the defender's own attacks.\n"
    head += f"# It {words.TRAINS}.\n" if chain_of(form).trains else ""
    return head + yaml.safe_dump(form, sort_keys=False)


def as_csv(report: dict[str, Any]) -> str:
    """One row a measured attack or remedy; no cell is a formula for a spreadsheet."""

    def inert(value: object) -> object:
        if not isinstance(value, str):
            return value
        return f"'{plain(value)}" if value[:1] in tuple("=+-@\t\r") else plain(value)

    rows = [
        {"kind": kind, "low": row.get("thr_low"), "high": row.get("thr_high"), **row}
        for kind in ("attacks", "remedies")
        for row in report[kind]
    ]
    return pd.DataFrame(rows, columns=_COLUMNS).map(inert).to_csv(index=False, lineterminator="\n")


def as_html(report: dict[str, Any], folder: Path = Path()) -> str:
    """The page: no script, no address that a browser would ask; ``folder``: where it will be."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=lambda name: name == "report.html.j2",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda *given: _unbroken(words.percent(*given)),
        "span": lambda *given: _unbroken(words.with_interval(*given)),
        "plain": lambda text: _unbroken(plain(text)),
        "yaml": lambda form: yaml.safe_dump(form, sort_keys=False).strip(),
        "repr": repr,
    }
    form = str(folder / "defense.yml")
    code = environment.get_template("served.py.j2").render(r=report, form=form)
    rows, ends = report["attacks"] + report["remedies"], ("thr", "high", "thr_high", "thr_clean")
    most = max(0.01, *(row.get(name) or 0.0 for row in rows for name in ends))
    return environment.get_template("report.html.j2").render(r=report, code=code, most=most)


def _unbroken(text: str) -> str:
    return text.replace(" %", "\N{NO-BREAK SPACE}%")
