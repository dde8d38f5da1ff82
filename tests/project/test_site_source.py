"""What the site is built from: every claim is on the page of claims, with a link to its cell."""

import json
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest

from tests.fresh_process import ROOT
from tests.notebooks.sketches import NOTEBOOKS, cells, claim_cells
from tools import measure_claims
from tools.site_source import condition_of

NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "source"
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "site_source.py"), str(folder)], check=True
    )
    return folder


def test_every_claim_of_every_notebook_is_on_the_page(site):
    page = (site / "claims.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "[cell](#" in line]
    assert len(rows) == sum(len(claim_cells(name)) for name in NAMES) > 300
    for name in NAMES:
        for cell in claim_cells(name):
            first = cell["source"].splitlines()[0].removeprefix("# Claim: ")
            assert first.replace("|", "\\|") in page


def test_measured_values_belong_to_the_claims_as_they_stand():
    """A claim that was changed since has to be measured again: make notebooks."""
    measured = json.loads((ROOT / "docs" / "claims.json").read_text(encoding="utf-8"))
    assert sorted(measured) == NAMES
    for name in NAMES:
        asserted = {cell_id: entry["asserted"] for cell_id, entry in measured[name].items()}
        assert asserted == {cell["id"]: condition_of(cell) for cell in claim_cells(name)}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("error < 0.5", "0.313 < 0.5"),
        ("0.1 < error < 0.5", "0.1 < 0.313 < 0.5"),
        ("count == 1234", "1,234 = 1,234"),
        ("'KL' in 'the KL loss'", "KL in the KL loss"),
        ("np.isclose(error, 1 / 3.2, atol=0.1)", "0.31297 ≈ 0.3125"),
        ("np.allclose([1.0, 2.0], [1.0, 2.5], atol=1)", "largest difference 0.5"),
        ("np.array([2.0]) > 1", "2 > 1"),
        ("np.ones(3) is not None", None),
        ("all([error < 1])", None),
    ],
)
def test_measured_value_of_a_claim(condition, expected):
    namespace = {"np": np, "error": 0.31297, "count": 1234}
    exec(measure_claims.DEFINITIONS, namespace)
    values, text = measure_claims.measurement(condition)
    namespace["_values"] = eval(values, namespace)
    assert eval(text, namespace) == expected


def test_a_claim_is_evaluated_once():
    """Asked twice, a tape has no gradient left."""
    source = "# Claim: the next is 1.\nassert next(numbers) == 1"
    cell = nbformat.v4.new_code_cell(source, id="claim-next", metadata={"tags": ["claim"]})
    copy = measure_claims.measured_copy(nbformat.v4.new_notebook(cells=[cell]))
    namespace = {"numbers": iter([1, 2])}
    for cell in copy.cells[:2]:
        exec(cell.source, namespace)
    assert namespace["_measured"] == {"claim-next": "1 = 1"}
    assert next(namespace["numbers"]) == 2


def test_every_link_of_a_claim_leads_to_one_anchor(site):
    page = (site / "claims.md").read_text(encoding="utf-8")
    links = re.findall(r"\[cell\]\(#([^)]+)\)", page)
    notebooks = "".join(path.read_text(encoding="utf-8") for path in site.glob("notebooks/*.ipynb"))
    anchors = re.findall(r"\(([\w-]+)\)=", notebooks)
    assert sorted(links) == sorted(anchors)
    assert len(set(anchors)) == len(anchors)


def test_the_notebooks_of_the_site_are_the_stored_ones_and_anchors(site):
    for name in NAMES:
        built = json.loads((site / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        own = [cell for cell in built["cells"] if not cell["id"].startswith("anchor-")]
        expected = [cell["source"].replace("](../docs/pages/", "](../") for cell in cells(name)]
        assert ["".join(cell["source"]) for cell in own] == expected


def test_every_public_file_of_the_package_has_a_page(site):
    index = (site / "reference" / "index.md").read_text(encoding="utf-8")
    for page in (site / "reference").glob("*.md"):
        if page.stem != "index":
            assert page.stem in index
            room = page.stem.replace(".", "/")
            assert (ROOT / "vaekit" / f"{room}.py").exists()
    layer_files = {path.stem for path in (ROOT / "vaekit" / "layers").glob("[a-z]*.py")}
    assert {page.stem.removeprefix("layers.") for page in site.glob("reference/layers.*.md")} == (
        layer_files
    )


def test_site_has_the_problem_sets_as_students_get_them(site):
    page = (site / "assignments" / "index.md").read_text(encoding="utf-8")
    released = sorted((ROOT / "assignments" / "release").glob("*/*.ipynb"))
    assert released
    for path in released:
        assert (site / "assignments" / path.name).read_bytes() == path.read_bytes()
        assert f"]({path.name})" in page
    assert "](../" not in page and "](release" not in page


def test_nothing_of_the_site_asks_another_host_for_a_script_or_a_font():
    """MathJax and its fonts lie beside the pages."""
    folder = ROOT / "docs" / "_static" / "mathjax"
    assert (folder / "tex-mml-chtml.js").stat().st_size > 1_000_000
    assert (folder / "LICENSE").exists()
    assert len(list((folder / "output" / "chtml" / "fonts" / "woff-v2").glob("*.woff"))) == 23
    assert 'mathjax_path = "mathjax/tex-mml-chtml.js"' in (ROOT / "docs" / "conf.py").read_text()
