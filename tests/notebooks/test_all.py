"""What holds for every notebook; that they run and print what is stored is nbval's part."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.notebooks.links import links_in, local_links
from tests.notebooks.sketches import NOTEBOOKS, cells, claim_cells
from tools.extract_figures import extract

FIGURES = NOTEBOOKS.parent / "figures"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
HEADINGS = [
    "What you will learn",
    "Before you start",
    "Symbols",
    "Setup and parameters",
    "What can go wrong",
    "What you learned",
    "Exercises",
    "References",
]
# How many claims a notebook has at least.
FEWEST_CLAIMS = {
    "01_autoencoder": 20,
    "02_why_not_generate": 30,
    "03_sampling_layer": 50,
    "04_elbo": 50,
    "05_kl_loss": 45,
    "06_vae": 38,
    "07_convert": 38,
    "08_decoder_outputs": 45,
    "09_latent_space": 45,
    "10_how_good": 33,
    "11_conditional": 30,
    "12_inverse": 45,
    "13_convolution": 34,
    "14_what_a_code_keeps": 35,
    "15_same_numbers": 25,
}
every_notebook = pytest.mark.parametrize("name", NAMES)


def shell_or_magic(source):
    """The first line that leaves Python: nbval passes it whatever it does."""
    return next((line for line in source.splitlines() if re.match(r"\s*[!%]", line)), None)


def text(name, kind):
    return "\n".join(cell["source"] for cell in cells(name) if cell["cell_type"] == kind)


def raw(name):
    return (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")


@every_notebook
def test_format_is_valid_with_ids(name):
    notebook = nbformat.reads(raw(name), as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)


@every_notebook
def test_metadata_hold_the_kernel_and_nothing_of_a_machine(name):
    metadata = json.loads(raw(name))["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert metadata["language_info"] == {"name": "python"}
    assert set(metadata) == {"kernelspec", "language_info"}


@every_notebook
def test_every_code_cell_was_executed_in_order(name):
    counts = [c["execution_count"] for c in cells(name) if c["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("name", FEWEST_CLAIMS)
def test_every_claim_is_a_sentence_and_one_assert(name):
    assert len(claim_cells(name)) >= FEWEST_CLAIMS[name]
    for cell in claim_cells(name):
        first_line = cell["source"].splitlines()[0]
        assert first_line.startswith("# Claim: ")
        assert first_line.endswith((".", ")."))
        asserts = [n for n in ast.walk(ast.parse(cell["source"])) if isinstance(n, ast.Assert)]
        assert len(asserts) == 1


@every_notebook
def test_no_cell_leaves_python(name):
    assert shell_or_magic(text(name, "code")) is None


@pytest.mark.parametrize("line", ["%badmagic", "!exit 3", "    !pip install nothing", "%%bash"])
def test_cells_that_leave_python_are_found(line):
    assert shell_or_magic(f"x = 5 % 3\n{line}\n") == line


@every_notebook
def test_stored_outputs_hold_no_errors_noise_or_paths(name):
    outputs = [output for cell in cells(name) for output in cell.get("outputs", [])]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    printed = "".join(json.dumps(o) for o in outputs if "image/png" not in o.get("data", {}))
    assert not re.search(r"oneDNN|cuInit|E0000|retracing|/home/|/root/|/tmp/|━|ETA", printed)


@every_notebook
def test_file_is_small_enough_to_be_shown_on_the_web(name):
    assert len(raw(name)) < 1_000_000


@every_notebook
def test_headings_are_there_in_order(name):
    found = re.findall(r"^## (.+)$", text(name, "markdown"), flags=re.M)
    assert [heading for heading in found if heading in HEADINGS] == HEADINGS


@every_notebook
def test_links_and_pictures_lead_somewhere(name):
    links = local_links(name)
    assert links
    assert [link for link in links if not (NOTEBOOKS / link).exists()] == []


@every_notebook
def test_neighbours_are_linked(name):
    here = NAMES.index(name)
    neighbours = NAMES[max(here - 1, 0) : here] + NAMES[here + 1 : here + 2]
    first = cells(name)[0]["source"]
    assert [n for n in neighbours if f"({n}.ipynb)" not in first] == []


@every_notebook
def test_stored_figures_are_those_of_the_notebook(name, tmp_path):
    extracted = extract(NOTEBOOKS / f"{name}.ipynb", tmp_path)
    assert extracted
    for path in extracted:
        assert (FIGURES / path.name).read_bytes() == path.read_bytes()


def test_every_figure_is_linked_and_every_notebook_extracts_what_is_linked(tmp_path):
    readme = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    linked = {NOTEBOOKS.parent / link for link in links_in(readme)}
    measured = NOTEBOOKS.parent / "docs" / "pages" / "measurements.md"
    text_of_page = measured.read_text(encoding="utf-8")
    linked.update((measured.parent / link).resolve() for link in links_in(text_of_page))
    report = (FIGURES / "speed.md").read_text(encoding="utf-8")
    linked.update(FIGURES / link for link in links_in(report))
    extracted = set()
    for name in NAMES:
        linked.update((NOTEBOOKS / link).resolve() for link in local_links(name))
        written = extract(NOTEBOOKS / f"{name}.ipynb", tmp_path)
        extracted.update(FIGURES / path.name for path in written)
    stored = set(FIGURES.iterdir())
    of_the_benchmark = {path for path in stored if path.name.startswith("speed")}
    assert stored - linked == set()
    assert stored - of_the_benchmark == extracted


def broken(*cells_and_prints):
    """A notebook whose cells print something else than is stored, or worse."""
    cells = []
    for code, printed in cells_and_prints:
        outputs = [new_output("stream", text=printed)] if printed else []
        cells.append(new_code_cell(code, execution_count=len(cells) + 1, outputs=outputs))
    return new_notebook(
        cells=cells,
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )


@pytest.mark.slow
def test_broken_notebooks_turn_the_run_red(tmp_path):
    cases = {
        "good": broken(("print(1)", "1\n")),
        # It raises, prints something else than is stored, and something where nothing is stored.
        "wrong": broken(("assert 1 == 2", ""), ("print(2)", "1\n"), ("print(2)", "")),
        "kills_the_kernel": broken(("import os\nos._exit(1)", "")),
    }
    for name, notebook in cases.items():
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    options = [
        "--nbval",
        "--nbval-current-env",
        "--nbval-cell-timeout=10",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-c", "/dev/null", *options, str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    passed = re.findall(r"^PASSED .*?(\w+\.ipynb::Cell \d)", done.stdout, flags=re.M)
    failed = re.findall(r"^(?:FAILED|ERROR) .*?(\w+\.ipynb::Cell \d)", done.stdout, flags=re.M)
    assert passed == ["good.ipynb::Cell 0"]
    wrong = [f"wrong.ipynb::Cell {i}" for i in range(3)]
    assert sorted(set(failed)) == ["kills_the_kernel.ipynb::Cell 0", *wrong]


def add_cell(path, line):
    """Adds a code cell at the end of a notebook, as one that was executed."""
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    executed = sum(cell.cell_type == "code" for cell in notebook.cells)
    notebook.cells.append(new_code_cell(line, execution_count=executed + 1))
    nbformat.write(notebook, path)


@pytest.mark.slow
def test_check_notebook_finds_the_lines_that_pass_when_they_run(tmp_path):
    root = NOTEBOOKS.parent
    project = tmp_path / "project"
    left_out = shutil.ignore_patterns(".*", "__pycache__", "_build")
    shutil.copytree(root, project, ignore=left_out)
    command, magic = NAMES[0], NAMES[1]
    add_cell(project / "notebooks" / f"{command}.ipynb", "!exit 3")
    add_cell(project / "notebooks" / f"{magic}.ipynb", "%badmagic")
    paths = " ".join(f"notebooks/{name}.ipynb" for name in (command, magic))
    bin_folder = Path(sys.executable).parent
    # The first two failures end the run, before the notebooks are executed. The tests of single
    # notebooks would only take time.
    options = "--maxfail=2 -rf --ignore-glob=*/test_0* --ignore-glob=*/test_1*"
    environment = {**os.environ, "PYTHONPATH": "", "PYTEST_ADDOPTS": options}
    done = subprocess.run(
        ["make", "check-notebook", "--old-file=.venv/ready", f"BIN={bin_folder}", f"NB={paths}"],
        cwd=project, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    failed = re.findall(r"^FAILED .*::(\w+)\[(\w+)\]", done.stdout, flags=re.M)
    test = test_no_cell_leaves_python.__name__
    assert failed == [(test, command), (test, magic)], done.stdout + done.stderr
