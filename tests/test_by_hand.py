"""A few notebooks at tiny size as people run them, without our runner: papermill's command line, Jupyter.

nbval runs every notebook, in kernels of its own. What one computes is kept in the project's cell store,
where the other finds it again: hence one file, on one process.
"""

import subprocess
import sys
from pathlib import Path

import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode

from rvdlib import paths
from rvdlib.lab.runner.notebook_runner import read_notebook
from rvdlib.lab.runner.plan import load_profile


def tiny(name: str) -> dict:
    """The tiny profile's parameters, but not its folder."""
    return {key: value for key, value in load_profile("tiny")[name].items() if key != "profile"}


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


def papermill(source: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "papermill", source, "executed.ipynb", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_papermill_runs_it_from_another_folder_into_scratch(tmp_path, output):
    name = "03_rvd_in_five_minutes"
    (tmp_path / "tiny.yml").write_text(yaml.safe_dump(tiny(name), sort_keys=False))
    source = paths.NOTEBOOKS / f"{name}.ipynb"
    done = papermill(source, tmp_path / "elsewhere", "-f", str(tmp_path / "tiny.yml"))
    assert done.returncode == 0, done.stderr
    assert errors(read_notebook(tmp_path / "elsewhere" / "executed.ipynb")) == []
    assert written(output) >= expected(name)
    assert {path.split("/")[1] for path in written(output)} == {"scratch"}


def test_text_for_a_list_is_one_sentence_that_names_y(tmp_path, output):
    source = paths.NOTEBOOKS / "01_datasets.ipynb"
    done = papermill(source, tmp_path, "-p", "seeds", "[0]")
    sentence = (
        "parameter 'seeds' should be a valid list, got '[0]': "
        "with papermill, give it as YAML, -y 'seeds: [0]', not -p"
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(f"\nStudyError: {sentence}")
    assert errors(read_notebook(tmp_path / "executed.ipynb")) == [sentence]
    assert written(output) == set()


def test_jupyter_runs_it_in_its_own_folder_into_scratch(output):
    name = "02_victims"
    notebook = read_notebook(paths.NOTEBOOKS / f"{name}.ipynb")
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in tiny(name).items())
    resources = {"metadata": {"path": str(paths.NOTEBOOKS)}}
    NotebookClient(notebook, kernel_name="python3", resources=resources).execute()
    assert errors(notebook) == []
    assert written(output) >= expected(name)
    assert {path.split("/")[1] for path in written(output)} == {"scratch"}
