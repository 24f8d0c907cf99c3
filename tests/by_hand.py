"""What the tests share that run every notebook at tiny size without our runner, as people do.

What both compute is kept in the project's cell store, where the check of the executed notebooks
finds it again.
"""

from pathlib import Path

import pytest
from nbformat import NotebookNode

from rvdlib import paths
from rvdlib.lab.runner.plan import load_profile

# Of what no store keeps, less than the tiny profile has.
LESS = {
    "05_real_time": {"descent_steps": [1]},
    "06_attacks": {"mapped": ["random"]},
    "08_timings": {
        "dials": {"k": [5], "steps": [2]},
        "timed_users": {"many": 8, "few": 1},
        "served": [500],
        "population": 100,
        "crowd": [200, 200],
    },
}
every_notebook = pytest.mark.parametrize("name", load_profile("tiny"))


def tiny(name: str) -> dict:
    """The tiny profile's parameters, or fewer, but not its folder."""
    parameters = load_profile("tiny")[name] | LESS.get(name, {})
    return {key: value for key, value in parameters.items() if key != "profile"}


def written(output: Path) -> set[str]:
    return {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}


def expected(name: str) -> set[str]:
    """What the runner's tiny run of this notebook wrote, in the profile of a run by hand."""
    folders = (paths.RESULTS / "tiny", paths.FIGURES / "tiny")
    number = name.partition("_")[0]
    return {
        f"{folder.parent.name}/scratch/{path.name}"
        for folder in folders
        for path in folder.glob(f"{number}_*")
        if path.suffix not in (".ipynb", ".html")
    }


def errors(notebook: NotebookNode) -> list[str]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.evalue for output in outputs if output.output_type == "error"]
