"""A notebook's parameters: what it declares, and whether what it is given fits.

The declaration is the cell tagged ``parameters``: ``NAME: TYPE = LITERAL``, and imports of types.
Papermill warns of an unknown parameter and lets an ill-typed one pass. The study's runner refuses
both before a kernel starts; a notebook that is run in any other way calls :func:`check` first.
"""

import ast
import difflib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

from nbformat import NotebookNode
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from rvdlib.lab.errors import StudyError
from rvdlib.strict_yaml import parse_yaml


def each_once(items: list) -> list:
    """The items, or a ``ValueError`` if one of them repeats."""
    if repeated := [item for i, item in enumerate(items) if item in items[:i]]:
        raise ValueError(f"should hold {repeated[0]!r} once")
    return items


_Item = TypeVar("_Item")
# What ``list[...]`` means in a declaration.
Some = Annotated[list[_Item], Field(min_length=1), AfterValidator(each_once)]


def declared_parameters(notebook: NotebookNode, name: str) -> dict[str, Any]:
    """Parameter → type, read from the notebook ``name``; nothing but its imports is run.

    Raises:
        StudyError: unless exactly one cell is tagged ``parameters``, with typed literals only.
    """
    return _parameters_cell(notebook, name)["__annotations__"]


def default_parameters(notebook: NotebookNode, name: str) -> dict[str, Any]:
    """Parameter → the literal that it is set to; raises as :func:`declared_parameters`."""
    cell = _parameters_cell(notebook, name)
    return {parameter: cell[parameter] for parameter in cell["__annotations__"]}


def _parameters_cell(notebook: NotebookNode, name: str) -> dict[str, Any]:
    """The variables of the cell tagged ``parameters``."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise StudyError(
            f"{name}: {len(tagged)} cells are tagged 'parameters', one is needed: "
            "tag the cell that holds the defaults"
        )
    try:
        tree = ast.parse(tagged[0].source)
    except SyntaxError as error:
        raise StudyError(f"{name}: parameters cell, line {error.lineno}: {error.msg}") from None
    for statement in tree.body:
        try:
            match statement:
                case ast.ImportFrom():
                    pass
                case ast.AnnAssign(target=ast.Name(), value=ast.expr() as value):
                    ast.literal_eval(value)
                case _:
                    raise ValueError("no typed assignment to one name")
        except ValueError:
            raise StudyError(
                f"{name}: parameters cell, line {statement.lineno}: "
                f"'{ast.unparse(statement).splitlines()[0]}' is not of the form NAME: TYPE = LITERAL; "
                "papermill overrides values after this cell, so whatever is derived belongs into the next"
            ) from None
    cell: dict[str, Any] = {"__annotations__": {}}
    try:
        exec(compile(tree, name, "exec", dont_inherit=True), cell)
    except (ImportError, NameError, TypeError) as error:
        raise StudyError(f"{name}: parameters cell: {error}") from None
    return cell


def check(variables: Mapping[str, Any]) -> None:
    """What a notebook calls with ``globals()`` after its parameters, whoever set them.

    Raises:
        StudyError: as :func:`check_parameters`.
    """
    declared = variables["__annotations__"]
    check_parameters(declared, {name: variables[name] for name in declared})


def check_parameters(declared: Mapping[str, Any], given: Mapping[str, Any], name: str = "") -> None:
    """Refuse what the notebook ``name`` does not declare, or declares with another type.

    Types are strict: an int may stand for a float (a bool for neither), text for nothing else, and
    a ``list`` has an item, and none twice.

    Raises:
        StudyError: names the notebook, the parameter, what is expected, and near matches or how to
            write it.
    """
    for parameter, value in given.items():
        if parameter not in declared:
            near = difflib.get_close_matches(str(parameter), declared, n=3)
            known = f"it has {', '.join(declared) or 'none'}"
            known = f"did you mean {' or '.join(near)}?" if near else known
            raise StudyError(f"{name or 'the notebook'} has no parameter '{parameter}': {known}")
        try:
            TypeAdapter(_with_some(declared[parameter])).validate_python(value, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = "".join(f"[{part}]" for part in first["loc"] if part != "[key]")
            hint = _how_to_write(parameter, value, declared[parameter], first)
            raise StudyError(
                f"{f'{name}: ' if name else ''}parameter '{parameter}{where}' {_expected(first)}, "
                f"got {first['input']!r}{hint}"
            ) from None


def _with_some(declared: Any) -> Any:
    """The type with :data:`Some` in place of each plain ``list``."""
    origin, parts = get_origin(declared), tuple(map(_with_some, get_args(declared)))
    if origin is list:
        return Some[parts]
    if origin is dict and parts[0] is not str:  # the keys mean something: one is needed
        return Annotated[dict[parts], Field(min_length=1)]
    return dict[parts] if origin is dict else declared


def _expected(error: Mapping[str, Any]) -> str:
    """Pydantic's message as the rest of a sentence."""
    if error["type"] == "too_short" and error["ctx"]["min_length"] == 1:
        return "should not be empty"
    known = {"missing": "is missing", "extra_forbidden": "should not be there"}
    begin, end = r"^(Input|String|List|Value error,) ", r" or instance of \w+$"
    return known.get(error["type"]) or re.sub(f"{begin}|{end}", "", error["msg"])


def _how_to_write(parameter: str, value: Any, declared: Any, error: Mapping[str, Any]) -> str:
    """How text becomes the number, the list or the mapping that it may stand for."""
    if not error["type"].endswith("_type"):
        return ""
    if isinstance(error["input"], str) and error["type"] in ("int_type", "float_type"):
        if type(_as_yaml(error["input"])) in (int, float):
            return " (this is text: write it without quotes)"
        if _fits(error["input"], float, strict=False):
            return " (YAML takes this for text: write it with a point, e.g. 1.0e-3)"
    if error["loc"]:
        return ""
    meant = _as_yaml(value) if isinstance(value, str) else value
    fitting = [each for each in (meant, [meant]) if _fits(each, declared)]
    if not fitting and error["type"] not in ("list_type", "dict_type", "model_type"):
        return ""
    written = json.dumps(fitting[0], ensure_ascii=False) if fitting else "..."
    return f": with papermill, give it as YAML, -y '{parameter}: {written}', not -p"


def _fits(value: Any, declared: Any, strict: bool = True) -> bool:
    try:
        TypeAdapter(_with_some(declared)).validate_python(value, strict=strict)
    except ValidationError:
        return False
    return True


def _as_yaml(text: str) -> Any:
    try:
        return parse_yaml(text)
    except ValueError:
        return text
