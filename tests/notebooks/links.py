"""Finds the links and pictures in a notebook's text."""

import re

from tests.notebooks.sketches import cells


def links_in(markdown):
    """The targets of the links and pictures that lead to a file, without their ``#section``."""
    targets = re.findall(r"\]\(([^)\s]+)\)", markdown)
    files = [target.partition("#")[0] for target in targets if not target.startswith("http")]
    return [file for file in files if file]


def local_links(notebook):
    """The same of ``notebooks/<notebook>.ipynb``, in the order of its text."""
    texts = [cell["source"] for cell in cells(notebook) if cell["cell_type"] == "markdown"]
    return links_in("\n".join(texts))
