import re
from typing import Annotated, Literal

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from pydantic import BaseModel, Field

from rvdlib.lab.errors import StudyError
from rvdlib.lab.runner.parameters import Some, check, check_parameters, declared_parameters

Letter = Literal["a", "b"]


class Pair(BaseModel, extra="forbid"):
    one: Some[int]
    two: float


def notebook(*sources):
    tags = {"tags": ["parameters"]}
    return new_notebook(cells=[new_code_cell(source, metadata=tags) for source in sources])


def test_the_declaration_is_read_from_the_types():
    source = """
from typing import Optional

# How many neighbours.
k: int = 30
weight: float = -1.5e-3  # comment
names: list[str] = ["MF", "CDAE"]
sizes: dict[str, float] = {
    "rating": 0.03,
}  # of the attack
subset: Optional[int] = None
"""
    assert declared_parameters(notebook(source), "03.ipynb") == {
        "k": int,
        "weight": float,
        "names": list[str],
        "sizes": dict[str, float],
        "subset": int | None,
    }


def test_a_cell_without_parameters_declares_none():
    assert declared_parameters(notebook(""), "03.ipynb") == {}


@pytest.mark.parametrize(
    "line",
    [
        "k = 30",
        "k: int = 2 * 15",
        "k: int = other",
        "a, b = 1, 2",
        "a.b: int = 1",
        "k: int",
        "import os",
        "print(1)",
    ],
)
def test_anything_but_a_typed_literal_is_refused_with_its_line(line):
    told = r"^03\.ipynb: parameters cell, line 2: .*NAME: TYPE = LITERAL"
    with pytest.raises(StudyError, match=told):
        declared_parameters(notebook(f"first: int = 1\n{line}"), "03.ipynb")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("k: Seeed = 2", "name 'Seeed' is not defined"),
        ("from rvdlib.lab.study.parameter_types import Seeed", "cannot import name 'Seeed'"),
        ("k: int[3] = 2", "type 'int' is not subscriptable"),
    ],
)
def test_a_type_that_there_is_not_is_refused(line, told):
    with pytest.raises(StudyError, match=rf"^03\.ipynb: parameters cell: {told}"):
        declared_parameters(notebook(line), "03.ipynb")


def test_a_syntax_error_is_refused_with_its_line():
    with pytest.raises(StudyError, match=r"^03\.ipynb: parameters cell, line 2: "):
        declared_parameters(notebook("first: int = 1\nk: int = = 2"), "03.ipynb")


@pytest.mark.parametrize("sources", [(), ("a: int = 1", "b: int = 2")])
def test_one_cell_declares_parameters_no_fewer_and_no_more(sources):
    with pytest.raises(StudyError, match=rf"^03\.ipynb: {len(sources)} cells are tagged"):
        declared_parameters(notebook(*sources), "03.ipynb")


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (int, 2),
        (float, 2.5),
        (float, 2),
        (bool, False),
        (str, "b"),
        (list[int], [2, 3]),
        (list[float], [1, 2.5]),
        (list[list[int]], [[3, 4], [3]]),
        (dict[str, float], {"b": 2}),
        (dict[str, dict], {}),
        (dict[Letter, list[Letter]], {"a": ["b", "a"]}),
        (Pair, {"one": [1], "two": 2}),
        (int | None, None),
        (Annotated[list[int], Field(max_length=2)], [1, 1]),
    ],
)
def test_what_fits_is_taken(declared, value):
    check_parameters({"p": declared}, {"p": value}, "03.ipynb")
    check({"__annotations__": {"p": declared}, "p": value, "other": object()})


@pytest.mark.parametrize(
    ("declared", "value", "told"),
    [
        (int, 2.0, "'p' should be a valid integer, got 2.0"),
        (int, True, "'p' should be a valid integer, got True"),
        (int, "x", "'p' should be a valid integer, got 'x'"),
        (float, True, "'p' should be a valid number, got True"),
        (bool, 1, "'p' should be a valid boolean, got 1"),
        (str, 1, "'p' should be a valid string, got 1"),
        (Letter, "c", "'p' should be 'a' or 'b', got 'c'"),
        (list[int], [], "'p' should not be empty, got []"),
        (list[int], [1, 2, 1], "'p' should hold 1 once, got [1, 2, 1]"),
        (list[int], [1, -0.5], "'p[1]' should be a valid integer, got -0.5"),
        (list[Letter], ["a", "c"], "'p[1]' should be 'a' or 'b', got 'c'"),
        (list[list[int]], [[1], []], "'p[1]' should not be empty, got []"),
        (dict[Letter, int], {}, "'p' should not be empty, got {}"),
        (dict[Letter, int], {"c": 1}, "'p[c]' should be 'a' or 'b', got 'c'"),
        (dict[Letter, list[int]], {"a": []}, "'p[a]' should not be empty, got []"),
        (dict[str, float], {"a": "x"}, "'p[a]' should be a valid number, got 'x'"),
        (Pair, {"one": [1]}, "'p[two]' is missing, got {'one': [1]}"),
        (Pair, {"one": [], "two": 1}, "'p[one]' should not be empty, got []"),
        (Pair, {"one": [1], "two": 2, "x": 3}, "'p[x]' should not be there, got 3"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place_and_value(declared, value, told):
    with pytest.raises(StudyError, match=f"^{re.escape(f'03.ipynb: parameter {told}')}$"):
        check_parameters({"p": declared}, {"p": value}, "03.ipynb")
    with pytest.raises(StudyError, match=f"^{re.escape(f'parameter {told}')}$"):
        check({"__annotations__": {"p": declared}, "p": value})


@pytest.mark.parametrize(
    ("declared", "value", "hint"),
    [
        (list[int], "[0, 1]", "-y 'p: [0, 1]', not -p"),
        (list[int], 0, "-y 'p: [0]', not -p"),
        (list[str], "MF", """-y 'p: ["MF"]', not -p"""),
        (list[int], "[0", "-y 'p: ...', not -p"),
        (list[int], None, "-y 'p: ...', not -p"),
        (dict[str, dict], "{a: {k: 1}}", """-y 'p: {"a": {"k": 1}}', not -p"""),
        (Pair, 3, "-y 'p: ...', not -p"),
        (int | None, "null", "-y 'p: null', not -p"),
        (bool, "yes", "-y 'p: true', not -p"),
        (int, "30", "(this is text: write it without quotes)"),
        (list[int], ["0"], "(this is text: write it without quotes)"),
        (float, "1e-3", "(YAML takes this for text: write it with a point, e.g. 1.0e-3)"),
        (dict[str, float], {"a": "1e-3"}, "write it with a point, e.g. 1.0e-3)"),
    ],
)
def test_what_was_meant_and_how_it_is_written_is_one_sentence(declared, value, hint):
    with pytest.raises(StudyError, match=rf"{re.escape(hint)}$") as caught:
        check({"__annotations__": {"p": declared}, "p": value})
    assert "\n" not in str(caught.value)


def test_an_unknown_parameter_is_refused_with_near_matches():
    declared = {"neighbours": int, "epochs": int}
    with pytest.raises(
        StudyError, match=r"^03\.ipynb has no parameter 'neighbors': .* neighbours\?"
    ):
        check_parameters(declared, {"neighbors": 10}, "03.ipynb")
    with pytest.raises(StudyError, match=r"no parameter 'zzz': it has neighbours, epochs$"):
        check_parameters(declared, {"zzz": 10}, "03.ipynb")
