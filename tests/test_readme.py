"""The README promises nothing that the repository does not hold."""

import re

import pandas as pd
import pytest

from rvdlib import paths
from rvdlib.data import synthetic_ratings
from rvdlib.seeding import stream

README = (paths.PROJECT / "README.md").read_text()


def test_its_headline_table_is_the_quick_runs():
    table = README.partition("<!-- headline")[2].partition("<!-- end of headline -->")[0]
    lines = [line.strip().strip("|").split("|") for line in table.splitlines() if "|" in line]
    shown = [[cell.strip() for cell in line] for line in lines if "---" not in line[0]]
    headline = pd.read_csv(paths.RESULTS / "quick" / "headline.csv")
    assert shown[0] == headline.columns.tolist()
    assert len(shown) == len(headline) + 1
    for line, row in zip(shown[1:], headline.itertuples(index=False), strict=True):
        assert line[:2] == list(row[:2])
        assert [float(cell.replace("−", "-")) for cell in line[2:]] == pytest.approx(row[2:])


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [link for link in links if "://" not in link and not (paths.PROJECT / link).exists()]
    assert len(links) > 10
    assert missing == []


def test_its_example_runs_on_a_ratings_file(tmp_path, monkeypatch, capsys):
    ratings = synthetic_ratings(200, 150, 5000, rng=stream(0)).matrix.tocoo()
    columns = {"user": ratings.row, "item": ratings.col, "rating": ratings.data}
    pd.DataFrame(columns).to_csv(tmp_path / "ratings.csv", index=False)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    undefended, defended = (eval(line) for line in capsys.readouterr().out.splitlines())
    assert undefended.keys() == defended.keys() >= {"target_hit_ratio", "hit_ratio", "ndcg"}
    assert defended != undefended
    assert 0.2 < undefended["hit_ratio"] <= 1  # fifty of at most 150 items by chance: a third
