"""The README promises nothing that the repository does not hold."""

import re
from fnmatch import fnmatch

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from rvdlib import paths
from rvdlib.data import synthetic_ratings
from rvdlib.defenses import FunctionalRVD
from rvdlib.evaluation import evaluate
from rvdlib.lab.runner import readme
from rvdlib.seeding import stream

README = (paths.PROJECT / "README.md").read_text()
TIMED = re.compile(
    r"[\d.]+( to [\d.]+)? times as long, [\d. to]+ ms against [\d. to]+ ms"
)  # by this machine


@pytest.mark.parametrize(
    "marker", ["levels", "summary", "datasets", "answers", "claims", "headline"]
)
def test_what_it_shows_of_the_results_is_what_they_say(marker):
    shown, said = readme.between(README, marker), readme.generated()[marker]
    assert TIMED.sub("timed", shown) == TIMED.sub("timed", said)


def test_its_prose_types_no_measured_figure():
    prose = re.sub(
        r"<!-- (\w+): .*?<!-- end of \1 -->|```.*?```|http://[0-9.:]+", "", README, flags=re.DOTALL
    )
    typed = re.findall(r"\b[01]\.\d+|\bseven|\b(?:\w+) times\b|\b\d+ % of", prose)
    assert set(typed) == {"0.001", "0.005"}  # tolerances, and a weight in an example


SAVED = re.compile(r"tables\.(?:save|kept)\((?:[^()]|\([^()]*\))*?profile, \"(\w+)\"\)")


def test_each_table_has_one_producer_and_the_map_names_it():
    rows = [
        line for line in README.splitlines() if line.startswith("| ") and "](notebooks/" in line
    ]
    producers = {}
    for path in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        saved = [name for cell in cells for name in SAVED.findall(cell.source)]
        calls = sum(len(re.findall(r"tables\.(?:save|kept)\(", cell.source)) for cell in cells)
        assert len(saved) == calls, path.name
        (row,) = (line for line in rows if f"]({path.relative_to(paths.PROJECT)})" in line)
        outputs = [text.removesuffix(".csv") for text in re.findall(r"`([\w.*]+)`", row)]
        for name in saved:
            assert any(fnmatch(name, pattern) for pattern in outputs), (path.name, name)
            producers.setdefault(name, []).append(path.name)
    assert {name: by for name, by in producers.items() if len(by) > 1} == {}
    assert {"headline", "03_claims", "07_claims"} <= producers.keys()


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [link for link in links if "://" not in link and not (paths.PROJECT / link).exists()]
    assert len(links) > 10
    assert missing == []


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A section's block of Python, run beside a ratings file: what it leaves behind."""
    ratings = synthetic_ratings(200, 150, 5000, rng=stream(0)).matrix.tocoo()
    columns = {"user": ratings.row, "item": ratings.col, "rating": ratings.data}
    pd.DataFrame(columns).to_csv(tmp_path / "ratings.csv", index=False)
    monkeypatch.chdir(tmp_path)

    def run(section):
        text = README.partition(f"## {section}\n")[2].partition("\n## ")[0]
        (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
        names = {}
        exec(compile(code, "README.md", "exec"), names)
        return names

    return run


def test_its_example_runs_on_a_ratings_file(run, capsys):
    run("Your own ratings, your own victim")
    undefended, defended = (eval(line) for line in capsys.readouterr().out.splitlines())
    assert undefended.keys() == defended.keys() >= {"target_hit_ratio", "hit_ratio", "ndcg"}
    assert defended != undefended
    assert 0.2 < undefended["hit_ratio"] <= 1  # fifty of at most 150 items by chance: a third


def test_its_arrays_are_defended(run, capsys):
    names = run("Defend your own arrays")
    assert "[[" in capsys.readouterr().out
    users, undefended = names["users"], (names["left"] * names["values"]) @ names["right"]
    scores = names["regression"].score(users, names["neighbors"](users))
    moved = np.abs(scores - undefended[users]).mean()
    assert 0.01 < moved < undefended.std()


def test_its_model_of_ones_own_is_defended(run, capsys):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        names = run("Defend your own model")
        untrained = names["Factors"]()
    model, n_users = names["model"], names["n_users"]
    everyone = torch.arange(n_users)
    assert "[[" in capsys.readouterr().out
    with torch.no_grad():
        undefended = model(everyone).numpy()
        loss, before = (each.row_loss(everyone).mean() for each in (model, untrained))
    assert loss < before / 3
    defended = FunctionalRVD(model, n_users)
    moved = np.abs(defended.score(everyone.numpy()) - undefended).mean()
    assert 0.01 < moved < undefended.std()
    assert np.isnan(evaluate(defended, names["split"], []).rmse)


def test_its_ratings_are_served_and_change(run, capsys):
    names = run("Serve your own ratings")
    assert "evidence" in capsys.readouterr().out
    defender, catalogue = names["defender"], set(names["ratings"].item_ids)
    first, of_a_new_user = (defender.recommend(user, 3).items for user in (196, 5000))
    assert set(first) <= catalogue
    assert set(of_a_new_user) <= catalogue - {50}
    with pytest.raises(ValueError, match="13"):
        defender.recommend(13, 3)


def test_every_block_of_python_is_run():
    assert README.count("```python") == 4 + 2  # two of them by tests/audit/test_from_readme.py
