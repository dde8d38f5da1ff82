"""Grades a zoo of submissions of one problem set through nbgrader, each submission alone.

This docstring is the contract between a set, its zoo and the grader.

The source of a set: assignments/source/psN/psN.ipynb
-----------------------------------------------------
It is the only source, committed without outputs. `make assignments` makes the release from it.
The id of each cell of nbgrader is its ``grade_id``, and both are one of these:

* ``setup``: code, locked, no marks. Imports, data, networks that the tasks use. It stands before
  all tasks. Slow things (TensorFlow, data) belong here: a zoo runs this cell once.
* ``solution-1a``: code, the student's cell. The text above it names the function to write, its
  arguments with shapes, and what it returns. The solution stands between ``### BEGIN SOLUTION``
  and ``### END SOLUTION``; the ``def`` line and the docstring stand before and are released.
* ``test-1a``: code, locked, with marks. A solution cell has one test cell. Its first line is
  ``# Task 1a, 3 marks: notebook 01, section "The heading as it stands there"``: the feedback
  adds "see notebook 01, ..." to each sentence. The visible check comes first; the hidden ones
  stand between ``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS``.
* ``text-4``: markdown, marked by hand. Its model answer stands between the marks of a solution.

Other cells are markdown with a name as id (``title``, ``task-1``), without nbgrader's metadata.
A set has 20 marks, those of the text included. A test cell

* imports what it uses, and takes nothing but the student's names and those of ``setup``;
* sets no global seed, and needs none: random answers are judged with a margin of six standard
  errors or more, so that three runs give the same marks;
* turns an answer into numbers first: ``came = np.asarray(answer, "float64")``. Then it asserts
  the shape, and then the values: NaN must fail, so write ``assert error < limit``, never
  ``assert not error > limit``;
* has one sentence in each assert, without a full stop: "Expected ..., but ... came". It never
  names the cure ("the factor 1/2 is missing"). An exception, a hang and a missing name need no
  assert: `assignments/grading_steps.py` makes a sentence of each.

The zoo of a set: tests/assignments/test_psN.py
-----------------------------------------------
``SUBMISSIONS`` is a dict of name -> ``Submission(cells, loses=..., says=...)``.

* ``cells``: a dict of cell id -> the student's source. ``edited("psN", "solution-2", old, new)``
  is the source's own solution with one change. A test cell may be named, too: its source is then
  what a student made of it, and ``None`` says that the student deleted it. Only the tasks that
  are named are graded, to save time; a test cell cannot see what another task's cell made, as
  test_sources.py makes sure. ``{}`` stands for the source's solution of all tasks.
* ``loses``: the ids of the test cells that give no mark. The others must give all of theirs.
* ``says``: a part of the sentence that the feedback must give for each test that is lost.
* ``seconds``: the time limit of this submission's cells, for one that hangs (else that of
  ``grading_steps.py``).

The test file then reads::

    graded = graded_zoo("psN", SUBMISSIONS)  # a fixture

    @pytest.mark.parametrize("name", SUBMISSIONS)
    def test_a_submission_gets_its_marks_and_a_sentence_for_each_lost(graded, name):
        graded.judge(name)

How it is graded
----------------
One notebook carries all submissions of the zoo: ``setup`` once, then for each submission the
solution and test cells of the release with ``--07`` behind their ids. Before each submission a
cell puts the names back that ``setup`` left, so that no submission sees another's.
The same is done to the source. Then `tools/grade_assignments.py` grades this one notebook in
`.venv-teacher` as it grades any student's: nbgrader restores tampered tests, interrupts what
hangs and gives the marks. The sentences are those of the pages of feedback, but the page of so
many submissions is not made, since it takes long: test_grading.py looks at pages. A submission
that changes a module in place would be seen by the next ones: do not write such a one.
"""

import copy
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASSIGNMENTS = ROOT / "assignments"
TEACHER = ROOT / ".venv-teacher" / "bin" / "python"
GRADER = Path(__file__).with_name("grade_zoo.py")

REMEMBER = "names_of_setup = dict(globals())"
FORGET = """
for name in list(globals()):
    if name not in names_of_setup and not name.startswith("_") and name != "names_of_setup":
        del globals()[name]
globals().update(names_of_setup)
"""


@dataclass
class Submission:
    """What a student hands in, and what it must get: the module's docstring explains each."""

    cells: dict
    loses: tuple = ()
    says: str = ""
    seconds: int | None = None

    def answers(self, cell_id):
        """Whether the task of this cell is among those that the submission is graded for."""
        tasks = {one.partition("-")[2] for one in self.cells}
        return not tasks or cell_id.partition("-")[2] in tasks


def cells_of(problem_set, step="source"):
    """The cells of a source or a release, as a dict of id -> cell with its source as one string."""
    path = ASSIGNMENTS / step / problem_set / f"{problem_set}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {cell["id"]: {**cell, "source": "".join(cell["source"])} for cell in cells}


def solution(problem_set, cell_id):
    """The solution that stands in the source, without nbgrader's marks."""
    lines = cells_of(problem_set)[cell_id]["source"].splitlines()
    return "\n".join(line for line in lines if "# BEGIN" not in line and "# END" not in line)


