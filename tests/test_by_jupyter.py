"""Every notebook at tiny size as JupyterLab runs it, in its own folder."""

from nbclient import NotebookClient

from rvdlib import paths
from rvdlib.lab.runner.notebook_runner import read_notebook
from tests.by_hand import errors, every_notebook, expected, tiny, written


@every_notebook
def test_jupyter_runs_it_in_its_own_folder_into_scratch(output, name):
    notebook = read_notebook(paths.NOTEBOOKS / f"{name}.ipynb")
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in tiny(name).items())
    resources = {"metadata": {"path": str(paths.NOTEBOOKS)}}
    NotebookClient(notebook, kernel_name="python3", resources=resources).execute()
    assert errors(notebook) == []
    assert written(output) >= expected(name)
    assert {path.split("/")[1] for path in written(output)} == {"scratch"}
