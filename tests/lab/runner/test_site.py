"""The site, built by Sphinx as `make site` builds it: links lead somewhere, nothing is fetched."""

import html.parser
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest

from rvdlib import paths
from rvdlib.lab.errors import StudyError
from rvdlib.lab.runner import ledger, site
from rvdlib.lab.runner.ledger import PART

TAKEN = ("01_datasets", "15_closed_form")
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(html.parser.HTMLParser):
    """What a page links, what it fetches, and the places in it that can be linked."""

    def __init__(self, path):
        super().__init__()
        self.links, self.fetched, self.ids, self.tags = [], [], {""}, defaultdict(int)
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags[tag] += 1
        self.ids.add(given.get("id", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in FETCHED and given.get(FETCHED[tag]):
            self.fetched.append(given[FETCHED[tag]])


def results(folder, names=TAKEN):
    """The results of a profile: two executed notebooks, the ledger, and the figure of verdicts."""
    (folder / "results" / "tiny").mkdir(parents=True)
    (folder / "figures" / "tiny").mkdir(parents=True)
    for file in (*(f"{name}.ipynb" for name in names), "claims.csv"):
        shutil.copy(paths.PROJECT / "results" / "tiny" / file, folder / "results" / "tiny")
    failed = folder / "results" / "tiny" / f"{names[0]}.failed.ipynb"
    shutil.copy(failed.with_name(f"{names[0]}.ipynb"), failed)
    drawn = paths.PROJECT / "figures" / "tiny" / "01_long_tail.png"
    shutil.copy(drawn, folder / "figures" / "tiny" / site.VERDICTS)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Page → what is in it, and the folder."""
    folder = tmp_path_factory.mktemp("site")
    results(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RESULTS", folder / "results")
        patch.setattr(paths, "FIGURES", folder / "figures")
        assert site.write_sources(folder / "source", ["tiny"]) == list(TAKEN)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
    conf = paths.PROJECT / "site"
    command += ["-c", str(conf), str(folder / "source"), str(folder / "html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {path: Page(path) for path in (folder / "html").glob("*.html")}, folder / "html"


def test_there_is_a_page_a_question_the_ledger_the_glossary_and_a_search(built):
    pages, folder = built
    names = {path.stem for path in pages}
    assert names >= {"index", "ledger", "GLOSSARY", "USING", "search", *TAKEN}
    # By the stems of words, those of answers too.
    assert '"correl":' in (folder / "searchindex.js").read_text()
    ledger = (folder / "ledger.html").read_text()
    assert re.findall(r"<td><p>(C\d+)</p></td>", ledger) == [f"C{n}" for n in range(1, 18)]
    start = (folder / "index.html").read_text()
    assert all(f'href="{name}.html"' in start for name in (*TAKEN, "ledger", "GLOSSARY", "USING"))
    assert "rvd study --profile tiny --only 15" in (folder / "15_closed_form.html").read_text()


def test_every_link_inside_leads_to_a_page_and_a_place_in_it(built):
    pages, _ = built
    links = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            links += 1
            aim = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert aim.is_file(), (path.name, link)
            if aim in pages:
                assert unquote(parts.fragment) in pages[aim].ids, (path.name, link)
    assert links > 50


def test_reading_it_fetches_nothing_from_elsewhere(built):
    pages, folder = built
    for path, page in pages.items():
        for address in page.fetched:
            assert not urlsplit(address).netloc, (path.name, address)
            inside = urlsplit(address).path
            if inside and not address.startswith("data:"):
                assert (path.parent / unquote(inside)).is_file(), (path.name, address)
    fetching = re.compile(r"""(?:@import|url\(|fetch\(|importScripts\()\s*["']?(?:https?:)?//""")
    for path in folder.rglob("*"):
        if path.suffix in {".css", ".js", ".html"}:
            assert not fetching.search(path.read_text()), path


def test_mathematics_is_drawn_by_the_browser_once(built):
    pages, folder = built
    assert pages[folder / "15_closed_form.html"].tags["math"] >= 4
    text = (folder / "15_closed_form.html").read_text()
    assert "\\frac" not in text
    assert "mathjax" not in text.lower()


def test_without_an_executed_notebook_it_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    with pytest.raises(StudyError, match="make study"):
        site.write_sources(tmp_path / "source")
    assert not (tmp_path / "source").exists()


def test_a_folder_of_other_files_is_not_emptied(tmp_path, monkeypatch):
    results(tmp_path)
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    with pytest.raises(StudyError, match="holds other files, and would be emptied"):
        site.write_sources(tmp_path, ["tiny"])
    assert (tmp_path / "results" / "tiny" / "claims.csv").is_file()
    for _ in range(2):
        assert site.write_sources(tmp_path / "source", ["tiny"]) == list(TAKEN)


def test_a_claim_of_two_notebooks_names_both(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    (tmp_path / "tiny").mkdir()
    row = dict.fromkeys(PART) | {"id": "C1", "metric": "m", "value": 0.3, "n_seeds": 3}
    row["regime"] = "rating"
    for number, dataset in (("03", "ml-100k"), ("11", "yelp")):
        part = row | {"dataset": dataset, "verdict": "reproduced", "overall": "reproduced"}
        pd.DataFrame([part]).to_csv(tmp_path / "tiny" / f"{number}_claims.csv", index=False)
    ledger.assemble("tiny")
    text = site._ledger(["tiny"], ["11_main_results"])
    (line,) = (line for line in text.splitlines() if line.startswith("| C1 "))
    assert re.search(
        r"yelp, rating: [^<]*, \[11\]\(11_main_results\.ipynb\)<br>ml-100k, rating: .*, 03 \|$",
        line,
    )
    assert "`rvd study --profile tiny --only 11 --only 03 --force`" in text
