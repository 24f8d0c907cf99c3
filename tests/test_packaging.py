"""One lock file, and everything that must agree with it."""

import ast
import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import rvdlib
from rvdlib.data.catalogue import CATALOGUE
from rvdlib.lab.runner import doctor
from rvdlib.paths import NOTEBOOKS, PROJECT

PROJECT_TABLE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(line) for line in PROJECT_TABLE["dependencies"]]
EXTRAS = {
    extra: [Requirement(line) for line in lines]
    for extra, lines in PROJECT_TABLE["optional-dependencies"].items()
}
PEERS = EXTRAS["peers"]
OWN = next(each for each in EXTRAS["dev"] if each.name == "rvdlib")
DEV = [each for extra in ("dev", *OWN.extras) for each in EXTRAS[extra] if each is not OWN]
ON_PYTHON = "Programming Language :: Python :: "
PYTHONS = [c.removeprefix(ON_PYTHON) for c in PROJECT_TABLE["classifiers"] if ON_PYTHON in c]
PEER_MODULES = {"implicit": "implicit", "surprise": "scikit-surprise"}


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def locked() -> dict[str, str]:
    """Name → version, every line of the lock an exact pin without a build tag."""
    lines = (PROJECT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    pins = [re.sub(r' ; platform_machine == "\w+"$', "", pin) for pin in pins]
    for pin in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin), pin
    versions = {canonicalize_name(name): version for name, version in (p.split("==") for p in pins)}
    assert len(versions) == len(pins), "a package is pinned twice"
    return versions


def installed_requirements(name: str, extra: str = "", python: str = "") -> list[Requirement]:
    """What the installed distribution ``name``, or its extra, needs on this machine.

    Under this Python, or under the release ``python``, e.g. ``"3.12"``.
    """
    where = {"extra": extra}
    if python:
        where |= {"python_version": python, "python_full_version": f"{python}.0"}
    requirements = map(Requirement, metadata.requires(name) or [])
    return [r for r in requirements if r.marker is None or r.marker.evaluate(where)]


def test_every_direct_dependency_is_locked_at_a_version_that_it_admits():
    versions = locked()
    for requirement in RUNTIME + DEV:
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not locked: run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement} but {version} is locked"


def closure(direct: list[Requirement], python: str, versions: dict[str, str]) -> dict[str, str]:
    """All that ``direct`` needs under that release of Python: name → the package that asks."""
    reached, askers = set(), {}
    waiting = [(requirement, "pyproject.toml") for requirement in direct]
    while waiting:
        requirement, asker = waiting.pop()
        name = canonicalize_name(requirement.name)
        # What its marker confines to one kind of machine is left to pip (see the lock's head).
        if name not in versions and "platform" in str(requirement.marker):
            continue
        askers.setdefault(name, asker)
        if name not in versions:
            continue
        for extra in {"", *requirement.extras} - {e for n, e in reached if n == name}:
            reached.add((name, extra))
            waiting += [(needed, name) for needed in installed_requirements(name, extra, python)]
    return askers


def test_lock_is_what_the_direct_dependencies_need_under_any_supported_python():
    versions, needed = locked(), set()
    for python in PYTHONS:
        askers = closure([*RUNTIME, *DEV, Requirement("setuptools")], python, versions)
        # What a newer Python alone needs is named in pyproject.toml: `make lock` does not see it.
        assert {name: who for name, who in askers.items() if name not in versions} == {}, python
        needed |= askers.keys()
    assert needed == set(versions)


def test_what_one_python_alone_needs_and_the_lock_lacks_is_found():
    versions = locked()
    del versions["aiohttp"]
    runtime = [requirement for requirement in RUNTIME if requirement.name == "papermill"]
    missing = {p: closure(runtime, p, versions).get("aiohttp") for p in PYTHONS}
    assert missing == {"3.11": None, "3.12": "papermill", "3.13": None}


def test_installed_versions_are_the_locked_ones():
    installed = {name: metadata.version(name).partition("+")[0] for name in locked()}
    assert installed == locked()


@pytest.mark.parametrize("python", PYTHONS)
def test_locked_versions_install_on_the_first_patch_of_every_python(python):
    needs = {name: metadata.metadata(name).get("Requires-Python", "") for name in locked()}
    # Some releases want a later patch of Python 3.11 than a distribution ships. Then: `make lock`
    # with the oldest one at hand, which passes such releases over.
    assert {n: v for n, v in needs.items() if not SpecifierSet(v).contains(f"{python}.0")} == {}


