"""The report: one HTML page that loads nothing, the same as JSON and CSV, and the choices as YAML.

Names and ids come from somebody's file. In HTML they are escaped, in CSV no cell begins a formula, and in
the terminal no control character is printed.
"""

import csv
import io
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from rvdlib.audit import words
from rvdlib.audit.findings import findings
from rvdlib.audit.run import Audit
from rvdlib.defenses.forms import chain_of
from rvdlib.paths import check_writable, write_atomically

FILES = ("index.html", "audit.json", "audit.csv", "defense.yml")
_SPLITS = {"by time": "leave_last_out", "at random": "leave_one_out"}
_COLUMNS = (
    *("kind", "name", "knowledge", "targets", "attack", "thr", "low", "high", "accuracy_change"),
    *("ms_per_user", "coverage", "list_length", "verdict"),
)


def document(
    found: Audit, command: Sequence[str] = (), source: tuple[str, dict] | None = None
) -> dict[str, Any]:
    """The findings, and what they mean in words.

    Args:
        command: how the audit was called.
        source: the name or file that ``load_dataset`` read, and its layout, for the code in the report.
    """
    report = findings(found)
    report["source"] = list(source) if source else None
    report["answer"] = words.answer(report)
    report["recommendation"] = words.recommendation(report)
    report["basis"] = words.basis(report)
    report["command"] = plain(shlex.join(command)) if command else None
    return report


def check_folder(folder: Path) -> None:
    """Find out, before the work, whether a report can be written there.

    Raises:
        OSError: naming the path, if not.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file: name a folder for the report")
    for name in FILES:
        check_writable(folder / name)


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
    for name, content in contents.items():
        write_atomically(folder / name, content)
    if not report["form"]:
        (folder / "defense.yml").unlink(missing_ok=True)
    return [folder / name for name in contents]


def as_yaml(form: dict[str, Any], made_by: str) -> str:
    """A form as a file of choices: ``regime``, and ``method`` with ``choices`` or a ``chain``."""
    head = f"# Written by {plain(made_by)}; chosen on validation items and the defender's own attacks.\n"
    head += f"# It {words.TRAINS}.\n" if chain_of(form).trains else ""
    return head + yaml.safe_dump(form, sort_keys=False)


def as_csv(report: dict[str, Any]) -> str:
    """One row a measured attack or remedy; no cell is a formula for a spreadsheet."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for kind in ("attacks", "remedies"):
        for row in report[kind]:
            named = {"low": row.get("thr_low"), "high": row.get("thr_high")} | row
            writer.writerow(
                {name: _inert(value) for name, value in (named | {"kind": kind}).items()}
            )
    return text.getvalue()


def as_html(report: dict[str, Any], folder: Path = Path()) -> str:
    """The page: no script, no address that a browser would ask; ``folder``: where it will be."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda *given: _unbroken(words.percent(*given)),
        "span": lambda *given: _unbroken(words.with_interval(*given)),
        "plain": lambda text: _unbroken(plain(text)),
        "yaml": lambda form: yaml.safe_dump(form, sort_keys=False).strip(),
    }
    return environment.get_template("report.html.j2").render(
        r=report, named=words.NAMED, bars=bars(report), code=code(report, folder)
    )


def bars(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What the figure draws: label, share, bounds (or None), and kind."""
    found, undefended = [], report["remedies"][0]
    if undefended["thr"] is None:
        return []
    for row in report["attacks"]:
        if row["targets"] == undefended["targets"]:
            clean = row["name"] == "none"
            found.append(
                row
                | {"label": "nobody attacks" if clean else f"undefended, attack {row['name']}"}
                | {"kind": "clean" if clean else "attack", "clean": undefended["thr_clean"]}
            )
    for row in report["remedies"][1:]:
        other = "" if row["targets"] == undefended["targets"] else f", {row['targets']} items"
        found.append(
            {"thr": row["thr"], "low": row["thr_low"], "high": row["thr_high"]}
            | {"label": f"{row['name']}, attack {row['attack']}{other}", "clean": row["thr_clean"]}
            | {"kind": "best" if row["name"] == report["recommended"] else "remedy"}
        )
    most = max([0.01, *(row[of] or 0.0 for row in found for of in ("high", "thr", "clean"))])
    return [row | {"most": most} for row in found]


def code(report: dict[str, Any], folder: Path = Path()) -> str:
    """How to train and serve by what is recommended, to be run where the audit was."""
    if not report["form"]:
        return ""
    own, split = report["hyperparameters"] is None, _SPLITS[report["split"]]
    name, regime, seed = report["model"], report["regime"], report["seed"]
    ratings = "# ratings: those that were given to audit()"
    if report["source"]:
        where, layout = report["source"]
        said = "".join(f", {option}={value!r}" for option, value in layout.items())
        ratings = f"ratings = load_dataset({where!r}{said})"
    model = f"OurModel({name!r}, {regime!r}, [{report['hyperparameters']!r}])"
    return (
        "from pathlib import Path\n\n"
        "import numpy as np\n\n"
        f"from rvdlib.audit.subject import {'subject_of' if own else 'OurModel'}\n"
        f"from rvdlib.data import {split}, load_dataset\n"
        "from rvdlib.defenses.forms import chain_of\n"
        "from rvdlib.eligibility import only_eligible\n"
        "from rvdlib.seeding import stream\n"
        "from rvdlib.strict_yaml import read_yaml\n\n"
        f"{ratings}\n"
        f'split = {split}(ratings, stream({seed}, "split"))\n'
        f"chain = chain_of(read_yaml(Path({str(folder / 'defense.yml')!r})))\n"
        f"model = {f'subject_of({name!r}, {regime!r}, ratings.name)' if own else model}\n"
        f"trained = model.fit({'ratings.matrix' if own else 'split.train'}, split, {seed}, chain)\n"
        "served, users = chain.wrap(trained), np.arange(3)\n"
        "scores = only_eligible(served, users, served.score(users))  # -inf: not to be listed"
    )


def plain(text: str) -> str:
    """Text without control characters, which a terminal would obey, each written as ``\\x1b`` is."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def _unbroken(text: str) -> str:
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _inert(value: object) -> object:
    if not isinstance(value, str):
        return value
    return f"'{plain(value)}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else plain(value)
