"""Writes the stored figure of every notebook cell tagged ``figure`` to figures/, for the README.

    python tools/extract_figures.py notebooks/*.ipynb

The file is named after the notebook's number and the cell's id: figures/06_samples.png.
"""

import base64
import json
import sys
from pathlib import Path


def extract(notebook, folder):
    """Writes the PNG of each tagged cell of ``notebook`` to ``folder``; returns the paths."""
    written = []
    for cell in json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]:
        if "figure" not in cell["metadata"].get("tags", []):
            continue
        images = [
            output["data"]["image/png"]
            for output in cell["outputs"]
            if "image/png" in output.get("data", {})
        ]
        if len(images) != 1:
            raise ValueError(f"{notebook}: cell {cell['id']!r} has {len(images)} figures, not 1")
        path = Path(folder) / f"{Path(notebook).name[:2]}_{cell['id']}.png"
        path.write_bytes(base64.b64decode(images[0]))
        written.append(path)
    return written


if __name__ == "__main__":
    for notebook in sys.argv[1:]:
        for path in extract(notebook, Path(__file__).parent.parent / "figures"):
            print(path.relative_to(path.parent.parent))
