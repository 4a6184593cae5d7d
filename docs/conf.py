"""Sphinx: `make docs` builds docs/_build/html, and takes a warning for an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import documentation
from documentation import mathematics

import xdelnx

project = "xdelnx"
author = "The xdelnx developers"
copyright = author
version = release = xdelnx.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
default_role = "py:obj"  # names in docstrings stand between single backticks
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"  # the docstrings say what is taken
autodoc_preserve_defaults = True
exclude_patterns = ["_build", *(f"generated/{name}" for name in documentation.PARTS)]

html_theme = "furo"
html_title = f"xdelnx {version}"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_show_sphinx = False


def setup(app):
    """Make the generated pages before the sources are read; show formulas without a script."""
    mathematics.setup(app)
    app.connect("builder-inited", documentation.generate)
