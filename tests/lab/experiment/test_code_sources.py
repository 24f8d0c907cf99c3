"""What a cell's numbers depend on: shown by editing a copy of the package, file by file."""

import ast
import shutil

import pytest

from rvdlib.attacks import ATTACKS
from rvdlib.defenses import DEFENSES
from rvdlib.lab.experiment import sources
from rvdlib.lab.experiment.fingerprint import MACHINERY, PACKAGE, READ
from rvdlib.lab.experiment.sources import code_of, source_digest
from rvdlib.models import VICTIMS

CELLS = "lab/experiment/cells.py"
USED = {
    "undefended MF": [VICTIMS["MF"]],
    "AutoRec, random fakes, RVD": [VICTIMS["AutoRec"], ATTACKS["random"].function, DEFENSES["rvd"]],
    "NSVD, TNA, two defences": [
        VICTIMS["NSVD"],
        ATTACKS["s_tna"].function,
        DEFENSES["remove_detected"],
        DEFENSES["closed_form"],
    ],
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package that may be edited."""
    folder = tmp_path_factory.mktemp("copy") / "rvdlib"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__", "params"))
    return folder


@pytest.fixture
def edited(package):
    """``edited(file=edit, …)``: the copy with these files changed, until the test ends."""
    originals = {}

    def edit(edits):
        for name, change in edits.items():
            path = package / name
            before = path.read_text() if path.exists() else None
            originals.setdefault(path, before)
            path.write_text(change(before))
        forget()
        return package

    yield edit
    for path, before in originals.items():
        path.unlink() if before is None else path.write_text(before)
    forget()


def forget():
    for cached in (sources._parsed, sources._does, source_digest):
        cached.cache_clear()


def code(package, used, module=CELLS):
    found = code_of(module, used, package, MACHINERY | READ)
    return {name.removeprefix("rvdlib/"): digest for name, digest in found.items()}


class _OtherNumber(ast.NodeTransformer):
    """Changes the first number that is neither in an error nor in a text."""

    done = False

    def visit(self, node):
        if isinstance(node, ast.Raise | ast.JoinedStr):
            return node
        is_number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
        if is_number and not self.done:
            self.done = True
            return ast.Constant(node.value + 3)
        return self.generic_visit(node)


def other_number(source):
    """None if there is no number."""
    tree = (changer := _OtherNumber()).visit(ast.parse(source))
    return ast.unparse(tree) if changer.done else None


class _OtherWords(ast.NodeTransformer):
    """Changes every docstring, error text and description of a field."""

    def visit(self, node):
        node = self.generic_visit(node)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc.args = [ast.Constant("something else")]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "Field":
                for keyword in node.keywords:
                    if keyword.arg == "description":
                        keyword.value = ast.Constant("something else")
            elif node.func.id.endswith("Error"):
                node.args = [ast.Constant("something else")]
        elif isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str):
            node.value = ast.Constant("Something else.")
        return node


def other_words(source):
    return ast.unparse(ast.fix_missing_locations(_OtherWords().visit(ast.parse(source))))


def everything(package):
    return [path.relative_to(package).as_posix() for path in sorted(package.rglob("*.py"))]


def test_what_is_said_to_people_changes_no_cell(package, edited):
    before = {name: code(package, used) for name, used in USED.items()}
    edited(dict.fromkeys(everything(package), other_words))
    assert "Something else." in (package / "models/mf.py").read_text()
    assert {name: code(package, used) for name, used in USED.items()} == before


def test_whatever_else_changes_changes_no_cell(package, edited):
    """Other attacks, victims and defences, checks, fetching, the command line, figures, tables."""
    used = USED["AutoRec, random fakes, RVD"]
    before = code(package, used)
    others = [file for file in everything(package) if file not in before]
    assert len(others) > 80
    for file in ("defenses/any_model/checks/answers.py", "data/fetching.py", "cli/attack.py"):
        assert file in others
    edited(dict.fromkeys(others, lambda source: other_number(source) or source))
    assert code(package, used) == before


def test_a_changed_number_in_any_file_that_a_cell_uses_is_seen(package, edited):
    """Every other file is edited: one that is not must not be taken for edited."""
    used = USED["NSVD, TNA, two defences"]
    before = code(package, used)
    changed = {file: other_number((package / file).read_text()) for file in [*before][::2]}
    edits = {file: lambda _, new=new: new for file, new in changed.items() if new is not None}
    assert len(edits) > 20
    after = code(edited(edits), used)
    assert [name for name in before if before[name] != after[name]] == [*edits]


@pytest.fixture(scope="module")
def followed():
    return {name: code(PACKAGE, used) for name, used in USED.items()}


@pytest.mark.parametrize(
    ("file", "seen_by"),
    [
        ("models/mf.py", ["undefended MF"]),
        ("models/autorec.py", ["AutoRec, random fakes, RVD"]),
        ("models/nsvd.py", ["NSVD, TNA, two defences"]),
        ("models/cdae.py", []),
        ("attacks/heuristic.py", ["AutoRec, random fakes, RVD"]),
        ("attacks/surrogate.py", ["NSVD, TNA, two defences"]),
        ("attacks/aush.py", []),
        ("defenses/engine/kernels.py", ["AutoRec, random fakes, RVD"]),
        ("defenses/regression.py", ["NSVD, TNA, two defences"]),
        ("defenses/detection.py", ["NSVD, TNA, two defences"]),
        ("defenses/least_support.py", []),
        ("defenses/any_model/functional.py", []),
        ("evaluation.py", list(USED)),
        ("metrics.py", list(USED)),
        ("seeding.py", list(USED)),
        ("neighbors/search.py", list(USED)),
        ("lab/experiment/parallel.py", []),
        ("lab/study/effects.py", []),
        ("data/readers.py", []),
    ],
)
def test_a_file_counts_for_the_cells_that_use_it(followed, file, seen_by):
    assert (PACKAGE / file).is_file()
    assert [name for name, files in followed.items() if file in files] == seen_by


def test_a_new_attack_victim_or_defence_changes_no_cell(package, edited):
    before = {name: code(package, used) for name, used in USED.items()}
    edited(
        {
            "attacks/mine.py": lambda _: "def mine(threat, rng):\n    return 1\n",
            "attacks/registry.py": lambda source: source.replace(
                "from rvdlib.attacks.pga",
                "from rvdlib.attacks.mine import mine\nfrom rvdlib.attacks.pga",
            ).replace('    "clone": clone,', '    "clone": clone,\n    "mine": mine,'),
            "defenses/mine.py": lambda _: "class Mine:\n    pass\n",
            "defenses/__init__.py": lambda source: source.replace(
                "from rvdlib.defenses.least", "from rvdlib.defenses.mine import Mine\nfrom rvdlib.defenses.least"
            ).replace("] = {", ']= {\n    "mine": Mine,'),
            "models/mine.py": lambda _: "class Mine:\n    pass\n",
            "models/__init__.py": lambda source: "from rvdlib.models.mine import Mine\n"
            + source.replace("(MF,", "(Mine, MF,"),
        }
    )  # fmt: skip
    assert {name: code(package, used) for name, used in USED.items()} == before


def test_what_stands_outside_of_the_package_counts_by_its_file():
    class Mine:
        pass

    assert set(code(PACKAGE, [Mine])) > {*code(PACKAGE, []), "test_code_sources.py"}


@pytest.fixture
def toy(tmp_path):
    """``toy(**{"a/b.py": source})``: the files that ``start.py`` depends on."""

    def follow(files):
        package = tmp_path / "rvdlib"
        for name, source in files.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(source)
        forget()
        return [name.removeprefix("rvdlib/") for name in code_of("start.py", (), package)]

    return follow


def test_imports_are_followed_through_packages_functions_and_circles(toy):
    found = toy(
        {
            "__init__.py": "__version__ = '1'",
            "start.py": "import numpy\ndef f():\n    from rvdlib import late\n    late.x()\n",
            "late.py": "from rvdlib.models import MF\nimport rvdlib.start\nMF()\n",
            "models/__init__.py": "from rvdlib.models.mf import MF\nfrom rvdlib.models.b import B\n",
            "models/mf.py": "class MF: pass",
            "models/b.py": "class B: pass",
            "unrelated.py": "import rvdlib.start",
        }
    )
    assert found == ["late.py", "models/mf.py", "start.py"]


@pytest.mark.parametrize(
    ("start", "does", "found"),
    [
        # Of a package that is imported whole, what is read of it.
        ("from rvdlib import models\nmodels.B()\n", "", ["models/b.py"]),
        # What a package does when it is imported.
        (
            "from rvdlib.models import SIZE\nprint(SIZE)\n",
            "SIZE = MF().size\n",
            ["models/__init__.py", "models/mf.py"],
        ),
        # Whoever reads a registry on their own depends on all that it holds.
        *(
            (start, "VICTIMS = {'MF': MF, 'B': B}\n", ["models/b.py", "models/mf.py"])
            for start in (
                "from rvdlib.models import VICTIMS\nVICTIMS['MF']()\n",
                "from rvdlib import models\nmodels.VICTIMS['MF']()\n",
            )
        ),
    ],
)
def test_of_a_package_counts_what_is_used_of_it_and_what_it_does(toy, start, does, found):
    names = {"mf": "MF", "b": "B", "c": "C"}
    imported = "".join(f"from rvdlib.models.{file} import {name}\n" for file, name in names.items())
    files = {f"models/{file}.py": f"class {name}: size = 1" for file, name in names.items()}
    files |= {"start.py": start, "models/__init__.py": imported + does}
    assert toy(files) == [*found, "start.py"]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""One."""\nx = 1', '"""Two."""\nx = 1', True),
        ("x = 1\n", "# why\nx = 1\r\n", True),
        ("f(a,b)\n", "f(\n    a, b\n)\n", True),
        ("def f():\n    'One.'\n    return 1", "def f():\n    return 1", True),
        ("raise ValueError(f'{x} is bad')", "raise ValueError('bad')", True),
        ("raise ValueError('bad')", "raise TypeError('bad')", False),
        ("warnings.warn('one', stacklevel=2)", "warnings.warn('two', stacklevel=3)", True),
        ("if x:\n    t = 'a'\n    raise E(t)", "if x:\n    raise E('b')", True),
        ("if x:\n    raise E('b')", "if y:\n    raise E('b')", False),
        ("if x:\n    if y: return 1\n    raise E", "if x:\n    raise E", False),
        ("k = Field(3, description='one')", "k = Field(3, description='two')", True),
        ("k = Field(3, description='one')", "k = Field(4, description='one')", False),
        ("k = Field(3, ge=1)", "k = Field(3, ge=2)", False),
        ("assert x, 'one'", "assert x, 'two'", True),
        ("assert x", "assert y", False),
        ("f('one')", "f('two')", False),
        ("def f(k=1): pass", "def f(k=2): pass", False),
    ],
)
def test_words_to_people_do_not_count_and_all_else_does(tmp_path, old, new, same):
    digests = []
    for name, source in (("old.py", old), ("new.py", new)):
        (tmp_path / name).write_text(source + "\n")
        digests.append(source_digest(tmp_path / name))
    assert (digests[0] == digests[1]) is same
