"""The floors of the house: imports run one way, and nothing private is shared."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

from rvdlib.paths import PROJECT

PACKAGE = PROJECT / "rvdlib"
# A room imports itself and the floors below.
FLOORS = (
    {"lab"},  # the package itself, which holds nothing
    {"arguments", "sealing", "plain_text", "seeding", "strict_yaml", "threads", "writable"},
    {"rvdlib", "paths", "refusals"},
    {"data"},
    {"eligibility", "intervals", "metrics", "neighbors", "threat_model"},
    {"evaluation", "models"},
    {"defenses"},
    {"attacks"},
    {"theory"},
    {"audit", "serving"},
    {"lab.errors", "lab.profiles", "lab.statistics"},
    {"lab.experiment"},
    {"lab.benchmark", "lab.runner", "lab.tuning"},
    {"lab.figures"},
    {"lab.study"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MOST_LINES = 300
# Compiled together: numba looks for changes in the file of the called function alone, so that code
# compiled from several files could be outdated and pass for new.
ONE_COMPILED_FILE = {"rvdlib.defenses.engine.kernels"}


def name_of(path: Path) -> str:
    """``rvdlib.data`` of rvdlib/data/__init__.py."""
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_bytes()) for name, path in SOURCES.items()}


def executed(tree: ast.AST):
    """All nodes but what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from executed(node)


def imports(tree: ast.AST) -> list[tuple[str, str]]:
    """(module, name taken from it or nothing) of each import from the package, late ones too."""
    found = []
    for node in executed(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.append((inner, "") if inner in SOURCES else (node.module, alias.name))
    return [(module, name) for module, name in found if module.split(".")[0] == "rvdlib"]


def room(module: str) -> str:
    """``lab.study`` of rvdlib.lab.study.effects, ``data`` of rvdlib.data.ids."""
    parts = module.split(".")[1:]
    if not parts:
        return "rvdlib"
    return ".".join(parts[:2]) if parts[0] == "lab" else parts[0]


def test_imports_run_down():
    upward = {
        (module, imported)
        for module, tree in TREES.items()
        for imported, _ in imports(tree)
        if room(imported) != room(module) and FLOOR[room(imported)] >= FLOOR[room(module)]
    }
    assert upward == set()


def test_no_imports_run_in_a_circle():
    graph = {name: {module for module, _ in imports(tree)} for name, tree in TREES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(SOURCES)


def test_the_library_works_without_the_laboratory_and_the_commands():
    library = {
        name for name in SOURCES if room(name).split(".")[0] not in ("lab", "cli", "__main__")
    }
    assert {"rvdlib", "rvdlib.paths", "rvdlib.defenses.vicinal"} <= library
    reached = {module for name in library for module, _ in imports(TREES[name])}
    assert reached <= library


def taken_from_others(tree: ast.AST) -> set[str]:
    """Names that a module imports from others, or reads of the modules that it imports."""
    modules = {
        alias.asname or alias.name
        for node in executed(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if f"{node.module}.{alias.name}" in SOURCES
    }
    return {name for _, name in imports(tree)} | {
        node.attr
        for node in executed(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
    }


def private(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("_") and not name.endswith("__")}


def test_nothing_private_is_taken_from_another_module():
    assert private(taken_from_others(ast.parse("from rvdlib.models.mf import _x"))) == {"_x"}
    assert private(taken_from_others(ast.parse("from rvdlib.models import mf\nmf._x"))) == {"_x"}
    found = {name: private(taken_from_others(tree)) for name, tree in TREES.items()}
    assert {name: names for name, names in found.items() if names} == {}


def test_a_module_is_short():
    names = SOURCES.keys() - ONE_COMPILED_FILE
    lengths = {name: len(SOURCES[name].read_text().splitlines()) for name in names}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
