"""nbval with our comparison: what is off by twice the tolerance fails, what is off by half passes."""

import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from rvdlib import paths
from rvdlib.lab.runner.unchanged import OPTIMISED, SHOWN

VALUE = 0.25


def executed(shown: str, kind: str) -> nbformat.NotebookNode:
    """A notebook whose cell shows VALUE, and whose committed output is ``shown``."""
    source = f"from IPython.display import {kind}\n{kind}('THR {VALUE:.4f} of MF')"
    data = {
        f"text/{kind.lower()}": shown,
        "text/plain": f"<IPython.core.display.{kind} object>",
    }
    output = new_output("execute_result", data, execution_count=1)
    return new_notebook(cells=[new_code_cell(source, outputs=[output], execution_count=1)])


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory) -> dict[str, str]:
    """Notebook -> what nbval says of it: all of them in one run."""
    folder = tmp_path_factory.mktemp("executed")
    shown = {
        f"{name}_{kind}_{share}": (f"THR {VALUE + share * tolerance:.4f} of MF", kind)
        for name, tolerance in (("01", SHOWN), ("06", OPTIMISED))
        for kind in ("Markdown", "HTML")
        for share in (0, 0.5, 2)
    }
    shown["01_another_text"] = (f"THR {VALUE:.4f} of NSVD", "Markdown")
    for name, (text, kind) in shown.items():
        nbformat.write(executed(text, kind), folder / f"{name}.ipynb")
    command = [sys.executable, "-m", "pytest", "-p", "tests.nbval_within", "--nbval", "-rA"]
    command += ["--nbval-current-env", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True)
    lines = [line.split() for line in done.stdout.splitlines() if ".ipynb::" in line]
    return {line[1].rpartition("/")[2].partition(".ipynb")[0]: line[0] for line in lines}


@pytest.mark.parametrize("kind", ["Markdown", "HTML"])
@pytest.mark.parametrize("name", ["01", "06"])
@pytest.mark.parametrize(("share", "verdict"), [(0, "PASSED"), (0.5, "PASSED"), (2, "FAILED")])
def test_a_number_may_be_off_by_less_than_the_tolerance(verdicts, name, kind, share, verdict):
    assert verdicts[f"{name}_{kind}_{share}"] == verdict


def test_a_text_may_not_be_off(verdicts):
    assert verdicts["01_another_text"] == "FAILED"
