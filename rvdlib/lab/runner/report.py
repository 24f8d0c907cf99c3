"""One HTML page of a profile's executed notebooks: no scripts, nothing fetched; timings apart."""

import html
import re
from collections.abc import Iterable
from pathlib import Path

from jinja2 import DictLoader
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from rvdlib import paths
from rvdlib.lab.runner.notebook_runner import read_notebook

TIMINGS = "_timings"  # the end of the name of a notebook that differs from run to run

# nbconvert's plain cells, with the code folded away and without prompts and ids.
CELLS = """
{%- extends 'base/display_priority.j2' -%}
{% block input %}<details><summary>code</summary>
{{ cell.source | highlight_code(metadata=cell.metadata) }}</details>{% endblock %}
{% block markdowncell %}{{ cell.source | markdown2html }}{% endblock %}
{% block execute_result %}{{ self.data_priority() }}{% endblock %}
{% block stream %}<pre>{{ output.text | ansi2html }}</pre>{% endblock %}
{% block data_text %}<pre>{{ output.data['text/plain'] | ansi2html }}</pre>{% endblock %}
{% block data_markdown %}{{ output.data['text/markdown'] | markdown2html }}{% endblock %}
{% block data_html %}<div class="table">{{ output.data['text/html'] }}</div>{% endblock %}
{% block data_svg %}<div>{{ output.data['image/svg+xml'] }}</div>{% endblock %}
{% block data_png %}<img alt="figure" src="data:image/png;base64,{{ output.data['image/png'] }}">
{% endblock %}
"""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 56rem; margin: auto;
       padding: 0 1rem 4rem; }
h1 { line-height: 1.2; } section { border-top: 1px solid #ccc; margin-top: 3rem; }
img { max-width: 100%; height: auto; } pre, .table { overflow-x: auto; }
pre { font-size: .8rem; line-height: 1.35; } .highlight pre { background: #f6f6f6; padding: .6rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
summary { color: #777; font-size: .8rem; cursor: pointer; }
"""


def write_page(profile: str, names: Iterable[str]) -> Path:
    """Write ``results/<profile>/index.html`` from those of its notebooks that were executed.

    Notebooks of timings have pages of their own: the others do not change from run to run.
    """
    folder = paths.RESULTS / profile
    notebooks = {
        name: read_notebook(folder / f"{name}.ipynb")
        for name in names
        if (folder / f"{name}.ipynb").is_file()
    }
    timings = {name for name in notebooks if name.endswith(TIMINGS)}
    contents = "\n".join(
        f'<li><a href="{f"{name}.html" if name in timings else f"#{name}"}">'
        f"{html.escape(title(notebook, name))}</a></li>"
        for name, notebook in notebooks.items()
    )
    for name in timings:
        nav = '<nav><a href="index.html">all of the study</a></nav>'
        _write(folder / f"{name}.html", profile, nav, {name: notebooks.pop(name)})
    page = folder / "index.html"
    _write(page, profile, f"<nav><ol>\n{contents}\n</ol></nav>", notebooks)
    return page


def _write(path: Path, profile: str, nav: str, notebooks: dict[str, NotebookNode]) -> None:
    sections = "\n".join(
        f'<section id="{name}">\n{_body(notebook, name)}\n'
        f'<p><a href="{name}.ipynb">{name}.ipynb</a></p>\n</section>'
        for name, notebook in notebooks.items()
    )
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Real-time Vicinal Defense: the {profile} study</title>\n"
        f"<style>{STYLE}{HtmlFormatter().get_style_defs('.highlight')}</style>\n</head>\n<body>\n"
        f"<h1>Real-time Vicinal Defense: the {profile} study</h1>\n"
        f"{nav}\n{sections}\n</body>\n</html>\n"
    )
    paths.write_atomically(path, page)


def title(notebook: NotebookNode, name: str) -> str:
    """The notebook's first heading."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^#\s+(.+)$", text, flags=re.MULTILINE)
    return re.sub(r"[*`$]", "", heading.group(1)).strip() if heading else name


def _body(notebook: NotebookNode, name: str) -> str:
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"cells.j2": CELLS})],
        template_file="cells.j2",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    body = re.sub(r'<script.*?</script>|<a class="anchor-link".*?</a>', "", body, flags=re.DOTALL)
    return re.sub(r'(<h[1-6] id=")', rf"\g<1>{name}-", body)
