"""The code that a number depends on: what its module imports, less what only speaks of it.

Imports are followed name by name, through the ``__init__`` of a package to where a name is defined.
Of the attacks, victims and defences that a registry holds, the laboratory looks up some and says
which; anything else that reads a registry may depend on all that it holds.
"""

import ast
import functools
import hashlib
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rvdlib.writable import PACKAGE

REGISTRIES = {"ATTACKS", "VICTIMS", "DEFENSES"}
LOOKUPS = {"ENCODERS"}  # in which a victim looks up what is said of it: keys are not used
_DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache  # the code as it was when the process began to use it
def source_digest(path: Path) -> str:
    """SHA-256 of what a Python file does: comments, layout, docstrings, error texts do not count.

    Every supported Python gives the same: what only newer ones have in a tree (``type_params``)
    are lists that are empty in this package, and empty lists are left out.
    """
    return _digest(_parsed(path))


def code_of(
    module: str, used: Iterable[Any] = (), package: Path = PACKAGE, without: Iterable[str] = ()
) -> dict[str, str]:
    """``rvdlib/…py`` → digest, of each file that may change what a module computes.

    Args:
        module: a file of the package: ``lab/experiment/cells.py``.
        used: victims, defences and functions of attacks that are looked up; one that stands outside
            of the package is named by its file alone.
        without: files that are not followed, nor counted.
    """
    found, queue = {}, [package / module]
    for each in used:
        queue.append(_home(each, package))
    left_out, seen = {package / name for name in (*without, "__init__.py")}, set()
    while queue:
        path = queue.pop()
        if path in seen or path in left_out:
            continue
        seen.add(path)
        does, digest, imported = _does(path, package)
        if does.body or path.name != "__init__.py":
            inside = path.is_relative_to(package)
            name = path.relative_to(package.parent).as_posix() if inside else path.name
            found[name] = digest
        queue += imported
    return dict(sorted(found.items()))


def _home(entry: Any, package: Path) -> Path:
    """The file in which a registry's entry is defined."""
    root, *parts = entry.__module__.split(".")
    if root == package.name:
        return package.joinpath(*parts).with_suffix(".py")
    return Path(inspect.getsourcefile(entry))


@functools.cache
def _does(path: Path, package: Path) -> tuple[ast.Module, str, list[Path]]:
    """What a file does besides importing and registering, its digest, and the files that it imports
    for that."""
    tree = _parsed(path)
    does = [
        node
        for node in tree.body
        if not isinstance(node, ast.Import | ast.ImportFrom)
        and not _assigned(node) & (REGISTRIES | {"__all__"})
    ]
    names, attributes = _mentioned(does)
    followed = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            files = [_module(alias.name, package) for alias in node.names]
            followed += [file for file in files if file]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                local = alias.asname or alias.name
                if local in names:
                    of = attributes.get(local, set())
                    files = [*_defining(node.module, alias.name, of, package)]
                    looked_up = ({alias.name} | of) & REGISTRIES
                    if looked_up and not path.is_relative_to(package / "lab"):
                        files += [each for file in files for each in _held(file, package)]
                    followed += files
    outside = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom) and _brings(node, names, package)
    ]
    module = ast.Module([*outside, *does], [])
    return module, _digest(module), followed


def _held(file: Path, package: Path) -> Iterator[Path]:
    """The files of all that the registry in ``file`` holds."""
    tree = _parsed(file)
    names, _ = _mentioned(node for node in tree.body if _assigned(node) & REGISTRIES)
    for node in tree.body:
        for alias in node.names if isinstance(node, ast.ImportFrom) else []:
            if (alias.asname or alias.name) in names:
                yield from _defining(node.module, alias.name, set(), package)


def _brings(node: ast.Import | ast.ImportFrom, names: set[str], package: Path) -> bool:
    """Whether an import counts: of the package itself only what is used, to see what it is bound to."""
    ours = isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == package.name
    return not ours or any((alias.asname or alias.name) in names for alias in node.names)


def _defining(module: str, name: str, attributes: set[str], package: Path) -> Iterator[Path]:
    """The files that define what ``from module import name`` brings.

    ``attributes``: what is read of it, should it be a package.
    """
    inner = _module(f"{module}.{name}", package)
    if inner and inner.name != "__init__.py":
        yield inner
    elif inner:
        for attribute in attributes:
            yield from _defining(f"{module}.{name}", attribute, set(), package)
    elif file := _module(module, package):
        for node in _parsed(file).body if file.name == "__init__.py" else []:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        yield from _defining(node.module, alias.name, attributes, package)
                        return
        yield file


def _module(name: str, package: Path) -> Path | None:
    """The file of a module of the package; None for anything else."""
    root, *parts = name.split(".")
    if root != package.name:
        return None
    place = package.joinpath(*parts)
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


def _mentioned(nodes: Iterable[ast.AST]) -> tuple[set[str], dict[str, set[str]]]:
    """Names that are read, and the attributes that are read of each.

    Annotations of functions, and the keys of :data:`LOOKUPS`, do nothing.
    """
    names: set[str] = set()
    attributes: dict[str, set[str]] = {}
    queue = list(nodes)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            attributes.setdefault(node.value.id, set()).add(node.attr)
        skipped = {"annotation"} if isinstance(node, ast.arg) else {"returns"}
        if isinstance(node, ast.AnnAssign | ast.Assign) and _assigned(node) & LOOKUPS:
            queue += getattr(node.value, "values", [])
            continue
        for field, value in ast.iter_fields(node):
            if field not in skipped:
                children = value if isinstance(value, list) else [value]
                queue += [child for child in children if isinstance(child, ast.AST)]
    return names, attributes


def _assigned(node: ast.AST) -> set[str]:
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return {target.id for target in targets if isinstance(target, ast.Name)}


@functools.cache  # the code as it was when the process began to use it
def _parsed(path: Path) -> ast.Module:
    return _Silent().visit(ast.parse(path.read_bytes()))


class _Silent(ast.NodeTransformer):
    """Takes out what is said to people: it changes no number."""

    def visit(self, node):
        node = self.generic_visit(node)
        if isinstance(node, _DEFINITIONS):
            node.body = [each for each in node.body if not _is_text(each)]
        elif isinstance(node, ast.If):
            node.body, node.orelse = _error_alone(node.body), _error_alone(node.orelse)
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            called = called.id if isinstance(called, ast.Name) else called
            if isinstance(called, str) and (called.endswith("Error") or called == "warn"):
                node.args, node.keywords = [], []
            elif called == "Field":
                node.keywords = [each for each in node.keywords if each.arg != "description"]
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        elif isinstance(node, ast.Assert):
            node.msg = None
        return node


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _error_alone(body: list[ast.stmt]) -> list[ast.stmt]:
    """Of a branch that can only end in an error, the error."""
    ways_out = ast.Return | ast.Continue | ast.Break | ast.Yield | ast.YieldFrom
    if not body or not isinstance(body[-1], ast.Raise):
        return body
    inner = [node for each in body for node in ast.walk(each)]
    return body if any(isinstance(node, ways_out) for node in inner) else body[-1:]


def _digest(tree: ast.AST) -> str:
    return hashlib.sha256(repr(_without_empty_lists(tree)).encode()).hexdigest()


def _without_empty_lists(node: Any) -> Any:
    if isinstance(node, ast.AST):
        fields = [(name, _without_empty_lists(value)) for name, value in ast.iter_fields(node)]
        return type(node).__name__, [field for field in fields if field[1] != []]
    return [_without_empty_lists(item) for item in node] if isinstance(node, list) else node
