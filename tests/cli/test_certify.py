"""``rvd certify``: what it prints, draws and refuses."""

import json

import pytest
from click.testing import CliRunner

from rvdlib.cli import main
from rvdlib.cli.certify import DISTANCES
from rvdlib.data import synthetic_ratings
from rvdlib.lab.study import certified
from rvdlib.neighbors import search
from rvdlib.neighbors.agreement import REMEDY, Agreement
from rvdlib.seeding import stream

ROWS = synthetic_ratings(40, 30, 500, rng=stream(0, "ratings")).matrix.tocoo()
LINES = [f"{u};{i};{s:g}" for u, i, s in zip(ROWS.row, ROWS.col, ROWS.data, strict=True)]
LAYOUT = ["--user-column=who", "--item-column=what", "--rating-column=mark", "--separator=;"]
GIVEN = ["--k=6", "--quorum=2", "--max-in-degree=6"]


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    small = {"embedding_size": 8, "epochs": 100, "unobserved_weight": 0.1}
    monkeypatch.setattr(certified, "victim_hyperparameters", lambda *names: small)
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["who;what;mark", *LINES]) + "\n")
    return path


def run(dataset, *options):
    return CliRunner().invoke(main, ["certify", "--dataset", *map(str, (dataset, *options))])


def test_json_has_the_keys_that_are_promised_and_nothing_else_on_standard_output(dataset):
    result = run(dataset, *LAYOUT, *GIVEN, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert list(report) == [
        *("dataset", "k", "quorum", "max_in_degree", "distance", "regime", "n_users", "bounds"),
        *("survives", "neighbor_agreement", "neighbor_agreement_by_chance"),
    ]
    assert [report[name] for name in ("dataset", "n_users")] == ["own.csv", 40]
    assert all(isinstance(count, int) for count in report["survives"])
    assert "training MF on own.csv" in result.stderr  # the progress bar


def test_vicinities_by_overlap_do_not_depend_on_a_training(dataset):
    """Which is the distance of the quorum in the rating regime of the study."""
    known = {"euclidean": None, "profile_overlap": None}
    for distance in known:
        result = run(dataset, *LAYOUT, *GIVEN, f"--distance={distance}", "--json")
        assert result.exit_code == 0, result.output
        known[distance] = json.loads(result.stdout)
    assert known["profile_overlap"]["neighbor_agreement"] is None
    assert known["euclidean"]["neighbor_agreement"] < 1
    assert (
        known["profile_overlap"]["bounds"] == known["euclidean"]["bounds"]
    )  # whatever the geometry


def test_every_distance_of_the_search_that_local_scaling_takes_is_offered():
    assert set(DISTANCES) == {*search.DISTANCES} - {"inner_product"}


def test_a_warning_names_the_remedy_and_standard_output_stays_json(dataset, monkeypatch):
    by_chance = Agreement(0.021, 0.02, 6)
    monkeypatch.setattr(certified, "agreement_with_retraining", lambda *given: by_chance)
    result = run(dataset, *LAYOUT, *GIVEN, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["neighbor_agreement"] == 0.021
    (warning,) = (line for line in result.stderr.splitlines() if "agree between two" in line)
    assert warning.startswith("Warning: the 6 neighbours of a user agree between two trainings by ")
    assert warning.endswith(f" 0.021 (mean Jaccard index), by chance by 0.020: {REMEDY}")


def test_text_says_for_whom_and_under_which_rule(dataset):
    result = run(dataset, *LAYOUT, *GIVEN)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(
        "own.csv: 40 users. An item is served to a user if 2 of the user's 6 neighbours rated it, "
        "and nobody stands in more than 6 vicinities.\n"
    )


@pytest.mark.parametrize(("name", "start"), [("f.png", b"\x89PNG"), ("f.pdf", b"%PDF")])
def test_it_draws_the_same_bytes_for_the_same_report(dataset, tmp_path, name, start):
    drawn = []
    for folder in ("one", "two"):
        path = tmp_path / folder / name
        assert run(dataset, *LAYOUT, *GIVEN, "--out", path).exit_code == 0
        drawn.append(path.read_bytes())
    assert drawn[0].startswith(start)
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--quorum=7"], "Error: quorum must be at most k = 6, got 7"),
        (["--max-in-degree=5"], "Error: max_in_degree must be at least k = 6, or there are not"),
        (["--k=40"], "Error: k must be between 1 and 39 (the other users), got 40"),
        (["--out=f.txt"], "Error: --out must be a name in .png or .pdf, got 'f.txt'"),
        (["--out=FOLDER.png"], "FOLDER.png is a folder: name a file in it"),
        (["--max-in-degree=99999999999"], "99999999999 is not in the range"),
        (["--user-column=nobody"], "first line: the column 'nobody' is not among"),
    ],
)
def test_what_cannot_be_used_is_one_error_and_nothing_is_trained(
    dataset, monkeypatch, options, message
):
    def never(*arguments):
        raise AssertionError("trained")

    monkeypatch.setattr(certified, "_steps", never)
    monkeypatch.chdir(dataset.parent)
    (dataset.parent / "FOLDER.png").mkdir()
    result = run(dataset, *LAYOUT, *GIVEN, *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    *usage, line = result.stderr.splitlines()
    assert not usage or usage[0].startswith("Usage: ")
    assert line.startswith("Error: ")
    assert message in line
