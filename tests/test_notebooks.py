"""The notebooks, as sources and as executed at the tiny and quick sizes that are committed."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from nbformat import NotebookNode
from papermill import inspect_notebook

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.runner.notebook_runner import problem, read_notebook
from rvdlib.lab.runner.parameters import check_parameters, declared_parameters
from rvdlib.lab.runner.plan import PROFILES, load_profile
from rvdlib.lab.runner.report import TIMINGS

SOURCES = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
NAMES = [path.stem for path in SOURCES]
EXECUTED = sorted(paths.RESULTS.glob("*/*.ipynb"))
COMMITTED = ("tiny", "quick")
MOST_CELLS = 16
LEAST_CHECKED, LEAST_TEXTS = 3, 2
NBVAL_SKIPS = {"nbval-ignore-output", "nbval-skip"}
MOST_BYTES = 2**20
OUTSIDE = re.compile(r"(?:^|[\s\"'(=])(/(?:home|root|tmp|Users|private|var|mnt)/\S*|[A-Z]:\\\S*)")

every_notebook = pytest.mark.parametrize("path", SOURCES, ids=NAMES)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


@cache
def source(path: Path) -> NotebookNode:
    return read_notebook(path)


@cache
def executed(profile: str, name: str) -> NotebookNode:
    return read_notebook(paths.RESULTS / profile / f"{name}.ipynb")


def planned() -> list[tuple[str, str]]:
    """(profile, notebook) of all that is to be committed."""
    return [(profile, name) for profile in COMMITTED for name in load_profile(profile)]


every_executed = pytest.mark.parametrize(
    ("profile", "name"), planned(), ids=map("-".join, planned())
)


@every_notebook
def test_a_notebook_is_short(path):
    assert len(source(path).cells) <= MOST_CELLS


@every_notebook
def test_a_notebook_begins_with_its_number_and_its_question(path):
    first = source(path).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {path.stem.split('_')[0]} · ")
    assert "**Question.**" in first.source
    assert "](GLOSSARY.md)" in first.source


@every_notebook
def test_a_notebook_opens_with_its_answer(path):
    """Title, parameters, and what computes and shows the answer; nothing stands before it."""
    title, parameters, opening = source(path).cells[:3]
    assert [title.cell_type, parameters.cell_type, opening.cell_type] == [
        "markdown",
        "code",
        "code",
    ]
    assert ast.unparse(ast.parse(opening.source).body[-1]).startswith("Markdown(")
    assert re.search(r"^Markdown\((?:\w+\.)?answer\(.*\)\)$", opening.source, re.MULTILINE)


@every_notebook
def test_no_notebook_makes_sentences(path):
    for cell in code_cells(source(path)):
        found = [
            node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.JoinedStr)
        ]
        assert not found, cell.source


def test_the_glossary_has_at_most_fifteen_terms_each_once():
    lines = (paths.NOTEBOOKS / "GLOSSARY.md").read_text().splitlines()
    terms = [line for line in lines if line.startswith("- ")]
    assert all(re.match(r"- \*\*[^*]+\*\*[:,] ", term) for term in terms)
    assert 10 <= len(terms) <= 15


@every_executed
def test_an_executed_notebook_opens_with_at_most_six_sentences_that_can_be_read(profile, name):
    outputs = [o for cell in code_cells(executed(profile, name)) for o in cell.outputs]
    first = next(o for o in outputs if o.output_type != "stream")
    lines = first.data["text/markdown"].splitlines()
    assert lines[:2] == ["**Answer.**", ""]
    assert 1 <= len(lines[2:]) <= 6
    assert all(len(line.split()) <= 75 for line in lines[2:])
    assert all(line.startswith("- ") and line.endswith(".") for line in lines[2:])
    assert not any(". " in line for line in lines[2:])  # a sentence a line


@every_notebook
def test_a_notebook_defines_nothing(path):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in code_cells(source(path)):
        found = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, kinds)]
        assert not found, cell.source


@every_notebook
def test_a_notebook_declares_its_parameters_first_and_the_profile_among_them(path):
    notebook = source(path)
    assert "profile" in declared_parameters(notebook, path.name)  # in exactly one cell
    assert "parameters" in tags(code_cells(notebook)[0])


@every_notebook
def test_papermills_help_shows_the_type_the_default_and_a_description_of_each_parameter(path):
    shown = inspect_notebook(path)
    assert list(shown) == list(declared_parameters(source(path), path.name))
    for parameter in shown.values():
        assert parameter["inferred_type_name"] != "None", parameter
        assert len(parameter["help"]) > 5, parameter
        ast.literal_eval(parameter["default"])  # whole


@every_notebook
def test_a_run_with_the_defaults_writes_where_git_looks_away(path):
    assert inspect_notebook(path)["profile"]["default"] == '"scratch"'
    for folder in (paths.RESULTS, paths.FIGURES):
        ignored = ["git", "check-ignore", "-q", f"{folder.name}/scratch/x.csv"]
        assert subprocess.run(ignored, cwd=paths.PROJECT).returncode == 0


@every_notebook
def test_a_notebook_checks_its_parameters_before_it_does_anything(path):
    statements = ast.parse(code_cells(source(path))[1].source).body
    imports = (ast.Import, ast.ImportFrom)
    begun = [s for s in statements if not isinstance(s, imports)]
    assert ast.unparse(begun[0]) == "check(globals())"


# No such attackers, training, other victims.
MAY_BE_EMPTY = ("against", "retrained", "elsewhere", "others")


def spoilt(value):
    """Values of another type than this one, or empty, or out of range, or of no name."""
    if isinstance(value, list):
        yield from ([], str(value), [object()])
        if value:
            yield from (value[0], [*value, value[0]])
            yield from ([bad, *value[1:]] for bad in spoilt(value[0]))
    elif isinstance(value, dict):
        yield from (str(value), list(value))
        yield from (
            {**value, key: bad}
            for key in value
            for bad in spoilt(value[key])
            if bad != [] or key not in MAY_BE_EMPTY
        )
    elif isinstance(value, str):
        yield from ("", "of no name", 7)
    else:
        yield from (str(value), [value], -1)


@every_notebook
def test_what_no_cell_could_use_is_refused_before_any_runs(path):
    declared = declared_parameters(source(path), path.name)
    for name, shown in inspect_notebook(path).items():
        value = ast.literal_eval(shown["default"])
        check_parameters(declared, {name: value}, path.name)
        for bad in spoilt(value):
            if name in ("profile", "plain") and bad in ("of no name", -1):
                continue
            if name in MAY_BE_EMPTY and bad == []:
                continue
            with pytest.raises(StudyError, match=f"parameter '{name}"):
                check_parameters(declared, {name: bad}, path.name)


@every_notebook
def test_every_cell_that_is_evaluated_is_kept_in_a_table_or_in_the_store_alone(path):
    readme = (paths.PROJECT / "README.md").read_text()
    (alone,) = re.findall(
        r"except those of ([0-9, and]+), which stand in `results/PROFILE/cells` alone", readme
    )
    if path.stem[:2] in re.findall(r"\d+", alone):
        return
    for cell in code_cells(source(path)):
        assert cell.source.count("run_cells(") <= cell.source.count("tables.save("), cell.source


def test_no_notebook_reads_or_writes_what_another_one_writes():
    sources = [cell.source for path in SOURCES for cell in code_cells(source(path))]
    written = re.findall(r'(tables|plots)\.(?:save|kept)\(.*, "(\w+)"\)', "\n".join(sources))
    assert len(written) > len(SOURCES)
    assert len(set(written)) == len(written)
    assert not [source for source in sources if "read_" in source or "open(" in source]


@every_notebook
def test_a_source_is_committed_without_outputs(path):
    for cell in code_cells(source(path)):
        assert cell.outputs == []
        assert cell.execution_count is None


@every_notebook
def test_a_notebook_names_no_place_outside_the_project(path):
    for cell in source(path).cells:
        assert not OUTSIDE.search(cell.source), cell.source


@pytest.mark.parametrize("place", ["x = '/home/ann/data'", "see /tmp/a", 'open("C:\\data")'])
def test_a_place_outside_the_project_would_be_found(place):
    assert OUTSIDE.search(place)


@every_notebook
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_runs_the_notebook_or_says_that_it_does_not(profile, path):
    text = (paths.PARAMS / f"{profile}.yml").read_text()
    absent = re.search(rf"^# +{path.stem}: absent, \S", text, flags=re.MULTILINE)
    assert (path.stem in load_profile(profile)) is not bool(absent)


@every_notebook
def test_the_readme_maps_the_notebook(path):
    assert path.stem in (paths.PROJECT / "README.md").read_text()


@pytest.mark.parametrize("profile", COMMITTED)
def test_what_is_committed_is_all_of_the_profile_and_no_more(profile):
    found = {path.stem for path in (paths.RESULTS / profile).glob("*.ipynb")}
    assert found == set(load_profile(profile))


@every_executed
def test_an_executed_notebook_ran_cleanly_to_its_end(profile, name):
    assert problem(executed(profile, name)) == ""


@every_executed
def test_an_executed_notebook_has_the_sources_of_today(profile, name):
    own = [
        cell for cell in executed(profile, name).cells if "injected-parameters" not in tags(cell)
    ]
    today = source(paths.NOTEBOOKS / f"{name}.ipynb").cells
    assert [(c.cell_type, c.source, tags(c)) for c in own] == [
        (c.cell_type, c.source, tags(c)) for c in today
    ]


@every_executed
def test_an_executed_notebook_has_the_parameters_of_its_profile(profile, name):
    (injected,) = [c for c in executed(profile, name).cells if "injected-parameters" in tags(c)]
    found = {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(injected.source).body
    }
    assert found == load_profile(profile)[name]


@every_executed
def test_an_executed_notebook_tells_nothing_of_the_machine(profile, name):
    for cell in code_cells(executed(profile, name)):
        for output in cell.outputs:
            for text in (output.get("text", ""), *output.get("data", {}).values()):
                assert not OUTSIDE.search(str(text)), text
    assert str(paths.PROJECT) not in (paths.RESULTS / profile / f"{name}.ipynb").read_text()


@pytest.mark.parametrize("path", EXECUTED, ids=[f"{p.parent.name}-{p.stem}" for p in EXECUTED])
def test_an_executed_notebook_shows_its_tables_whole(path):
    for cell in code_cells(read_notebook(path)):
        for output in cell.outputs:
            shown = output.get("data", {}).get("text/html", "")
            assert not re.search(r"\.\.\.</t[hd]>", shown), cell.source


@every_notebook
def test_what_differs_from_run_to_run_stands_in_the_notebook_of_timings(path):
    ignored = [cell for cell in code_cells(source(path)) if tags(cell) & NBVAL_SKIPS]
    assert bool(ignored) is path.stem.endswith(TIMINGS)
    for cell in ignored:
        saved = re.findall(r"\bsave\(.*?\"(\w+)\"\)", cell.source)
        assert all(name.startswith(path.stem) for name in saved)


@pytest.mark.parametrize("profile", COMMITTED)
def test_no_committed_table_has_timings_but_those_that_are_named_so(profile):
    timed = re.compile(r"seconds|[mu]s_per_user|MiB|_mib")
    found = {f.name for f in (paths.RESULTS / profile).glob("*.csv") if timed.search(f.read_text())}
    assert found
    assert all(TIMINGS in name for name in found)


@pytest.mark.parametrize("name", [n for n in load_profile("tiny") if not n.endswith(TIMINGS)])
def test_nbval_has_enough_to_check(name):
    checked = [
        cell
        for cell in code_cells(executed("tiny", name))
        if cell.outputs and not tags(cell) & NBVAL_SKIPS
    ]
    # It compares no image: figures alone would prove nothing.
    kinds = [set().union(*(o.get("data", {}) for o in cell.outputs)) for cell in checked]
    texts = [kind for kind in kinds if kind & {"text/html", "text/markdown"}]
    assert len(checked) >= LEAST_CHECKED
    assert len(texts) >= LEAST_TEXTS


def test_no_committed_file_is_over_one_mebibyte():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=paths.PROJECT, capture_output=True, check=True
    ).stdout.decode()
    files = [paths.PROJECT / name for name in listed.split("\0") if name]
    sizes = {str(path): path.stat().st_size for path in files if path.is_file()}
    assert sizes
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}
