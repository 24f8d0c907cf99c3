"""nbval with our comparison: what is off by twice the tolerance fails, what is off by half passes."""

import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from rvdlib import paths
from rvdlib.lab.runner.unchanged import OPTIMISED, SHOWN

VALUE = 0.25


CASES = [(kind, share) for kind in ("Markdown", "HTML") for share in (0, 0.5, 2)]


def executed(number: int, shown: str, kind: str) -> nbformat.NotebookNode:
    """A cell that shows VALUE, and whose committed output is ``shown``."""
    source = f"from IPython.display import {kind}\n{kind}('THR {VALUE:.4f} of MF')"
    data = {f"text/{kind.lower()}": shown, "text/plain": f"<IPython.core.display.{kind} object>"}
    output = new_output("execute_result", data, execution_count=number)
    return new_code_cell(source, outputs=[output], execution_count=number)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory) -> dict[str, list[str]]:
    """Notebook -> what nbval says of its cells, those of CASES and one of another text."""
    folder = tmp_path_factory.mktemp("executed")
    for name, tolerance in (("01", SHOWN), ("06", OPTIMISED)):
        shown = [(f"THR {VALUE + share * tolerance:.4f} of MF", kind) for kind, share in CASES]
        shown.append((f"THR {VALUE:.4f} of NSVD", "Markdown"))
        cells = [executed(number, *each) for number, each in enumerate(shown, start=1)]
        nbformat.write(new_notebook(cells=cells), folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "tests.nbval_within", "--nbval", "-rA"]
    command += ["--nbval-current-env", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True)
    lines = re.findall(r"^(PASSED|FAILED) \S*?(\d+\.ipynb::Cell \d+)", done.stdout, re.MULTILINE)
    said = {cell: verdict for verdict, cell in lines}
    return {name: [said[f"{name}.ipynb::Cell {n}"] for n in range(7)] for name in ("01", "06")}


@pytest.mark.parametrize("name", ["01", "06"])
def test_a_number_may_be_off_by_less_than_the_tolerance_and_a_text_may_not_be_off(verdicts, name):
    assert verdicts[name] == ["PASSED", "PASSED", "FAILED"] * 2 + ["FAILED"]
