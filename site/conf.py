"""How Sphinx builds the site: offline, nothing executed, nothing fetched when it is read.

The sources are written by :mod:`rvdlib.lab.runner.site`; ``make site`` does both.
"""

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml

project = "Real-time Vicinal Defense"
html_title = "Real-time Vicinal Defense"
extensions = ["myst_nb"]
nb_execution_mode = "off"
nb_render_image_options = {"alt": "figure"}
nb_code_prompt_show = "Show code"
nb_code_prompt_hide = "Hide code"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 2
myst_update_mathjax = False
html_theme = "furo"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False


def inline(translator, node):
    """MathML, which browsers draw themselves: MathJax would be fetched."""
    translator.body.append(tex2mathml(node.astext(), as_block=False))
    raise SkipNode


def block(translator, node):
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True}
