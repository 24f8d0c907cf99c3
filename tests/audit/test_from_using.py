"""From a csv to a report with a recommender of another library, by the words of USING."""

import html
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_audit import small

from rvdlib import paths
from rvdlib.audit import audit, document, write
from rvdlib.audit.words import recommendation
from rvdlib.cli import main
from rvdlib.data import load_dataset
from rvdlib.serving.errors import UnusableForm
from rvdlib.serving.forms import read_form
from rvdlib.strict_yaml import read_yaml

USING = (paths.PROJECT / "USING.md").read_text()
SECTION = USING.split("## Audit your own ratings")[1].split("\n## ")[0]
MODELS = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", SECTION, re.DOTALL))
COMMAND = next(line for line in SECTION.splitlines() if line.startswith("rvd audit"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the reader stands: a csv, and the models beside it."""
    ratings = small().matrix.tocoo()
    rows = zip(ratings.row, ratings.col, ratings.data, strict=True)
    text = "".join(f"{u},{i},{r:g}\n" for u, i, r in rows)
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n" + text)
    for name, source in MODELS.items():
        (tmp_path / name).write_text(source)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, *more: str):
    return CliRunner().invoke(main, [*shlex.split(command)[1:], *more], catch_exceptions=False)


def test_each_model_is_short():
    assert set(MODELS) == {"als.py", "torch_mf.py"}
    for source in MODELS.values():
        assert len([line for line in source.splitlines() if line.strip()]) <= 15


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of implicit, about threads of BLAS
@pytest.mark.parametrize("name", ["als.py:ALS", "torch_mf.py:TorchMF"])
def test_using_leads_from_a_csv_to_a_report(name, folder):
    if name.startswith("als"):
        pytest.importorskip("implicit", reason="it has wheels for x86_64 alone")
    command = COMMAND.replace("als.py:ALS", name)
    result = run(command, "--repetitions", "1", "--budget", "10%")
    assert result.exit_code == 0, result.output
    report = json.loads((folder / "report/audit.json").read_text())
    assert "closed form" in {row["name"] for row in report["remedies"]}
    assert report["model"] == name
    assert (folder / "report/index.html").is_file()
    assert result.stdout.startswith(report["answer"][0])


FORMS = (
    {"method": "least_support", "choices": {"min_ratings": 3}},
    {
        "chain": [
            {"method": "closed_form", "choices": {"k": 5}},
            {"method": "quorum", "choices": {}},
        ]
    },
    {"method": "remove_detected", "choices": {"share": 0.1}},
)


@pytest.mark.parametrize("model", ["MF", "small.py:SVD"])
def test_the_code_of_a_report_runs_as_printed_and_it_is_said_what_cannot_be_served(model, folder):
    (folder / "small.py").write_text("from small_models import SVD\n")
    source = ("ratings.csv", {"time_column": "found", "separator": ","})
    how = {"budget": 0.1, "minutes": None, "repetitions": 1, "attacks": ["random"]}
    ratings = load_dataset(source[0], **source[1])
    found = audit(ratings, model, remedies=["least support"], **how)
    for form in FORMS:
        report = document(found, source=source)
        report |= {"form": {"regime": "ranking", **form}, "recommended": "least support"}
        sentence = recommendation(report | {"verdicts": {"remedy": "found"}})
        write(report, Path("a report"))
        page = Path("a report/index.html").read_text()
        printed = html.unescape(re.findall("<pre>(.*?)</pre>", page, re.DOTALL)[-1])
        names = {}
        exec(compile(printed, "printed", "exec"), names)
        assert names["scores"].shape == (3, ratings.n_items)
        training = form.get("method") == "remove_detected"
        assert np.isneginf(names["scores"]).any() != training
        for text in (sentence, Path("a report/defense.yml").read_text()):
            assert ("acts before or in training" in text) is training
        if training:
            with pytest.raises(UnusableForm, match="acts before or in training"):
                read_form("a report/defense.yml")
        else:
            assert read_form("a report/defense.yml") == form


def test_what_tune_writes_is_a_form_that_serves(folder):
    command = "rvd tune ratings.csv --model small.py:SVD --remedy quorum --out d.yml"
    (folder / "small.py").write_text("from small_models import SVD\n")
    result = run(command, "--budget", "10%", "--minutes", "0.2")
    if result.exit_code:
        assert "may be used here" in result.output
        assert not (folder / "d.yml").exists()
        return
    form = read_yaml(folder / "d.yml")
    assert form.keys() == {"regime", "method", "choices"}
    assert result.stdout == (folder / "d.yml").read_text()