def test_the_supported_pythons_are_the_same_everywhere():
    minors = [int(python.removeprefix("3.")) for python in PYTHONS]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert PROJECT_TABLE["requires-python"] == f">=3.{minors[0]},<3.{minors[-1] + 1}"
    assert tuple(PYTHONS) == doctor.PYTHONS
    makefile = (PROJECT / "Makefile").read_text()
    assert re.findall(r"^PYTHONS = (.*)$", makefile, re.MULTILINE) == [" ".join(PYTHONS[::-1])]
    tools = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]
    assert tools["ruff"]["target-version"] == f"py{PYTHONS[0].replace('.', '')}"
    assert tools["mypy"]["python_version"] == PYTHONS[0]
    sentence = f"Python {', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}"
    for file in ("README.md", "CONTRIBUTING.md"):
        assert sentence in (PROJECT / file).read_text(), file


def test_peers_are_pinned_and_need_nothing_that_is_not_locked():
    for requirement in PEERS:
        assert re.fullmatch(r"==[0-9.]+", str(requirement.specifier)), requirement
        try:
            needs = installed_requirements(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # the extra is optional; its pins are checked all the same
        assert names(needs) <= set(locked())
    assert names(PEERS) == set(PEER_MODULES.values())


def test_conda_environment_takes_python_from_conda_and_all_else_from_the_lock():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    python, pip, from_pip = environment["dependencies"]
    assert environment["name"] == PROJECT_TABLE["name"]
    assert pip == "pip"
    assert from_pip == {"pip": ["-r requirements.lock"]}
    assert python == f"python{PROJECT_TABLE['requires-python']}"


def imported_modules(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    from_ = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 0}
    return {name.partition(".")[0] for name in plain | from_} - sys.stdlib_module_names


def undeclared(sources: dict[str, str], declared: set[str]) -> set[tuple[str, str]]:
    """(file, module) of every import that no declared dependency provides."""
    providers = metadata.packages_distributions()
    return {
        (file, module)
        for file, source in sources.items()
        for module in imported_modules(source)
        if not declared
        & {canonicalize_name(d) for d in providers.get(module, [PEER_MODULES.get(module, module)])}
    }


def test_everything_imported_by_the_package_and_the_notebooks_is_a_runtime_dependency():
    sources = {str(path): path.read_text() for path in (PROJECT / "rvdlib").rglob("*.py")}
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        sources[str(path)] = "\n".join(code)
    optional = PEERS + EXTRAS["cluster"] + EXTRAS["serving"]  # imported when they are asked for
    assert undeclared(sources, names(RUNTIME + optional) | {"rvdlib"}) == set()


def test_everything_imported_by_the_tests_is_a_declared_dependency():
    sources = {str(path): path.read_text() for path in (PROJECT / "tests").rglob("*.py")}
    found = undeclared(sources, names(RUNTIME + DEV) | {"rvdlib"})
    # A module that is not installed (or is the tests' own) fails by itself, or is meant to.
    installed = metadata.packages_distributions()
    assert {(file, module) for file, module in found if module in installed} == set()


def test_an_undeclared_import_is_found():
    sources = {"a.py": "import os\ndef f():\n    from six.moves import range\n    import numpy"}
    assert undeclared(sources, {"numpy"}) == {("a.py", "six")}


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["version"] == rvdlib.__version__ == metadata.version("rvdlib")
    assert citation["license"] == PROJECT_TABLE["license"] == "MIT"


def test_citation_names_the_paper():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}
    paper, *sources = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Xu", "Wu", "Lian"]
    assert paper["identifiers"][0]["value"] == "arXiv:2309.17278"
    assert all(each.keys() >= {"type", "title", "authors", "year", "notes"} for each in sources)
    noted = " ".join(each["notes"] for each in sources)
    assert all(name.lower() in noted.lower() for name in CATALOGUE)


def test_whoever_checks_the_code_finds_every_file_of_the_manifest():
    """Only such as stay the same from run to run: of the quick study, and no timings."""
    check = yaml.safe_load((PROJECT / "codecheck.yml").read_text())
    assert check["version"].startswith("https://codecheck.org.uk/spec/config/")
    assert check["paper"].keys() == {"title", "authors", "reference"}
    files = [Path(entry["file"]) for entry in check["manifest"]]
    assert len(set(files)) == len(files)
    assert [str(file) for file in files if not (PROJECT / file).is_file()] == []
    assert all(entry["comment"] for entry in check["manifest"])
    assert {file.parts[:2] for file in files} == {("results", "quick"), ("figures", "quick")}
    numbers = {file.name[:2] for file in files if file.name[0].isdigit()}
    profile = yaml.safe_load((PROJECT / "params" / "quick.yml").read_text())
    steady = {name[:2] for name in profile if not name.endswith("_timings")}
    assert numbers <= steady
