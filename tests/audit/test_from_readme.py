"""From a csv to a report with a recommender of another library, by README's own words."""

import json
import re
import shlex

import numpy as np
import pytest
from click.testing import CliRunner
from test_audit import small

from rvdlib import paths
from rvdlib.audit import Defended
from rvdlib.cli import main
from rvdlib.strict_yaml import read_yaml

README = (paths.PROJECT / "README.md").read_text()
SECTION = README.split("## Audit your own ratings")[1].split("\n## ")[0]
MODELS = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", SECTION, re.DOTALL))
COMMAND = next(line for line in SECTION.splitlines() if line.startswith("rvd audit"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where README's reader stands: a csv, and the models beside it."""
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
def test_readme_leads_from_a_csv_to_a_report(name, folder):
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


@pytest.mark.parametrize(
    "form",
    [
        {"method": "least_support", "choices": {"min_ratings": 3}},
        {"method": "closed_form", "choices": {"k": 5}},
        {
            "chain": [
                {"method": "closed_form", "choices": {"k": 5}},
                {"method": "quorum", "choices": {"k": 5, "quorum": 2}},
            ]
        },
        {"method": "remove_detected", "choices": {"share": 0.1}},
    ],
)
def test_a_form_serves_somebodys_model(form):
    from small_models import SVD

    ratings, users = small().matrix, np.arange(7)
    served = Defended({"regime": "ranking", **form}, SVD(), ratings)
    plain = Defended({"regime": "ranking", "chain": []}, SVD(), ratings)
    shape = (7, ratings.shape[1])
    assert served.score(users).shape == served.eligible(users).shape == shape
    same = np.allclose(served.score(users), plain.score(users), atol=1e-5)
    assert plain.eligible(users).all()
    assert not (same and served.eligible(users).all())
