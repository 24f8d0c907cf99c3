"""What is planned for a notebook is what the notebook asks for."""

import ast
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest

from rvdlib import paths
from rvdlib.attacks import ATTACKS
from rvdlib.lab.experiment import cells
from rvdlib.lab.experiment.lines import flat
from rvdlib.lab.experiment.plain_values import encode
from rvdlib.lab.runner.notebook_runner import read_notebook
from rvdlib.lab.runner.parameters import default_parameters
from rvdlib.lab.runner.plan import load_profile
from rvdlib.lab.study.planned import PLANNED, batches
from rvdlib.models import Victim

TINY = load_profile("tiny")


class NothingIsComputed(Exception):
    """In place of training."""


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """(what computes them, specification) of all rows that are asked for; there is nothing in them."""
    found = []

    def rows_of(tasks, compute, *_):
        found.extend((compute.__module__, str(task.spec)) for task in tasks)
        return [{} for _ in tasks]

    def refuse(*_, **__):
        raise NothingIsComputed

    for module in [each for name, each in sys.modules.items() if name.startswith("rvdlib.lab.")]:
        if hasattr(module, "rows_of"):
            monkeypatch.setattr(module, "rows_of", rows_of)
        if hasattr(module, "cell_fingerprint"):
            monkeypatch.setattr(module, "cell_fingerprint", lambda *_: {})
    monkeypatch.setattr(cells, "_split", refuse)
    monkeypatch.setattr(Victim, "fit", refuse)
    for name in ("RESULTS", "FIGURES"):
        monkeypatch.setattr(paths, name, tmp_path)
    return found


def run(name, parameters):
    """Every statement of a notebook; one that does not get on with empty rows is left there."""
    notebook = read_notebook(paths.NOTEBOOKS / f"{name}.ipynb")
    variables = default_parameters(notebook, name) | parameters
    for cell in notebook.cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            for statement in ast.parse(cell.source).body:
                with suppress(Exception):
                    exec(compile(ast.Module([statement], []), name, "exec"), variables)


@pytest.mark.filterwarnings("ignore")  # of what is made of empty rows
@pytest.mark.parametrize("name", TINY)
def test_what_is_planned_is_what_the_notebook_asks_for(name, asked):
    run(name, TINY[name])
    planned = [
        (batch.compute.__module__, str(task.spec))
        for batch in batches(name, TINY[name])
        for task in batch.tasks
    ]
    assert sorted(planned) == sorted(asked)
    assert bool(asked) is (name in PLANNED)


@pytest.mark.parametrize("name", PLANNED)
def test_a_row_depends_on_the_code_of_its_attack(name):
    for batch in batches(name, TINY[name]):
        for task in batch.tasks:
            told = dict(flat(encode(task.spec)))
            attack = told.get("attack", told.get("scenario.attack", "none"))
            if attack != "none":
                module = ATTACKS[attack].function.__module__.replace(".", "/")
                assert f"{module}.py" in task.fingerprint["code"], (batch.unit, attack)


def test_a_profiles_parameters_stand_in_place_of_the_notebooks_own(monkeypatch):
    seen = []
    monkeypatch.setitem(PLANNED, "02_victims", lambda given: seen.append(given) or [])
    assert batches("02_victims", {"seeds": [3]}) == batches("01_datasets", {}) == []
    assert isinstance(seen[0], SimpleNamespace)
    assert (seen[0].seeds, seen[0].decimals) == ([3], 3)
