"""Takes the code that a notebook teaches out of it, so that a test can compare it with vaekit."""

import ast
import json
from pathlib import Path

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def cells(notebook):
    """The cells of ``notebooks/<notebook>.ipynb``, as dicts with the source as one string."""
    content = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))
    return [{**cell, "source": "".join(cell["source"])} for cell in content["cells"]]


def claim_cells(notebook):
    """The cells that carry a claim of the text."""
    return [cell for cell in cells(notebook) if "claim" in cell["metadata"].get("tags", [])]


def definition(notebook, name, namespace):
    """The class or function ``name`` that the notebook defines, executed in ``namespace``."""
    for cell in cells(notebook):
        if cell["cell_type"] != "code":
            continue
        for node in ast.parse(cell["source"]).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
                exec(
                    compile(ast.Module([node], []), f"{notebook}: {cell['id']}", "exec"), namespace
                )
                return namespace[name]
    raise LookupError(f"{notebook} defines no {name}")
