import re

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from rvdlib.runner.parameters import StudyError, check_parameters, declared_parameters


def notebook(*sources):
    tags = {"tags": ["parameters"]}
    return new_notebook(cells=[new_code_cell(source, metadata=tags) for source in sources])


def test_the_declaration_is_read_without_running_anything():
    source = """
# How many neighbours.
k = 30
weight: float = -1.5e-3  # comment
names = ["MF", "CDAE"]
sizes = {"rating": 0.03, "ranking": 0.1}
subset = None
"""
    assert declared_parameters(notebook(source), "03.ipynb") == {
        "k": 30,
        "weight": -1.5e-3,
        "names": ["MF", "CDAE"],
        "sizes": {"rating": 0.03, "ranking": 0.1},
        "subset": None,
    }


@pytest.mark.parametrize(
    "line",
    [
        "k = 2 * 15",
        "k = max(1, 2)",
        "k = other",
        "k += 1",
        "a = b = 1",
        "a, b = 1, 2",
        "a.b = 1",
        "k: int",
        "import os",
        "print(1)",
        "if True: k = 1",
    ],
)
def test_anything_but_a_name_and_a_literal_is_refused_with_its_line(line):
    with pytest.raises(StudyError, match=r"^03\.ipynb: parameters cell, line 2: .*NAME = LITERAL"):
        declared_parameters(notebook(f"first = 1\n{line}"), "03.ipynb")


def test_a_syntax_error_is_refused_with_its_line():
    with pytest.raises(StudyError, match=r"^03\.ipynb: parameters cell, line 2: "):
        declared_parameters(notebook("first = 1\nk = = 2"), "03.ipynb")


@pytest.mark.parametrize("sources", [(), ("a = 1", "b = 2")])
def test_one_cell_declares_parameters_no_fewer_and_no_more(sources):
    with pytest.raises(StudyError, match=rf"^03\.ipynb: {len(sources)} cells are tagged"):
        declared_parameters(notebook(*sources), "03.ipynb")


@pytest.mark.parametrize(
    ("default", "value"),
    [
        (1, 2),
        (1.0, 2.5),
        (1.0, 2),
        (True, False),
        ("a", "b"),
        ([1], []),
        ([1], [2, 3]),
        ([0.5], [1, 2.5]),
        ([], ["anything", 1]),
        ([1, "all"], ["none", 7]),
        ([[1], [2]], [[3, 4]]),
        ({"a": 1.0}, {"b": 2}),
        (None, None),
        (None, [1, "a"]),
    ],
)
def test_what_fits_the_default_is_taken(default, value):
    check_parameters({"p": default}, {"p": value}, "03.ipynb")


@pytest.mark.parametrize(
    ("default", "value", "expected"),
    [
        (1, 2.0, "int"),
        (1, "2", "int"),
        (1, True, "int"),
        (1, None, "int"),
        (1.0, True, "float"),
        (1.0, "1.5", "float"),
        (True, 1, "bool"),
        ("a", 1, "str"),
        ("a", ["a"], "str"),
        (["a"], "a", "list of str"),
        (["a"], ["b", 1], "list of str"),
        ([1, "a"], [1.5], "list of int or str"),
        ([1], [True], "list of int"),
        ([[1]], [["a"]], "list of list of int"),
        ({"a": 1.0}, [1.0], "dict of float"),
        ({"a": 1.0}, {"a": "x"}, "dict of float"),
    ],
)
def test_what_does_not_fit_is_refused_with_notebook_name_type_and_value(default, value, expected):
    message = f"03.ipynb: parameter 'p' expects {expected}, got {value!r}"
    with pytest.raises(StudyError, match=f"^{re.escape(message)}"):
        check_parameters({"p": default}, {"p": value}, "03.ipynb")


def test_a_number_that_yaml_reads_as_text_is_explained():
    with pytest.raises(StudyError, match=r"got '1e-3' \(YAML takes this for text: .*1\.0e-3"):
        check_parameters({"rate": 0.1}, {"rate": "1e-3"}, "03.ipynb")


def test_an_unknown_parameter_is_refused_with_near_matches():
    declared = {"neighbours": 30, "epochs": 5}
    with pytest.raises(
        StudyError, match=r"^03\.ipynb has no parameter 'neighbors': .* neighbours\?"
    ):
        check_parameters(declared, {"neighbors": 10}, "03.ipynb")
    with pytest.raises(StudyError, match=r"no parameter 'zzz': it has neighbours, epochs$"):
        check_parameters(declared, {"zzz": 10}, "03.ipynb")
