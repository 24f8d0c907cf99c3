"""What is planned for a notebook is what the notebook asks for."""

import ast
from types import SimpleNamespace

import pytest

from rvdlib import paths
from rvdlib.lab.experiment import cells, quality, retraining
from rvdlib.lab.runner.notebook_runner import read_notebook
from rvdlib.lab.runner.parameters import default_parameters
from rvdlib.lab.runner.plan import load_profile
from rvdlib.lab.study import attack_profiles
from rvdlib.lab.study.planned import PLANNED, batches

ASKING = {"run_cells", "run_trials", "run_retrainings", "profile_rows"}
TINY = load_profile("tiny")


class Asked(Exception):
    """Rows were asked for; nothing is computed."""


@pytest.fixture
def asked(monkeypatch):
    """(what computes them, specification) of all rows that are asked for."""
    found = []

    def rows_of(tasks, compute, store, jobs, unit):
        found.extend((compute, str(task.spec)) for task in tasks)
        raise Asked

    for module in (cells, quality, retraining, attack_profiles):
        monkeypatch.setattr(module, "rows_of", rows_of)
        monkeypatch.setattr(module, "cell_fingerprint", lambda *of: {})
    return found


def statements(name):
    """Those of a notebook's code, its parameters' cell left out."""
    notebook = read_notebook(paths.NOTEBOOKS / f"{name}.ipynb")
    for cell in notebook.cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            yield from ast.parse(cell.source).body


def names(statement, context):
    nodes = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    return {node.id for node in nodes if isinstance(node.ctx, context)}


def asks(statement):
    called = [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
    return {getattr(each, "id", getattr(each, "attr", "")) for each in called} & ASKING


def needed(code):
    """The statements that ask for rows, and those that make what they are asked with."""
    wanted, found = set(), []
    for statement in reversed(code):
        makes = names(statement, ast.Store) & wanted and not asks(statement)
        if asks(statement) or makes or isinstance(statement, ast.ImportFrom):
            found.append(statement)
            wanted |= names(statement, ast.Load)
    return found[::-1]


def run(name, parameters):
    code = [*statements(name)]
    source = paths.NOTEBOOKS / f"{name}.ipynb"
    variables = default_parameters(read_notebook(source), source.name) | parameters
    for statement in needed(code):
        try:
            exec(compile(ast.Module([statement], []), name, "exec"), variables)
        except Asked:
            assert asks(statement)
    return sum(len(asks(statement)) for statement in code)


@pytest.mark.parametrize("name", TINY)
def test_what_is_planned_is_what_the_notebook_asks_for(name, asked):
    calls = run(name, TINY[name])
    planned = batches(name, TINY[name])
    wanted = [(batch.compute, str(task.spec)) for batch in planned for task in batch.tasks]
    assert sorted(map(str, wanted)) == sorted(map(str, asked))
    assert len(planned) == calls
    assert bool(calls) is (name in PLANNED)


def test_a_profiles_parameters_stand_in_place_of_the_notebooks_own(monkeypatch):
    seen = []
    monkeypatch.setitem(PLANNED, "02_victims", lambda given: seen.append(given) or [])
    assert batches("02_victims", {"seeds": [3]}) == batches("01_datasets", {}) == []
    assert isinstance(seen[0], SimpleNamespace)
    assert (seen[0].seeds, seen[0].decimals) == ([3], 3)
