import re
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from rvdlib.lab.runner.report import write_page

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
TABLE = "<table><tr><th>victim</th></tr><tr><td>MF &amp; co</td></tr></table>"


def executed(title, *outputs, text="## Reading\n\nAs *expected*, $k = 30$.", code="f(a < b)"):
    cell = new_code_cell(code, execution_count=1, outputs=list(outputs))
    heading = new_markdown_cell(f"# {title}\n\n{text}")
    metadata = {"language_info": {"name": "python"}}
    return new_notebook(cells=[heading, cell], metadata=metadata)


@pytest.fixture
def page(project):
    """``page(name=notebook, ...)`` writes the tiny study's page and returns its text."""

    def write(**notebooks):
        folder = project / "results" / "tiny"
        folder.mkdir(exist_ok=True)
        for name, notebook in notebooks.items():
            nbformat.write(notebook, folder / f"{name}.ipynb")
        return write_page("tiny", notebooks).read_text()

    return write


def test_timings_have_a_page_of_their_own_and_the_rest_stays_as_it_was(page, project):
    study = executed("03 · Story", shown("text/html", TABLE))
    pages = set()
    for seconds in ("1.5 ms", "2.5 ms"):
        timed = executed("12 · Timings", shown("text/html", f"<p>{seconds}</p>"))
        pages.add(page(**{"03_story": study, "14_timings": timed}))
        assert seconds in (project / "results" / "tiny" / "14_timings.html").read_text()
    (text,) = pages
    assert " ms" not in text
    assert References(text).links.count("14_timings.html") == 1
    assert "#03_story" in References(text).links


class References(HTMLParser):
    """All that a browser would load or follow, and the ids that there are."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loaded, self.links, self.ids = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif tag == "a" and name == "href":
                self.links.append(value)
            elif name in ("src", "href", "srcset", "data", "poster", "background"):
                self.loaded.append(value)


def shown(kind, content):
    return new_output("display_data", data={kind: content})


def test_the_page_gathers_text_code_tables_figures_and_printed_lines(page):
    text = page(
        a01=executed(
            "What are the *data*?",
            shown("text/html", TABLE),
            shown("image/png", PIXEL),
            shown("text/markdown", "THR fell by **0.5**"),
            new_output("stream", name="stdout", text="943 users < 1682 items\n"),
            new_output("execute_result", data={"text/plain": "'plain & simple'"}),
        )
    )
    for expected in (
        '<li><a href="#a01">What are the data?</a></li>',
        "<em>expected</em>",
        "<td>MF &amp; co</td>",
        f"data:image/png;base64,{PIXEL}",
        "<strong>0.5</strong>",
        "943 users &lt; 1682 items",
        "<pre>'plain &amp; simple'</pre>",
        "<details><summary>code</summary>",
    ):
        assert expected in text


def test_nothing_is_fetched_and_no_script_runs(page):
    text = page(
        a01=executed(
            "One",
            shown("text/html", "<script src='https://example.org/x.js'></script>" + TABLE),
            shown("application/javascript", "alert(1)"),
            shown("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'></svg>"),
            text="$$x$$ <script>alert(1)</script>",
        )
    )
    found = References(text)
    assert "script" not in found.tags
    assert "link" not in found.tags
    assert [address for address in found.loaded if not address.startswith("data:")] == []
    assert not re.search(r"@import|url\(|require\.js|mathjax", text, re.I)
    assert '<meta name="viewport" content="width=device-width' in text


def test_notebooks_follow_each_other_and_their_headings_do_not_collide(page):
    text = page(a01=executed("Same"), b02=executed("Same"))
    found = References(text)
    assert text.index('<section id="a01">') < text.index('<section id="b02">')
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)


def test_notebooks_that_have_not_run_yet_are_left_out(page, project):
    page(a01=executed("One"))
    text = write_page("tiny", ["a01", "b02"]).read_text()
    assert "b02" not in text
