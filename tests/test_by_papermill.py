"""Every notebook at tiny size by papermill's command line, from another folder."""

import subprocess
import sys
from pathlib import Path

import yaml

from rvdlib import paths
from rvdlib.lab.runner.notebook_runner import read_notebook
from tests.by_hand import errors, every_notebook, expected, tiny, written


def papermill(source: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "papermill", source, "executed.ipynb", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@every_notebook
def test_papermill_runs_it_from_another_folder_into_scratch(tmp_path, output, name):
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
