"""The check of executed notebooks: numbers within the notebook's tolerance, all else to the letter."""

import re
import subprocess
import sys

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from rvdlib.paths import PROJECT
from rvdlib.runner.unchanged import OPTIMISED, SHOWN


def printed(number, text="MF"):
    output = new_output("stream", name="stdout", text=f"{number:.5f} {text}\n")
    return new_code_cell('print("0.50000 MF")', outputs=[output], execution_count=1)


def shown(number):
    data = {
        "text/html": f"<td>{number:.5f}</td>",
        "text/plain": "<IPython.core.display.HTML object>",
    }
    output = new_output("execute_result", data=data, execution_count=1)
    source = 'from IPython.display import HTML\nHTML("<td>0.50000</td>")'
    return new_code_cell(source, outputs=[output], execution_count=1)


def test_an_output_altered_by_half_the_tolerance_passes_and_by_twice_fails(tmp_path):
    for name, tolerance in (("03_x", SHOWN), ("06_x", OPTIMISED)):
        near, far = 0.5 + tolerance / 2, 0.5 + tolerance * 2
        cells = [printed(near), printed(far), shown(near), shown(far), printed(0.5, "CDAE")]
        nbformat.write(new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    command = ["-m", "pytest", "-rf", "-p", "tests.nbval_within", "--nbval", "--nbval-current-env"]
    told = subprocess.run(
        [sys.executable, *command, tmp_path], cwd=PROJECT, capture_output=True, text=True
    ).stdout
    failed = re.findall(r"^FAILED .*/(\w+)\.ipynb::Cell (\d)", told, re.MULTILINE)
    assert failed == [(name, cell) for name in ("03_x", "06_x") for cell in "134"], told
