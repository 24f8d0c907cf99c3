"""What ``rvd attack --help`` says of the attacks, read from their source: nothing is imported.

Signature and docstring of an attack are all that is asked, and its modules would take seconds.
"""

import ast
import re
from dataclasses import dataclass
from functools import cache

from rvdlib.writable import PACKAGE

_TYPES = {
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "str": "text",
    "str | Path": "text",
    "Sequence[int] | None": "list of whole numbers, or null",
}
_NO_OPTIONS = {"history"}  # a recorder, for those who call an attack from Python


@dataclass(frozen=True)
class Option:
    """An option of an attack; ``default`` as YAML has it, None where one must be given."""

    name: str
    type: str
    default: str | None
    description: str


@dataclass(frozen=True)
class Described:
    """An attack: what it does, and its options by name."""

    summary: str
    options: dict[str, Option]


@cache
def described() -> dict[str, Described]:
    """Every attack of ``rvdlib.attacks.ATTACKS``, in its order."""
    tree = _parsed("attacks/registry.py")
    homes = {
        alias.name: node.module.removeprefix("rvdlib.").replace(".", "/") + ".py"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (registry,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and node.target.id == "ATTACKS"
    )
    functions, preset = {}, {}
    for key, value in zip(registry.keys, registry.values, strict=True):
        called = value.args[0] if isinstance(value, ast.Call) else value  # of partial(...)
        functions[key.value] = called.id
        keywords = value.keywords if isinstance(value, ast.Call) else []
        preset[key.value] = {keyword.arg: keyword.value for keyword in keywords}
    neighbors = [homes[function] for function in set(functions.values())]
    return {
        name: _described(homes[function], function, preset[name], neighbors)
        for name, function in functions.items()
    }


@cache
def _parsed(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def _described(file: str, function: str, preset: dict, neighbors: list[str]) -> Described:
    module = _parsed(file)
    (node,) = (n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == function)
    documented = ast.get_docstring(node) or ""
    # A module of one attack says best what it is.
    told = documented if neighbors.count(file) > 1 else ast.get_docstring(module) or documented
    texts, options = _arguments(documented), {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if argument.arg not in _NO_OPTIONS:
            default = preset.get(argument.arg, default)
            options[argument.arg] = Option(
                argument.arg,
                _TYPES.get(annotation := ast.unparse(argument.annotation), annotation),
                None if default is None else _as_yaml(ast.literal_eval(default)),
                texts.get(argument.arg, ""),
            )
    return Described(_plain(told.partition("\n\n")[0]), options)


def _as_yaml(value: object) -> str:
    words = {"None": "null", "True": "true", "False": "false"}
    return words.get(str(value), str(value))


def _arguments(docstring: str) -> dict[str, str]:
    """Name → description, of a docstring's Args section."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    found = {}
    for entry in re.split(r"\n    (?=\S)", "\n" + section[1].rstrip() if section else ""):
        names, colon, text = entry.partition(":")
        if colon:
            found |= dict.fromkeys(names.strip().split(", "), _plain(text))
    return found


def _plain(text: str) -> str:
    """On one line, without reStructuredText."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"\1", text)
    return " ".join(text.replace("``", "").split())
