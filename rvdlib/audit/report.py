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
from rvdlib.audit.preparing import Audit
from rvdlib.audit.remedies import trains
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
    report["sure"] = words.sure(report)
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
    head += f"# It {words.TRAINS}.\n" if trains(form) else ""
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
        if row["targets"] != undefended["targets"]:
            continue
        label = "nobody attacks" if row["name"] == "none" else f"undefended, attack {row['name']}"
        kind = "clean" if row["name"] == "none" else "attack"
        found.append(
            {"label": label, **_bounds(row, "low", "high", undefended["thr_clean"]), "kind": kind}
        )
    for row in report["remedies"][1:]:
        other = "" if row["targets"] == undefended["targets"] else f", {row['targets']} items"
        label = f"{row['name']}, attack {row['attack']}{other}"
        kind = "best" if row["name"] == report["recommended"] else "remedy"
        found.append(
            {"label": label, **_bounds(row, "thr_low", "thr_high", row["thr_clean"]), "kind": kind}
        )
    most = max([0.01, *(row[of] or 0.0 for row in found for of in ("high", "thr", "clean"))])
    return [row | {"most": most} for row in found]


def code(report: dict[str, Any], folder: Path = Path()) -> str:
    """How to train and serve by what is recommended, to be run where the audit was."""
    if not report["form"]:
        return ""
    name, chosen, seed = report["model"], report["hyperparameters"], report["seed"]
    form, split = str(folder / "defense.yml"), _SPLITS[report["split"]]
    ratings = "# ratings: those that were given to audit()"
    if report["source"]:
        where, layout = report["source"]
        said = "".join(f", {option}={value!r}" for option, value in layout.items())
        ratings = f"ratings = load_dataset({where!r}{said})"
    if chosen is None:
        return (
            "import numpy as np\n\n"
            "from rvdlib.audit import Defended\n"
            "from rvdlib.audit.subject import OwnModel, load_own\n"
            "from rvdlib.data import load_dataset\n\n"
            f"{ratings}\n"
            f"yours = OwnModel({name!r}, {report['regime']!r}, load_own({name!r}))\n"
            "# Trains it on all ratings, (users, items) CSR.\n"
            f"served = Defended({form!r}, yours.make({seed}), ratings.matrix)\n"
            "users = np.arange(3)\n"
            "scores, listed = served.score(users), served.eligible(users)"
        )
    return (
        "from pathlib import Path\n\n"
        "import numpy as np\n\n"
        f"from rvdlib.data import {split}, load_dataset\n"
        "from rvdlib.defenses.forms import chain_of\n"
        "from rvdlib.eligibility import only_eligible\n"
        f"from rvdlib.models import {name}\n"
        "from rvdlib.seeding import stream\n"
        "from rvdlib.strict_yaml import read_yaml\n\n"
        f"{ratings}\n"
        f'split = {split}(ratings, stream({seed}, "split"))\n'
        f"chain, levels = chain_of(read_yaml(Path({form!r}))), ratings.levels\n"
        f'rows = chain.clean(split.train, levels, stream({seed}, "clean"))\n'
        f"victim = {name}(**{chosen!r})\n"
        f'victim = chain.fit(victim, rows, split.validation, levels, stream({seed}, "model"))\n'
        "served, users = chain.wrap(victim), np.arange(3)\n"
        "scores = only_eligible(served, users, served.score(users))  # -inf: not to be listed"
    )


def plain(text: str) -> str:
    """Text without control characters, which a terminal would obey, each written as ``\\x1b`` is."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def _bounds(row: dict[str, Any], low: str, high: str, clean: float) -> dict[str, Any]:
    return {"thr": row["thr"], "low": row[low], "high": row[high], "clean": clean}


def _unbroken(text: str) -> str:
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _inert(value: object) -> object:
    if not isinstance(value, str):
        return value
    return f"'{plain(value)}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else plain(value)
