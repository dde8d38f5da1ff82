"""How Sphinx builds the site: `make docs` calls it on the folder of tools/site_source.py."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The reference imports vaekit: TensorFlow, Keras and Matplotlib are those of the course.
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]
sys.path.extend(map(str, (ROOT / ".venv").glob("lib/python*/site-packages")))

project = "From an autoencoder to a VAE, in Keras"
author = "the vaekit developers"
html_title = "From an autoencoder to a VAE"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# The notebooks are shown as they are stored: the tests execute them.
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_image_options = {"align": "center"}
myst_enable_extensions = ["amsmath", "dollarmath"]
# The anchors of headings are those that JupyterLab makes: "#Symbols-of-the-course".
myst_heading_anchors = 3
myst_heading_slug_func = "site_source.slug_of_heading"

html_theme = "furo"
html_static_path = ["_static", "explorer", "_build/explorer"]
html_css_files = ["course.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
# Read without a network: MathJax and its fonts lie beside the pages.
mathjax_path = "mathjax/tex-mml-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_custom_sections = [("Call arguments", "params_style")]
add_module_names = False


def formulas_of_docstrings(app, what, name, obj, options, lines):
    """Writes $...$ of a docstring as a role that Sphinx knows."""
    text = re.sub(r"(?<![\\$`])\$([^$\n]+)\$", r":math:`\1`", "\n".join(lines))
    lines[:] = text.splitlines()


def setup(app):
    app.connect("autodoc-process-docstring", formulas_of_docstrings, priority=400)