def edited(problem_set, cell_id, old, new):
    """The solution of the source with one mistake, as a dict for ``Submission``."""
    right = solution(problem_set, cell_id)
    assert right.count(old) == 1, f"expected {old!r} once in {cell_id}, but see:\n{right}"
    return {cell_id: right.replace(old, new)}


def hidden_lines(problem_set):
    """The lines of hidden tests that stand nowhere else in the set, as far as they are long."""
    hidden, shown = [], ""
    for cell in cells_of(problem_set).values():
        before, _, rest = cell["source"].partition("### BEGIN HIDDEN TESTS\n")
        secret, _, after = rest.partition("### END HIDDEN TESTS")
        hidden += [line.strip() for line in secret.splitlines()]
        shown += before + after
    return {line for line in hidden if len(line) > 15 and line not in shown}


def is_role(cell_id, *roles):
    return cell_id.split("-")[0] in roles


def plain_cell(cell_id, source):
    return {
        "cell_type": "code", "execution_count": None, "id": cell_id, "metadata": {},
        "outputs": [], "source": source,
    }  # fmt: skip


def numbered(cell, number):
    """A copy of a cell for one submission, with the submission's number behind its ids."""
    cell = copy.deepcopy(cell)
    cell["id"] += f"--{number:02d}"
    cell["metadata"]["nbgrader"]["grade_id"] = cell["id"]
    return cell


def many_in_one(problem_set, step, submissions, as_submitted):
    """One notebook that carries all submissions; with the students' sources if as_submitted."""
    cells = cells_of(problem_set, step)
    together = [cells["setup"], plain_cell("remember", REMEMBER)]
    for number, submission in enumerate(submissions.values()):
        together.append(plain_cell(f"forget--{number:02d}", FORGET))
        for cell_id, cell in cells.items():
            if not is_role(cell_id, "solution", "test") or not submission.answers(cell_id):
                continue
            cell = numbered(cell, number)
            if as_submitted and cell_id in submission.cells:
                cell["source"] = submission.cells[cell_id]
            elif as_submitted and is_role(cell_id, "solution"):
                cell["source"] = solution(problem_set, cell_id)
            if cell["source"] is not None:
                together.append(cell)
    path = ASSIGNMENTS / step / problem_set / f"{problem_set}.ipynb"
    return {**json.loads(path.read_text(encoding="utf-8")), "cells": together}


def write(notebook, path):
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def run_by_teacher(command):
    """Runs a Python file in .venv-teacher; returns what subprocess.run does."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.run(
        [TEACHER, *command], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


class GradedZoo:
    """The marks and sentences that nbgrader gave to each submission of a zoo."""

    def __init__(self, problem_set, submissions, folder):
        self.problem_set = problem_set
        self.submissions = submissions
        file = f"{problem_set}.ipynb"
        unknown = {cell_id for one in submissions.values() for cell_id in one.cells}
        unknown -= set(cells_of(problem_set))
        assert not unknown, f"cells of submissions that the source does not have: {unknown}"
        source = many_in_one(problem_set, "source", submissions, as_submitted=False)
        write(source, folder / "source" / problem_set / file)
        submitted = many_in_one(problem_set, "release", submissions, as_submitted=True)
        write(submitted, folder / "submitted" / "zoo" / file)
        limits = {
            f"--{number:02d}": submission.seconds
            for number, submission in enumerate(submissions.values())
            if submission.seconds
        }
        (folder / "limits.json").write_text(json.dumps(limits))
        done = run_by_teacher([GRADER, folder, sys.executable])
        assert done.returncode == 0, done.stdout[-3000:]
        rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
        self.rows = {row["task"]: row for row in rows}

    def rows_of(self, name):
        """What was graded of one submission: a dict of test cell id -> row of marks.csv."""
        ending = f"--{list(self.submissions).index(name):02d}"
        return {
            task.removesuffix(ending): row
            for task, row in self.rows.items()
            if task.endswith(ending) and is_role(task, "test")
        }

    def judge(self, name):
        """Asserts that a submission got its marks, and a sentence for each test it lost."""
        submission, rows = self.submissions[name], self.rows_of(name)
        lost = {task: row["feedback"] for task, row in rows.items() if row["marks"] != row["of"]}
        assert set(lost) == set(submission.loses), lost
        for task, sentence in lost.items():
            assert rows[task]["marks"] == "0"
            assert submission.says in sentence, sentence
            assert sentence.startswith("Expected"), sentence
            assert "; see notebook" in sentence, sentence
        for row in rows.values():
            assert bool(row["feedback"]) == (row["marks"] == "0")


def graded_zoo(problem_set, submissions):
    """A fixture of a GradedZoo, graded once for all tests of a file."""

    @pytest.fixture(scope="module")
    def graded(tmp_path_factory):
        if not TEACHER.exists():
            pytest.skip("needs .venv-teacher: make test sets it up")
        return GradedZoo(problem_set, submissions, tmp_path_factory.mktemp(problem_set))

    return graded
