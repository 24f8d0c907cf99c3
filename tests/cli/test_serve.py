"""``rvd serve`` before it serves: what its help shows, and what it refuses in one sentence."""

import importlib
import re
import socket
import sys

import pytest
from click.testing import CliRunner

from rvdlib.cli import main
from rvdlib.data import synthetic_ratings
from rvdlib.models import VICTIMS
from rvdlib.models.chosen import chosen_hyperparameters
from rvdlib.seeding import stream
from rvdlib.serving import service

serve = importlib.import_module("rvdlib.cli.serve")  # its module, not the command


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs it on a small file; instead of serving, it says with what it would."""
    served = []
    monkeypatch.setattr(service, "run", lambda *given: served.append(given))
    monkeypatch.setitem(
        chosen_hyperparameters()["ml-100k"]["ranking"],
        "MF",
        {"embedding_size": 4, "epochs": 1, "unobserved_weight": 0.2},
    )
    coo = synthetic_ratings(40, 30, 320, rng=stream(0, "ratings")).matrix.tocoo()
    lines = [f"{u},{i},{s:g}" for u, i, s in zip(coo.row, coo.col, coo.data, strict=True)]
    (tmp_path / "own.csv").write_text("\n".join(["user,item,rating", *lines]))
    (tmp_path / "form.yml").write_text("regime: ranking\nmethod: closed_form\nchoices: {k: 5}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*options):
        usual = {
            "--ratings": str(tmp_path / "own.csv"),
            "--folder": str(tmp_path / "kept"),
            "--defense": str(tmp_path / "form.yml"),
            "--port": str(port),
        }
        usual |= dict(zip(options[::2], options[1::2], strict=True))
        given = ([k] if v is True else [k, v] for k, v in usual.items() if v is not None)
        pairs = [each for pair in given for each in pair]
        return CliRunner().invoke(main, ["serve", *pairs]), served

    return run


def test_help_shows_each_default():
    shown = CliRunner().invoke(main, ["serve", "--help"]).output
    defaults = re.findall(r"\[default:\s+([^\];]+)", shown)
    assert defaults == ["MF", "ranking", "rvd-serve", "127.0.0.1", "8000", "1", "64", "1024", "0"]


@pytest.mark.filterwarnings("ignore:MF is beaten")
def test_the_first_start_trains_and_the_next_one_loads(command, tmp_path):
    first, served = command()
    assert first.exit_code == 0, first.output
    assert "training MF" in first.output
    kept = (tmp_path / "kept" / service.MODEL).read_bytes()
    again, _ = command("--cache-mib", "1")
    assert "training" not in again.output
    assert "closed_form: 40 users, 30 items, at http://127.0.0.1:" in again.output
    assert (tmp_path / "kept" / service.MODEL).read_bytes() == kept
    assert served[0][1].recommend(3, 5).items == served[1][1].recommend(3, 5).items
    assert served[1][0].cache_bytes == 2**20
    for options, problem in (
        (("--seed", "1"), "has a model of another seed: name another --folder"),
        (("--defense", "none"), "has a model of another defense"),
    ):
        refused, _ = command(*options)
        assert refused.exit_code == 2
        assert problem in refused.output
    (tmp_path / "kept" / service.MODEL).write_bytes(kept[:-9])
    refused, _ = command()
    assert refused.exit_code == 2
    assert "defender.safetensors: " in refused.output
    assert len(served) == 2


@pytest.mark.filterwarnings("ignore:MF is beaten")
def test_who_trains_while_another_process_makes_a_model_leaves_it_alone(
    command, tmp_path, monkeypatch
):
    trained = serve._trained

    def late(*given):
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept" / service.MODEL).write_bytes(b"another's")
        return trained(*given)

    monkeypatch.setattr(serve, "_trained", late)
    refused, _ = command()
    assert refused.exit_code == 2
    assert "has got a model from another process: start again" in refused.output
    assert (tmp_path / "kept" / service.MODEL).read_bytes() == b"another's"


@pytest.mark.filterwarnings("ignore:MF is beaten")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--dataset", "ml-100k"), "give either --dataset or --ratings"),
        (("--ratings", "absent.csv"), "neither a file nor a data set"),
        (("--model", "mf"), "'mf' is not one of 'MF', "),
        (("--ratings", "liked.csv"), "up by 1, and whoever sends others to POST /ratings"),
        (("--ratings", "clicks.csv", "--regime", "rating"), "take the ranking regime"),
        (("--defense", "absent.yml"), "absent.yml cannot be read"),
        (("--defense", sys.executable), "python"),
        (("--regime", "rating"), "form.yml was chosen for --regime ranking"),
        (("--port", "0"), "not in the range"),
        (("--host", "192.0.2.1"), "--host 192.0.2.1 --port"),
        (("--host", ""), "--host is empty"),
        (("--defense", ""), "cannot be read: Is a directory"),
        (("--defense", "mistyped.yml"), "mistyped.yml: a form has method and choices"),
    ],
)
def test_what_cannot_be_served_is_told_in_a_sentence(
    command, options, problem, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mistyped.yml").write_text("regimes: rating\nmethod: count\nchoices: {k: 5}\n")
    rows = [f"{u},{i}" for u in range(9) for i in range(6)]
    (tmp_path / "clicks.csv").write_text("\n".join(["user,item", *rows]))
    liked = [f"{row},{at % 2}" for at, row in enumerate(rows)]
    (tmp_path / "liked.csv").write_text("\n".join(["user,item,rating", *liked]))
    refused, served = command(*options)
    assert refused.exit_code == 2
    assert problem in refused.output
    assert "training" not in refused.output
    assert not served


@pytest.mark.filterwarnings("ignore:MF is beaten")
def test_approximate_neighbours_are_for_a_form_that_a_graph_can_serve(command, tmp_path):
    pytest.importorskip("usearch")
    (tmp_path / "scaled.yml").write_text("method: quorum\nchoices: {k: 5, quorum: 2}\n")
    for form in (None, tmp_path / "scaled.yml"):
        refused, served = command("--defense", form and str(form), "--approximate", True)
        assert refused.exit_code == 2
        assert "approximate neighbours need hubness_reduction 'none'" in refused.output
        assert "A file for --defense that will do: {method: closed_form" in refused.output
        assert "training" not in refused.output
        assert not served
    done, served = command("--approximate", True)  # closed_form, whose hubness_reduction is none
    assert done.exit_code == 0, done.output
    assert served[0][1].approximate
    assert served[0][1].graph_bytes
    assert "hubness_reduction is none" in " ".join(
        CliRunner().invoke(main, ["serve", "--help"]).output.split()
    )


def test_all_victims_can_be_named():
    assert tuple(VICTIMS) == serve.MODELS


@pytest.mark.parametrize("content", ["{", "[1]", "1", '"text"'])
def test_a_folder_whose_origin_is_damaged_is_named(command, tmp_path, content):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / service.MODEL).write_text("a model")
    (tmp_path / "kept" / serve.ORIGIN).write_text(content)
    refused, _ = command()
    assert refused.exit_code == 2
    assert "origin.json is damaged: name another --folder, or remove this one" in refused.output
