"""Sphinx configuration: Markdown pages in the furo theme."""

from __future__ import annotations

project = "pytest-gradcheck"
author = "The pytest-gradcheck maintainers"
release = "0.1.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_typehints = "none"
html_theme = "furo"
html_title = "pytest-gradcheck"
