"""What the site is built from: a page a notebook, the ledger of claims, the glossary, USING, a start page.

``python -m rvdlib.lab.runner.site FOLDER`` writes these sources; ``make site`` also builds them by
Sphinx (``site/conf.py``). Nothing is executed: a page is the executed copy of its notebook, of the
paper profile where there is one, else of the quick one.
"""

import re
import shutil
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import nbformat
import pandas as pd

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.profiles import COMMITTED
from rvdlib.lab.runner import shown, verdicts
from rvdlib.lab.runner.ledger import RULE, SETTINGS, claims, read
from rvdlib.lab.runner.notebook_runner import read_notebook
from rvdlib.lab.runner.report import title

GLOSSARY, LEDGER, VERDICTS, USING = "GLOSSARY.md", "ledger.md", "claims.png", "USING.md"
START = """# Real-time Vicinal Defense: an open reference study

Anyone can register fake users with a recommender and have it promote what they like. *Real-time
Vicinal Defense* (RVD; Xu, Wu and Lian 2023, [arXiv 2309.17278](https://arxiv.org/abs/2309.17278))
answers at inference time: before a user is served, the model is fine-tuned on the training rows of the
user's *k* nearest neighbours, few of whom are fake; then it is restored. Here its
claims, and questions that it leaves open, are tested.

{answer}
{figure}
[The ledger](ledger.md) has what was measured for each claim, and how to measure it again. Terms are
explained in the [glossary](GLOSSARY.md). How to use it on ratings or a model of one's own is [here](USING.md).

## The questions

| question | answered from |
|---|---|
{questions}

## Compute it again

In a clone, `make study` takes the committed rows of the quick profile (MovieLens-100K, a quarter of an
hour with the installation); `rvd study --profile paper --hours 8` computes the most valuable of what the
paper profile lacks; `make site` builds these pages.
Each page ends with the command that computes it alone.

```{{toctree}}
:hidden:
:caption: Questions

{pages}
```

```{{toctree}}
:hidden:
:caption: Besides

USING
ledger
GLOSSARY
```
"""
FIGURE = """
```{figure} claims.png
:alt: Each claim of the paper, how many tests show it or its contrary, and the verdict
:width: 100%

Each claim, how many of its tests show it and how many its contrary, and the verdict.
```
"""


def write_sources(folder: Path, profiles: Sequence[str] = COMMITTED) -> list[str]:
    """Write the sources into a folder, which is emptied first; the names of the notebooks in it.

    Args:
        profiles: whose executed notebooks are taken, the first that has one.

    Raises:
        StudyError: if none of the profiles has an executed notebook; for a folder of other files.
    """
    found = shown.executed(profiles)
    if not found:
        raise StudyError(
            f"{paths.RESULTS} has no executed notebook of the profiles {', '.join(profiles)}: "
            "run make study first"
        )
    if folder.exists() and any(folder.iterdir()) and not (folder / LEDGER).is_file():
        raise StudyError(f"{folder} holds other files, and would be emptied: name another folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / LEDGER).write_text(_ledger(profiles, found))
    questions = []
    for name, path in found.items():
        notebook, profile = read_notebook(path), path.parent.name
        questions.append(f"| [{title(notebook, name)}]({name}.ipynb) | the {profile} profile |")
        nbformat.write(_page(notebook, name, profile), folder / path.name)
    shutil.copy(paths.NOTEBOOKS / GLOSSARY, folder / GLOSSARY)
    (folder / USING).write_text(_using(found))
    drawn = [paths.FIGURES / profile / VERDICTS for profile in profiles]
    figure = next((path for path in drawn if path.is_file()), None)
    if figure:
        shutil.copy(figure, folder / VERDICTS)
    start = START.format(
        answer=shown.answer("03", profiles).removeprefix("–"),
        figure=FIGURE if figure else "",
        questions="\n".join(questions),
        pages="\n".join(found),
    )
    (folder / "index.md").write_text(start)
    return [*found]


def _using(pages: Collection[str]) -> str:
    """USING.md; of its links into the project, those to notebooks lead to their pages, others go."""

    def led(link: re.Match) -> str:
        text, aim = link.groups()
        return f"[{text}]({Path(aim).name})" if Path(aim).stem in pages else text

    return re.sub(r"\[([^\]]*)\]\(([^)#][^):]*)\)", led, (paths.PROJECT / USING).read_text())


def _page(notebook: nbformat.NotebookNode, name: str, profile: str) -> nbformat.NotebookNode:
    """The notebook with its code folded away, and the command that computes it again."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    text = (
        "## Compute it again\n\n"
        f"```console\n{_command(profile, name)}\n```\n\n"
        f"in a clone, after `make study`; the tables behind this page are `results/{profile}/{name[:2]}_*.csv`."
    )
    notebook.cells.append(nbformat.v4.new_markdown_cell(text, id="compute-it-again"))
    return notebook


def _command(profile: str, *names: str) -> str:
    return f"rvd study --profile {profile} {' '.join(f'--only {n[:2]}' for n in names)} --force"


def _ledger(profiles: Sequence[str], pages: Collection[str]) -> str:
    """The ledger in Markdown: the table of claims, and then a row each of a claim's parts."""
    ledgers, sections = {profile: read(profile) for profile in profiles}, []
    for name, claim in claims().items():
        profile, rows = verdicts.measured(ledgers, name)
        if profile:
            again = _command(profile, *dict.fromkeys(rows["notebook"]))
            asked = f" Shown if {claim.shown_if}." if claim.shown_if else ""
            parts = [f"## {name}", f"{claim.said}.{asked}", _parts(rows), f"Computed by `{again}`."]
            sections.append("\n\n".join(parts))
    table = verdicts.claims_table(
        lambda _, name: f"[{name[:2]}]({name}.ipynb)" if name in pages else name[:2], profiles
    )
    return "\n\n".join(["# The ledger of claims", RULE, table, *sections]) + "\n"


def _parts(rows: pd.DataFrame) -> str:
    """What each part of a claim is about, what was measured there, and its verdict."""
    about = [name for name in SETTINGS if rows[name].notna().any()]
    columns = [*about, "measured", "value", "seeds", "verdict"]
    lines = []
    for place, row in enumerate(rows.astype(object).fillna("–").to_dict("records")):
        span = verdicts.span_of(rows.iloc[[place]])
        cells = [*(row[name] for name in about), row["metric"], span, f"{row['n_seeds']:.0f}"]
        lines.append([*map(str, cells), row["verdict"]])
    head = f"| {' | '.join(columns).replace('_', ' ')} |"
    return verdicts.markdown(head, len(columns), lines)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m rvdlib.lab.runner.site FOLDER")
    try:
        write_sources(Path(sys.argv[1]))
    except StudyError as error:
        raise SystemExit(f"Error: {error}") from None
