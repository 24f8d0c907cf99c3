"""A notebook's parameters: what it declares, and whether what it is given fits.

Papermill warns of an unknown parameter and lets an ill-typed one pass. Here both are errors, found
before a kernel starts. The declaration is the cell tagged ``parameters``: assignments of literals.
"""

import ast
import difflib
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode


class StudyError(Exception):
    """The study cannot go on; the message says what is wrong, where, and what to do."""


def declared_parameters(notebook: NotebookNode, name: str) -> dict[str, Any]:
    """Parameter → default value, read from the notebook ``name`` without running it.

    Raises:
        StudyError: unless exactly one cell is tagged ``parameters``, with literals only.
    """
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise StudyError(
            f"{name}: {len(tagged)} cells are tagged 'parameters', one is needed: "
            "tag the cell that holds the defaults"
        )
    try:
        statements = ast.parse(tagged[0].source).body
    except SyntaxError as error:
        raise StudyError(f"{name}: parameters cell, line {error.lineno}: {error.msg}") from None
    declared = {}
    for statement in statements:
        try:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(parameter)], value=value)
                    | ast.AnnAssign(target=ast.Name(parameter), value=ast.expr() as value)
                ):
                    declared[parameter] = ast.literal_eval(value)
                case _:
                    raise ValueError("no assignment to one name")
        except ValueError:
            raise StudyError(
                f"{name}: parameters cell, line {statement.lineno}: "
                f"'{ast.unparse(statement).splitlines()[0]}' is not of the form NAME = LITERAL; papermill "
                "overrides values after this cell, so whatever is derived belongs into the next"
            ) from None
    return declared


def check_parameters(declared: Mapping[str, Any], given: Mapping[str, Any], name: str) -> None:
    """Refuse what the notebook ``name`` does not declare, or declares with another type.

    The type is that of the default: an int may stand for a float (a bool for neither), items of a
    list or mapping are held against those of the default, and a default of None takes anything.

    Raises:
        StudyError: names the notebook, the parameter, what is expected, and near matches.
    """
    for parameter, value in given.items():
        if parameter not in declared:
            near = difflib.get_close_matches(str(parameter), declared, n=3)
            known = f"did you mean {' or '.join(near)}?" if near else f"it has {_listed(declared)}"
            raise StudyError(f"{name} has no parameter '{parameter}': {known}")
        if not _fits(value, declared[parameter]):
            hint = ""
            if isinstance(value, str) and _is_number(value):
                hint = " (YAML takes this for text: write it with a point, e.g. 1.0e-3)"
            raise StudyError(
                f"{name}: parameter '{parameter}' expects {_described(declared[parameter])}, "
                f"got {value!r}{hint}"
            )


def _fits(value: Any, default: Any) -> bool:
    if default is None:
        return True
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple) and _all_fit(value, default)
    if isinstance(default, dict):
        return isinstance(value, dict) and _all_fit(value.values(), default.values())
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def _all_fit(values, defaults) -> bool:
    return not defaults or all(any(_fits(v, default) for default in defaults) for v in values)


def _described(default: Any) -> str:
    kind = {tuple: "list"}.get(type(default), type(default).__name__)
    items = default.values() if isinstance(default, dict) else default
    if not isinstance(default, list | tuple | dict) or not items:
        return kind
    return f"{kind} of {' or '.join(sorted({_described(item) for item in items}))}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(names) -> str:
    return ", ".join(names) or "none"
