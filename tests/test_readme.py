"""README, USING and CONTRIBUTING promise nothing that the repository does not hold."""

import importlib.util
import re
import sys
from fnmatch import fnmatch

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from rvdlib import paths
from rvdlib.attacks import ATTACKS
from rvdlib.data import synthetic_ratings
from rvdlib.defenses import DEFENSES, FunctionalRVD
from rvdlib.evaluation import evaluate
from rvdlib.lab.experiment import cells
from rvdlib.lab.experiment.cells import UNDEFENDED, Cell, Scenario, run_cells
from rvdlib.lab.experiment.store import CellStore
from rvdlib.lab.runner import readme
from rvdlib.models import VICTIMS
from rvdlib.seeding import stream

README, USING, CONTRIBUTING = TEXTS = [
    (paths.PROJECT / f"{name}.md").read_text() for name in ("README", "USING", "CONTRIBUTING")
]
GENERATED_OR_CODE = r"<!-- (\w+): .*?<!-- end of \1 -->|```.*?```|http://[0-9.:]+"
TIMED = re.compile(
    r"[\d.]+( to [\d.]+)? times as long, [\d. to]+ ms against [\d. to]+ ms|[\d.e+]+ ×"
)  # by this machine


@pytest.mark.parametrize(
    "marker", ["short", "attacked", "elsewhere", "summary", "advice", "datasets"]
)
def test_what_it_shows_of_the_results_is_what_they_say(marker):
    shown, said = readme.between(README, marker), readme.generated()[marker]
    assert TIMED.sub("timed", shown) == TIMED.sub("timed", said)


def test_every_test_of_every_claim_is_listed_as_it_was_found():
    assert TIMED.sub("timed", (paths.PROJECT / readme.CLAIMS).read_text()) == TIMED.sub(
        "timed", readme.every_test()
    )


@pytest.mark.parametrize(
    ("text", "tolerances"), [(README, {"0.001", "0.005", "0.01", "0.04", "0.07"}), (USING, set())]
)
def test_its_prose_types_no_measured_figure(text, tolerances):
    prose = re.sub(GENERATED_OR_CODE, "", text, flags=re.DOTALL)
    typed = re.findall(r"\b[01]\.\d+|\bseven|\b(?:\w+) times\b|\b\d+ % of", prose)
    assert set(typed) == tolerances


SAVED = re.compile(
    r"tables\.(?:save|kept)\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*?profile, \"(\w+)\"\)"
)


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


def places(text):
    """What a link into a page may name: its headings, as they are made into anchors."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("text", "fewest"), list(zip(TEXTS, (30, 8, 1), strict=True)))
def test_its_links_lead_somewhere(text, fewest):
    links = re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text)
    inside = [(path, place) for path, place in links if "://" not in path]
    missing = [path for path, _ in inside if not (paths.PROJECT / path).exists()]
    missing += [
        f"{path}#{place}"
        for path, place in inside
        if place and place not in places((paths.PROJECT / path).read_text() if path else text)
    ]
    assert len(inside) >= fewest
    assert missing == []


BLOCK = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)


@pytest.fixture
def ratings_file(tmp_path):
    """A ratings file of somebody's own."""
    ratings = synthetic_ratings(200, 150, 5000, rng=stream(0)).matrix.tocoo()
    columns = {"user": ratings.row, "item": ratings.col, "rating": ratings.data}
    pd.DataFrame(columns).to_csv(tmp_path / "ratings.csv", index=False)
    return tmp_path / "ratings.csv"


@pytest.fixture
def run(ratings_file, monkeypatch):
    """A section's block of Python in USING, run beside a ratings file: what it leaves behind."""
    monkeypatch.chdir(ratings_file.parent)

    def run(section):
        text = USING.partition(f"## {section}\n")[2].partition("\n## ")[0]
        (code,) = BLOCK.findall(text)
        names = {}
        exec(compile(code, "USING.md", "exec"), names)
        return names

    return run


def test_its_example_runs_on_a_ratings_file(run, capsys):
    run("Attack and defend your own ratings")
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


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The files that CONTRIBUTING shows, registered as it says: path → its lines."""
    files = dict(re.findall(r"```python\n# (rvdlib/\S+\.py)\n(.*?)```", CONTRIBUTING, re.DOTALL))
    for path, source in files.items():
        room = path.split("/")[1]
        spec = importlib.util.spec_from_file_location(f"added_{room}", tmp_path / f"{room}.py")
        (tmp_path / f"{room}.py").write_text(source)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        registry = {"attacks": ATTACKS, "models": VICTIMS, "defenses": DEFENSES}[room]
        monkeypatch.setitem(registry, "mine", module.mine if room == "attacks" else module.Mine)
    chosen = {"embedding_size": 8}
    monkeypatch.setattr(cells, "victim_hyperparameters", lambda *names: chosen)
    return files


@pytest.mark.filterwarnings("ignore::rvdlib.models.reference.BeatenByReferenceWarning")
def test_what_contributing_adds_is_measured(added, ratings_file, tmp_path):
    assert {path.split("/")[1] for path in added} == {"attacks", "models", "defenses"}
    assert max(len(lines.strip().splitlines()) for lines in added.values()) <= 32
    attacked = {"attack": "mine", "attack_size": 0.1, "regime": "rating", "target_set": "random"}
    asked = [
        Cell(scenario=Scenario(dataset=str(ratings_file), victim=victim, **attacked), **defended)
        for victim in ("MF", "mine")
        for defended in ({}, {"defense": "mine", "method": "mine"}, {"method": "closed_form"})
    ]
    rows = run_cells(asked, store=CellStore(tmp_path / "cells"), jobs=1)
    assert not rows[["target_hit_ratio", "hit_ratio", "ndcg"]].isna().any().any()
    reached = rows.set_index(["victim", "method"])["target_hit_ratio"]
    for victim in ("MF", "mine"):
        # Who rates all at the top is left out, and with them the attack.
        assert reached[victim, "mine"] < reached[victim, UNDEFENDED] - 0.02
        assert reached[victim, "closed_form"] != reached[victim, UNDEFENDED]


def test_every_block_of_python_is_run():
    # Two of USING's by tests/audit/test_from_using.py.
    assert [len(BLOCK.findall(text)) for text in TEXTS] == [0, 4 + 2, 3]
