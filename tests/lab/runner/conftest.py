"""A project of its own in a temporary folder, and small notebooks to put into it."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from rvdlib import paths
from rvdlib.lab.runner.notebook_runner import ThisInterpreter

PARAMETERS = "k: int = 30\nprofile: str = 'tiny'"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of a glossary alone; every path of the study leads into it."""
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    monkeypatch.setattr(paths, "OUTPUT", tmp_path)
    monkeypatch.setattr(paths, "STUDY_RECORDS", tmp_path / ".cache" / "study")
    for name in ("NOTEBOOKS", "PARAMS", "RESULTS", "FIGURES"):
        monkeypatch.setattr(paths, name, tmp_path / name.lower())
        (tmp_path / name.lower()).mkdir()
    (tmp_path / "notebooks" / "GLOSSARY.md").write_text("# Glossary\n")
    return tmp_path


@pytest.fixture(scope="session")
def make_notebook():
    """``make_notebook(path, *code, parameters=..., title=...)`` writes a notebook and returns path."""

    def make(path, *code, parameters=PARAMETERS, title="A question"):
        cells = [new_markdown_cell(f"# {title}", id="title")]
        if parameters is not None:
            tags = {"tags": ["parameters"]}
            cells.append(new_code_cell(parameters, id="parameters", metadata=tags))
        cells += [new_code_cell(source, id=f"code-{i}") for i, source in enumerate(code)]
        nbformat.write(new_notebook(cells=cells), path)
        return path

    return make


@pytest.fixture
def no_kernel(monkeypatch):
    """Makes the start of a kernel a failure of the test."""

    def start_kernel(*args, **kwargs):
        pytest.fail("a kernel was started")

    monkeypatch.setattr(ThisInterpreter, "start_kernel", start_kernel)
