"""Executes notebooks and writes what each claim measured to docs/claims.json, for the site.

    python -m tools.measure_claims notebooks/*.ipynb

A claim is a cell with one assert: ``assert error < 0.5`` is written as "0.313 < 0.5". The notebooks
themselves are not changed, and the entries of notebooks that are not named stay as they are.
"""

import ast
import json
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tools.site_source import CLAIMS, ROOT, condition_of, is_claim

SIGNS = {
    ast.Lt: "<",
    ast.LtE: "≤",
    ast.Gt: ">",
    ast.GtE: "≥",
    ast.Eq: "=",
    ast.NotEq: "≠",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
}
# What the executed copy of a notebook starts with.
DEFINITIONS = '''
import json as _json
import numpy as _np

_measured = {}


def _shown(value):
    """A number with three digits, a short word as it is, and nothing of what needs a page."""
    if isinstance(value, (bool, _np.bool_, str)):
        return str(value)
    if _np.ndim(value) == 0 and isinstance(value, (int, float, _np.number)):
        whole = isinstance(value, (int, _np.integer))
        return f"{value:,d}" if whole else f"{float(value):.3g}"
    if _np.ndim(value) > 0 and _np.size(value) == 1:
        return _shown(_np.asarray(value).item())
    return None


def _compared(values, signs):
    words = [_shown(value) for value in values]
    if None in words:
        return None
    return " ".join(word for pair in zip(words, [*signs, ""]) for word in pair).strip()


def _close(first, second):
    """Two numbers side by side, of two arrays the largest difference."""
    first, second = _np.asarray(first, float), _np.asarray(second, float)
    if first.size == second.size == 1:
        return f"{first.item():.6g} ≈ {second.item():.6g}"
    return f"largest difference {_np.max(abs(first - second)):.2g}"
'''


def measurement(condition):
    """What is compared, each evaluated once, and the text about it: two expressions.

    The second one finds the first in ``_values``; both are "None" for other conditions.
    """
    node = ast.parse(condition, mode="eval").body
    if isinstance(node, ast.Compare):
        values = ", ".join(map(ast.unparse, [node.left, *node.comparators]))
        return f"[{values}]", f"_compared(_values, {[SIGNS[type(sign)] for sign in node.ops]})"
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.isclose", "np.allclose"):
        return f"[{', '.join(map(ast.unparse, node.args[:2]))}]", "_close(*_values)"
    return "None", "None"


class RecordInsteadOfAssert(ast.NodeTransformer):
    """Writes down what a claim compares; the notebook itself asserts it."""

    def __init__(self, cell_id):
        self.cell_id = cell_id

    def visit_Assert(self, node):
        values, text = measurement(ast.unparse(node.test))
        return ast.parse(f"_values = {values}\n_measured[{self.cell_id!r}] = {text}").body


def measured_copy(notebook):
    """The notebook with a record in the place of each assert of a claim."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if is_claim(cell):
            tree = RecordInsteadOfAssert(cell.id).visit(ast.parse(cell.source))
            cell.source = ast.unparse(ast.fix_missing_locations(tree))
    copy.cells.insert(0, nbformat.v4.new_code_cell(DEFINITIONS))
    copy.cells.append(nbformat.v4.new_code_cell("print(_json.dumps(_measured))"))
    return copy


def measure(path):
    """What each claim of one notebook asserts and measured: {id of the cell: ...}."""
    notebook = nbformat.read(path, as_version=4)
    copy = measured_copy(notebook)
    NotebookClient(copy, timeout=None, resources={"metadata": {"path": path.parent}}).execute()
    measured = json.loads(copy.cells[-1].outputs[0].text)
    return {
        cell.id: {"asserted": condition_of(cell), "measured": measured[cell.id]}
        for cell in notebook.cells
        if is_claim(cell)
    }


def main(paths):
    claims = json.loads(CLAIMS.read_text(encoding="utf-8")) if CLAIMS.exists() else {}
    for path in paths:
        print(f"{path.relative_to(ROOT)} ...", flush=True)
        claims[path.stem] = measure(path)
        text = json.dumps(dict(sorted(claims.items())), ensure_ascii=False, indent=1)
        CLAIMS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main([Path(argument).resolve() for argument in sys.argv[1:]])
