"""The commands that read a ratings file: the same options everywhere, and advice that holds."""

import re

import pytest
from click.testing import CliRunner

from rvdlib.attacks.frozen import FrozenPoison
from rvdlib.cli import main
from rvdlib.cli.layout_options import NAMES
from rvdlib.data import load_dataset, synthetic_ratings
from rvdlib.data.layout import Layout
from rvdlib.lab.benchmark import bench
from rvdlib.seeding import stream

COMMANDS = ("data show", "attack", "bench")
ROWS = synthetic_ratings(30, 20, 300, rng=stream(0, "ratings")).matrix.tocoo()
LINES = [f"u{u};{i};{s:g}" for u, i, s in zip(ROWS.row, ROWS.col, ROWS.data, strict=True)]


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["who;what;mark", *LINES]) + "\n")
    return path


def run(command, dataset, *options):
    """The command on this data set; all else that it needs is given."""
    given = {
        "data show": ["data", "show", dataset],
        "attack": ["attack", "clone", "--attack-size=0.1", "--target-set=random", "--dataset"],
        "bench": ["bench", "--model=MF", "--k=3", "--pairs=1", "--sample=3", "--dataset"],
    }[command]
    if command == "attack":
        given += [dataset, "--out", dataset.parent / "fakes.npz"]
    if command == "bench":
        given += [dataset]
    return CliRunner().invoke(main, [str(part) for part in (*given, *options)])


@pytest.fixture
def measured(monkeypatch):
    """What ``rvd bench`` would have measured: the data set that it was given."""
    found = []

    def benchmark(dataset, model, **options):
        found.append(dataset)
        return {}

    monkeypatch.setattr(bench, "benchmark", benchmark)
    monkeypatch.setattr(bench, "as_text", lambda report: "")
    return found


@pytest.mark.parametrize("command", [*COMMANDS, "audit", "certify", "serve", "tune"])
def test_every_command_that_reads_a_file_takes_all_of_a_layout(command):
    help_text = CliRunner().invoke(main, [*command.split(), "--help"]).stdout
    assert set(NAMES) == set(Layout.__dataclass_fields__)
    for name in NAMES:
        assert f"--{name.replace('_', '-')}" in help_text


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_advice_for_a_column_that_is_not_found_can_be_followed(command, dataset):
    options = []
    for _ in range(3):
        result = run(command, dataset, *options)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"Error: {dataset}, first line: the ")
        (option,) = re.findall(r"\((--\w+-column)\)", result.stderr)
        name = {"--user-column": "who", "--item-column": "what", "--rating-column": "mark"}[option]
        options += ["--separator=;", f"{option}={name}"]
    assert run(command, dataset, *options).exit_code == 0


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_advice_to_name_the_columns_in_the_file_can_be_followed_too(command, dataset):
    """Notebooks take a file by its name alone."""
    text = dataset.read_text()
    for old, new in {"who": "user", "what": "item", "mark": "rating"}.items():
        result = run(command, dataset, "--separator=;")
        assert f"call it '{new}' there, or" in result.stderr
        text = text.replace(old, new)
        dataset.write_text(text)
    assert run(command, dataset).exit_code == 0


LAYOUT = ["--user-column=who", "--item-column=what", "--rating-column=mark", "--separator=;"]


def test_attack_and_bench_read_what_show_shows(dataset, measured):
    expected = load_dataset(
        dataset, user_column="who", item_column="what", rating_column="mark", separator=";"
    )
    assert expected.sha256 in run("data show", dataset, *LAYOUT).stdout
    assert run("attack", dataset, *LAYOUT).exit_code == 0
    origin = FrozenPoison.load(dataset.parent / "fakes.npz").origin
    assert (origin["dataset"], origin["dataset_sha256"]) == ("own.csv", expected.sha256)
    assert run("bench", dataset, *LAYOUT).exit_code == 0
    assert [ratings.sha256 for ratings in measured] == [expected.sha256]


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_warning_is_one_line_and_comes_once(command, dataset):
    pairs = [";".join(line.split(";")[:2]) for line in LINES]
    dataset.write_text("\n".join(["user;item", *pairs]) + "\n")
    result = run(command, dataset)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("Warning: ") == 1
    assert "own.csv has no ratings" in result.stderr
    assert "Warning" not in run(command, dataset, "--implicit").stderr


@pytest.mark.parametrize(("command", "code"), [("data show", 0), ("attack", 2)])
def test_users_with_few_ratings_are_told_what_a_command_can_do(command, code, dataset):
    dataset.write_text("user,item,rating\n1,1,1\n1,2,2\n2,1,1\n")
    result = run(command, dataset)
    assert result.exit_code == code
    assert "no user has 5 ratings or more" in result.output
    assert "bring more ratings of a user, the most are 2 now (or, in Python," in result.output


def test_a_published_data_set_has_no_layout(dataset):
    result = CliRunner().invoke(main, ["data", "show", "ml-100k", "--no-header"])
    assert result.exit_code == 2
    assert "columns are named for files only" in result.stderr
