"""Fills a folder with what Sphinx builds the site from; called by `make docs`.

    python tools/site_source.py docs/_build/source

The folder holds the notebooks with their stored outputs, the figures, the pages of docs/pages, a
page of reference for each room of vaekit, and the page of all claims, made from the cells that are
tagged so. Needs nothing but Python.
"""

import ast
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What each claim compared when its notebook last ran; tools/measure_claims writes it.
CLAIMS = ROOT / "docs" / "claims.json"
# The rooms of vaekit in the order in which a reader meets them, and what each answers.
ROOMS = {
    "models": "The VAE: call, the loss, one step",
    "layers.sampling": "Sampling: the draw of z",
    "layers.kl_divergence": "KLDivergence: the KL as a layer",
    "layers.tied_dense": "TiedDense: a transposed kernel",
    "losses": "Losses",
    "likelihoods": "Likelihoods: what the decoder's output means",
    "convert": "to_vae: an autoencoder becomes a VAE",
    "evaluation": "Evaluation",
    "callbacks": "Callbacks",
    "datasets": "Data",
    "plots": "Figures",
    "training": "Training in blocks of steps",
    "checks": "What is refused",
    "saving": "Files",
}


def slug_of_heading(title):
    """The anchor of a heading, as JupyterLab makes it: "Symbols-of-the-course"."""
    return re.sub(r"\s+", "-", title.strip())


def title_of(notebook):
    """The text of the notebook's first heading."""
    return next(
        line[2:] for line in notebook["cells"][0]["source"] if line.startswith("# ")
    ).strip()


def is_claim(cell):
    return "claim" in cell["metadata"].get("tags", [])


def condition_of(cell):
    """What the one assert of a claim asserts, as text."""
    tree = ast.parse("".join(cell["source"]))
    (asserted,) = (node.test for node in ast.walk(tree) if isinstance(node, ast.Assert))
    return ast.unparse(asserted)


def claims_of(notebook):
    """(sentence, condition, id of the cell) of each claim, in the order of reading."""
    for cell in notebook["cells"]:
        if is_claim(cell):
            comment = re.match(r"(?:#.*\n)+", "".join(cell["source"])).group()
            sentence = " ".join(line.lstrip("# ") for line in comment.splitlines())
            yield sentence.removeprefix("Claim: "), condition_of(cell), cell["id"]


def with_anchors(notebook):
    """The notebook with an anchor in front of each claim, for the page of claims to link."""
    cells = []
    for cell in notebook["cells"]:
        if is_claim(cell):
            anchor = {"cell_type": "markdown", "id": f"anchor-{cell['id']}"[:64], "metadata": {}}
            cells.append({**anchor, "source": [f"({anchor_of(notebook, cell['id'])})=\n"]})
        cells.append(cell)
    return {**notebook, "cells": cells}


def anchor_of(notebook, cell_id):
    number = title_of(notebook).split()[0].strip(".")
    return f"{number}-{cell_id}"


def claims_page(notebooks):
    """The page with a table of claims for each notebook."""
    claims = {name: list(claims_of(notebook)) for name, notebook in notebooks.items()}
    measured = json.loads(CLAIMS.read_text(encoding="utf-8"))
    count = sum(map(len, claims.values()))
    lines = [
        "# Claims",
        "",
        f"Every statement of the course that a cell asserts: {count} of them. The condition is "
        "what the cell computes when the notebook runs, and beside it stands what it compared, "
        "rounded; where no number says it, the column is empty. `make test` runs them all.",
    ]
    for name, notebook in notebooks.items():
        if not claims[name]:
            continue
        lines += ["", f"## [{title_of(notebook)}](notebooks/{name}.ipynb)", ""]
        lines += ["| claim | asserted | measured | |", "|---|---|---|---|"]
        for sentence, condition, cell_id in claims[name]:
            link = f"[cell](#{anchor_of(notebook, cell_id)})"
            # A claim that is newer than the file has no value there yet.
            value = measured.get(name, {}).get(cell_id, {}).get("measured") or ""
            row = [in_table(sentence), f"`{in_table(condition)}`", in_table(value), link]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def in_table(text):
    return text.replace("|", "\\|")


def reference_page(room, title):
    return f"# {title}\n\n```{{eval-rst}}\n.. automodule:: vaekit.{room}\n   :members:\n```\n"


def reference_index():
    pages = "\n".join(ROOMS)
    return (
        "# Reference\n\nOne page for each room of `vaekit`, made from its docstrings.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{pages}\n```\n"
    )


def measurements_page():
    """The page of docs/pages, whose links lead to files there, with links to pages of the site."""
    page = (ROOT / "docs" / "pages" / "measurements.md").read_text(encoding="utf-8")
    return page.replace("](../to_vae.md)", "](to_vae.md)").replace(
        "](../../figures/speed.md)", "](speed.md)"
    )


def speed_page():
    report = (ROOT / "figures" / "speed.md").read_text(encoding="utf-8")
    return "# Speed beside the peers\n\n" + report.replace("](speed.png)", "](figures/speed.png)")


def without_links_to_files(page):
    """The page with the names of files that the site does not hold, in the place of links."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"`\1`", page)


def teachers_page(sets):
    """The teacher's page with the problem sets below it."""
    page = (ROOT / "assignments" / "README.md").read_text(encoding="utf-8")
    page = re.sub(r"\]\(release/\w+/(\w+\.ipynb)\)", r"](\1)", page)
    page = without_links_to_files(page)
    return page + "\n```{toctree}\n:hidden:\n\n" + "\n".join(sets) + "\n```\n"


def main(folder):
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(ROOT / "docs" / "pages", folder)
    pictures = shutil.ignore_patterns("*.md")
    shutil.copytree(ROOT / "figures", folder / "figures", ignore=pictures)
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    notebooks = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    (folder / "notebooks").mkdir()
    for name, notebook in notebooks.items():
        text = json.dumps(with_anchors(notebook), ensure_ascii=False)
        text = text.replace("](../docs/pages/", "](../")
        (folder / "notebooks" / f"{name}.ipynb").write_text(text, encoding="utf-8")
        for linked in re.findall(r"\]\(\.\./([^)#]+\.py)\)", text):
            (folder / linked).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / linked, folder / linked)
    released = sorted((ROOT / "assignments" / "release").glob("*/*.ipynb"))
    (folder / "assignments").mkdir()
    for path in released:
        shutil.copy(path, folder / "assignments")
    pages = {
        "assignments/index.md": teachers_page([path.stem for path in released]),
        "claims.md": claims_page(notebooks),
        "reference/index.md": reference_index(),
        "measurements.md": measurements_page(),
        "speed.md": speed_page(),
    }
    for room, title in ROOMS.items():
        pages[f"reference/{room}.md"] = reference_page(room, title)
    zoo = (ROOT / "docs" / "to_vae.md").read_text(encoding="utf-8")
    pages["to_vae.md"] = without_links_to_files(zoo)
    for name, text in pages.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
