"""What the site is built from: a page a notebook, the ledger of claims, the glossary, a start page.

``python -m rvdlib.lab.runner.site FOLDER`` writes these sources; ``make site`` also builds them by
Sphinx (``site/conf.py``). Nothing is executed: a page is the executed copy of its notebook, of the
paper profile where there is one, else of the quick one.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pandas as pd

from rvdlib import paths
from rvdlib.lab.runner import readme
from rvdlib.lab.runner.ledger import NOT_MEASURED, SETTINGS, SIGNS, claims, read
from rvdlib.lab.runner.notebook_runner import read_notebook
from rvdlib.lab.runner.report import title

GLOSSARY, LEDGER, VERDICTS = "GLOSSARY.md", "ledger.md", "claims.png"
START = """# Real-time Vicinal Defense: an open reference study

Anyone can register fake users with a recommender and have it promote what they like. *Real-time
Vicinal Defense* (RVD; Xu, Wu and Lian 2023, [arXiv 2309.17278](https://arxiv.org/abs/2309.17278))
answers at inference time: before a user is served, the model is fine-tuned on the training rows of the
user's *k* nearest neighbours, few of whom are fake; then it is restored. Here its 17 claims are
tested.

{answer}
{figure}
[The ledger](ledger.md) has what was measured for each claim, and how to measure it again. Terms are
explained in the [glossary](GLOSSARY.md).

## The questions

| question | answered from |
|---|---|
{questions}

## Compute it again

In a clone, `make study` runs the quick profile on MovieLens-100K within the hour, and
`make study PROFILE=paper` all data sets, from the cells on record; `make site` builds these pages.
Each page ends with the command that computes it alone.

```{{toctree}}
:hidden:
:caption: Questions

{pages}
```

```{{toctree}}
:hidden:
:caption: Besides

ledger
GLOSSARY
```
"""
FIGURE = """
```{figure} claims.png
:alt: Each claim of the paper, what was measured, and the verdict
:width: 100%

Each claim, each of its parts with a 95 % interval, and the verdict. To the right of the line lies what
the paper says.
```
"""


def write_sources(folder: Path, profiles: Sequence[str] = readme.PROFILES) -> list[str]:
    """Write the sources into a folder, which is emptied first; the names of the notebooks in it.

    Args:
        profiles: whose executed notebooks are taken, the first that has one.

    Raises:
        FileNotFoundError: if none of the profiles has an executed notebook.
    """
    found: dict[str, str] = {}
    for profile in profiles:
        for path in sorted((paths.RESULTS / profile).glob("[0-9]*.ipynb")):
            found.setdefault(path.stem, profile)
    if not found:
        raise FileNotFoundError(
            f"{paths.RESULTS} has no executed notebook of the profiles {', '.join(profiles)}: "
            "run make study first"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names, questions = sorted(found), []
    for name in names:
        page = read_notebook(paths.RESULTS / found[name] / f"{name}.ipynb")
        questions.append(f"| [{title(page, name)}]({name}.ipynb) | the {found[name]} profile |")
        nbformat.write(_page(page, name, found[name]), folder / f"{name}.ipynb")
    shutil.copy(paths.NOTEBOOKS / GLOSSARY, folder / GLOSSARY)
    drawn = [paths.FIGURES / profile / VERDICTS for profile in profiles]
    figure = next((path for path in drawn if path.is_file()), None)
    if figure:
        shutil.copy(figure, folder / VERDICTS)
    (folder / LEDGER).write_text(_ledger(profiles, names))
    answer = readme.answer("03", profiles)
    start = START.format(
        answer=answer if answer != "–" else "",
        figure=FIGURE if figure else "",
        questions="\n".join(questions),
        pages="\n".join(names),
    )
    (folder / "index.md").write_text(start)
    return names


def _page(notebook: nbformat.NotebookNode, name: str, profile: str) -> nbformat.NotebookNode:
    """The notebook with its code folded away, and the command that computes it again."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    text = (
        "## Compute it again\n\n"
        f"```console\nrvd study --profile {profile} --only {name[:2]} --force\n```\n\n"
        f"in a clone, after `make study`; the tables behind this page are `results/{profile}/{name[:2]}_*.csv`."
    )
    again = nbformat.v4.new_markdown_cell(text, id="compute-it-again")
    notebook.cells.append(again)
    return notebook


def _ledger(profiles: Sequence[str], names: Sequence[str]) -> str:
    """The ledger in Markdown: a row a claim, and then a row each of its parts."""
    ledgers = {profile: read(profile) for profile in profiles}
    lines, sections = [], []
    for name, claim in claims().items():
        profile, rows = readme.measured(ledgers, name)
        asked = f"{SIGNS[claim.sense]} {claim.threshold:g}" if claim.sense else "–"
        says = claim.claim + (f" ({claim.reported})" if claim.reported else "")
        if not profile:
            lines.append(f"| {name} | {says} | – | {asked} | – | {NOT_MEASURED} | – |")
            continue
        notebook = rows["notebook"].iloc[0]
        seeds = " to ".join(dict.fromkeys(f"{n:.0f}" for n in rows["n_seeds"].agg(["min", "max"])))
        there = f"[{notebook[:2]}]({notebook}.ipynb)" if notebook in names else notebook[:2]
        verdict = f"[{rows['overall'].iloc[0]}](#{name.lower()})"
        measured = readme.span_of(rows)
        lines.append(f"| {name} | {says} | {measured} | {asked} | {seeds} | {verdict} | {there} |")
        again = f"`rvd study --profile {profile} --only {notebook[:2]} --force`"
        sections.append(f"## {name}\n\n{says}.\n\n{_parts(rows)}\n\nComputed by {again}.")
    head = "| | the paper says | measured | shown if | seeds | verdict | page |"
    rule = (
        "*Reproduced* and *not reproduced* are shown at the level of a 95 % interval, all parts of a "
        "claim taken together; *undecided* is what the seeds neither show nor refute; *partly* means "
        "that some parts show it and some its contrary. Where a claim has several parts, the least and "
        "the greatest of what they measured are given."
    )
    table = "\n".join([head, "|---|---|---|---|---|---|---|", *lines])
    return "\n\n".join(["# The ledger of claims", rule, table, *sections]) + "\n"


def _parts(rows: pd.DataFrame) -> str:
    """What each part of a claim is about, what was measured there, and its verdict."""
    about = [name for name in SETTINGS if name in rows and rows[name].notna().any()]
    columns = [*about, "measured", "value", "seeds", "verdict"]
    lines = ["| " + " | ".join(column.replace("_", " ") for column in columns) + " |"]
    lines += ["|" + "---|" * len(columns)]
    for place in range(len(rows)):
        row = rows.iloc[[place]]
        cells = ["–" if pd.isna(row[name].iloc[0]) else str(row[name].iloc[0]) for name in about]
        cells += [str(row["metric"].iloc[0]), readme.span_of(row), f"{row['n_seeds'].iloc[0]:.0f}"]
        lines.append("| " + " | ".join([*cells, str(row["verdict"].iloc[0])]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    write_sources(Path(sys.argv[1]))
