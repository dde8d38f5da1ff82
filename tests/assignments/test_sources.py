"""Each source keeps the contract of graded_zoo.py, and each release is what its source gives."""

import ast
import builtins
import json
import re

import pytest

from tests.assignments.graded_zoo import (
    ASSIGNMENTS,
    TEACHER,
    cells_of,
    hidden_lines,
    is_role,
    run_by_teacher,
)
from tests.notebooks.sketches import NOTEBOOKS, cells

SETS = sorted(path.name for path in (ASSIGNMENTS / "source").iterdir())
FIRST_LINE = re.compile(r'# Task (\w+), (\d+) marks?: notebook (\d\d), section "(.+)"')


def graded_cells(problem_set):
    return [cell for cell in cells_of(problem_set).values() if is_role(cell["id"], "test")]


def headings(number):
    """The headings of a notebook of the course."""
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    texts = [cell["source"] for cell in cells(path.stem) if cell["cell_type"] == "markdown"]
    return set(re.findall(r"^#+ (.+)$", "\n".join(texts), flags=re.MULTILINE))


@pytest.mark.parametrize("problem_set", SETS)
def test_a_source_is_stored_without_outputs(problem_set):
    path = ASSIGNMENTS / "source" / problem_set / f"{problem_set}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


@pytest.mark.parametrize("problem_set", SETS)
def test_the_id_of_a_cell_says_what_nbgrader_does_with_it(problem_set):
    roles = {
        "setup": {"grade": False, "solution": False, "locked": True},
        "solution": {"grade": False, "solution": True, "locked": False},
        "test": {"grade": True, "solution": False, "locked": True},
        "text": {"grade": True, "solution": True, "locked": False},
    }
    for cell_id, cell in cells_of(problem_set).items():
        expected = roles.get(cell_id.split("-")[0])
        if expected is None:
            assert "nbgrader" not in cell["metadata"]
        else:
            nbgrader = cell["metadata"]["nbgrader"]
            assert nbgrader["grade_id"] == cell_id
            assert {key: nbgrader[key] for key in expected} == expected


@pytest.mark.parametrize("problem_set", SETS)
def test_a_set_has_20_marks_and_a_test_for_each_solution(problem_set):
    found = cells_of(problem_set)
    marks = [cell["metadata"].get("nbgrader", {}).get("points", 0) for cell in found.values()]
    assert sum(marks) == 20
    solutions = [cell_id for cell_id in found if is_role(cell_id, "solution")]
    tests = [cell_id for cell_id in found if is_role(cell_id, "test")]
    assert [one.replace("solution", "test") for one in solutions] == tests
    assert sum(is_role(cell_id, "text") for cell_id in found) == 1


@pytest.mark.parametrize("problem_set", SETS)
def test_a_graded_cell_names_its_marks_and_a_section_that_the_course_has(problem_set):
    for cell in graded_cells(problem_set):
        task, marks, notebook, section = FIRST_LINE.fullmatch(
            cell["source"].splitlines()[0]
        ).groups()
        assert cell["id"] == f"test-{task}"
        assert int(marks) == cell["metadata"]["nbgrader"]["points"]
        assert section in headings(notebook)
        assert cell["source"].count("### BEGIN HIDDEN TESTS") == 1


@pytest.mark.parametrize("problem_set", SETS)
def test_a_graded_cell_sets_no_global_seed(problem_set):
    for cell in graded_cells(problem_set):
        assert not re.search(r"set_random_seed|random\.seed\(|set_seed\(", cell["source"])


def names_from_outside(source):
    """The names that a cell uses and does not make itself."""
    used, made = set(), set(dir(builtins))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).split(".")[0])
    return used - made


def names_made(source):
    """The names that a cell gives to functions, classes and values, but not its imports."""
    made = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        for part in ast.walk(node) if isinstance(node, ast.Assign) else []:
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                made.add(part.id)
    return made


@pytest.mark.parametrize("problem_set", SETS)
def test_a_graded_cell_imports_all_but_what_the_setup_and_its_student_make(problem_set):
    found = cells_of(problem_set)
    for cell in graded_cells(problem_set):
        solution = found[cell["id"].replace("test", "solution")]
        allowed = names_made(solution["source"]) | names_made(found["setup"]["source"])
        assert names_from_outside(cell["source"]) <= allowed


@pytest.mark.parametrize("problem_set", SETS)
def test_a_release_shows_no_solution_and_no_hidden_test(problem_set):
    released = cells_of(problem_set, "release")
    text = "\n".join(cell["source"] for cell in released.values())
    assert "BEGIN" not in text
    for line in hidden_lines(problem_set):
        assert line not in text
    for cell_id, cell in cells_of(problem_set).items():
        if is_role(cell_id, "solution", "text"):
            assert "### BEGIN SOLUTION" in cell["source"]
            assert "answer in place of this line" in released[cell_id]["source"]


def test_the_releases_are_what_the_sources_give(tmp_path):
    if not TEACHER.exists():
        pytest.skip("needs .venv-teacher: make test sets it up")
    done = run_by_teacher(["tools/release_assignments.py", tmp_path])
    assert done.returncode == 0, done.stdout
    made = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*.ipynb")}
    release = ASSIGNMENTS / "release"
    # JupyterLab leaves a copy of each notebook that was opened and saved in a hidden folder.
    stored = {path.relative_to(release) for path in release.glob("*/*.ipynb")}
    assert set(made) == stored
    for name, path in made.items():
        assert path.read_bytes() == (release / name).read_bytes(), f"{name}: make assignments"
