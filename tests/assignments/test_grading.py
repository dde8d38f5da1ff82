"""A folder of submissions, two of them broken, is graded as the teacher's page says."""

import csv
import html
import json
import re
import sys

import pytest

from tests.assignments.graded_zoo import (
    ASSIGNMENTS,
    TEACHER,
    cells_of,
    hidden_lines,
    is_role,
    run_by_teacher,
    solution,
)

MEAN_OVER_THE_LATENTS = """
def gaussian_kl(z_mean, z_log_var):
    return 0.5 * np.mean(z_mean**2 + np.exp(z_log_var) - 1 - z_log_var, axis=1)
"""
PRINTS_THE_TESTS = """
def monte_carlo_kl(z_mean, z_log_var, draws, rng):
    print(In)
    print("x" * 1_000_000)
    raise ValueError(In[-1][-200:])
"""

BY_HAND = """student,set,task,marks,comment
ada lovelace,ps2,text-4,3,"Two peaks, yes: and a Gaussian?"
"""


def released():
    """Problem set 2 as it is handed out."""
    path = ASSIGNMENTS / "release" / "ps2" / "ps2.ipynb"
    return json.loads(path.read_text(encoding="utf-8"))


def solved_without_metadata():
    """All solved, saved by a program that drops the metadata of cells."""
    notebook = released()
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        if is_role(cell["id"], "solution"):
            cell["source"] = solution("ps2", cell["id"])
        elif is_role(cell["id"], "text"):
            cell["source"] = "The posterior has two peaks."
    return notebook


def mistaken_and_tampered():
    """A wrong sum, a test changed, a test deleted, the tests printed, the rest not answered."""
    notebook = released()
    sources = {
        "solution-1a": MEAN_OVER_THE_LATENTS,
        "test-1a": "print('passed')",
        "solution-1b": PRINTS_THE_TESTS,
        "solution-3": solution("ps2", "solution-3"),
    }
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != "test-1b"]
    for cell in notebook["cells"]:
        cell["source"] = sources.get(cell["id"], cell["source"])
    helper = {"cell_type": "code", "id": "mine", "metadata": {}, "outputs": []}
    notebook["cells"].insert(1, {**helper, "execution_count": 1, "source": "import numpy as np"})
    return notebook


class Graded:
    def __init__(self, folder, printed):
        self.printed = printed
        self.grades = {row["student"]: row for row in self.rows(folder / "grades.csv")}
        self.marks = {(row["student"], row["task"]): row for row in self.rows(folder / "marks.csv")}
        self.texts = (folder / "texts.md").read_text(encoding="utf-8")
        self.lines = self.text_of(folder / "feedback" / "ben" / "ps2" / "ps2.html").splitlines()
        self.page = " ".join(" ".join(self.lines).split())
        hers = self.text_of(folder / "feedback" / "ada lovelace" / "ps2" / "ps2.html")
        self.page_of_ada = " ".join(hers.split())

    @staticmethod
    def text_of(path):
        return html.unescape(re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8")))

    @staticmethod
    def rows(path):
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    if not TEACHER.exists():
        pytest.skip("needs .venv-teacher: make test sets it up")
    folder = tmp_path_factory.mktemp("submissions")
    handed_in = {
        "ada lovelace/ps2.ipynb": json.dumps(solved_without_metadata()),
        "ben/ps2/ps2.ipynb": json.dumps(mistaken_and_tampered()),
        "cem/ps2.ipynb": json.dumps(released())[:500],
        "dia/homework.ipynb": json.dumps(released()),
    }
    for name, text in handed_in.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "by_hand.csv").write_text(BY_HAND, encoding="utf-8")
    results = tmp_path_factory.mktemp("results")
    done = run_by_teacher(
        ["tools/grade_assignments.py", folder, "--python", sys.executable, "--results", results]
    )
    assert done.returncode == 0, done.stdout
    return Graded(results, done.stdout)


def test_a_solved_set_without_metadata_gets_all_marks_and_those_given_by_hand(graded):
    row = graded.grades["ada lovelace"]
    assert (row["marks"], row["of"], row["to mark by hand"]) == ("19", "20", "0")
    assert row["lost"] == "text-4 (1)"
    assert "(Score: 3.0 / 4.0)" in graded.page_of_ada
    assert "Two peaks, yes: and a Gaussian?" in graded.page_of_ada


WRONG_BY_HAND = {
    "ada,ps2,text-4,three,": "a number of marks",
    "ada,ps2,text-4,nan,": "no more than its marks",
    "ada,ps2,text-4,5,": "no more than its marks (ps1 text-4: 4, ps2 text-4: 4",
    "ada,ps2,test-3,4,": "no more than its marks",
    "eve,ps2,text-4,4,": "a text that was handed in",
}
# Calls the program for folders one after the other, and prints what stops it, as a list in JSON.
GRADE_FOLDERS = """
import json, sys
sys.path.insert(0, "tools")
import grade_assignments
said = []
for folder in sys.argv[1:]:
    sys.argv = ["grade_assignments.py", folder, "--results", f"{folder}/results"]
    try:
        grade_assignments.main()
    except SystemExit as end:
        said.append(end.code)  # a sentence: it is printed, and the program ends with 1
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said_of_wrong_lines(tmp_path_factory):
    """For each wrong line of by_hand.csv: what is said, and whether results were begun."""
    if not TEACHER.exists():
        pytest.skip("needs .venv-teacher: make test sets it up")
    folders = []
    for line in WRONG_BY_HAND:
        folders.append(tmp_path_factory.mktemp("by_hand"))
        (folders[-1] / "ada").mkdir()
        (folders[-1] / "ada" / "ps2.ipynb").write_text("{}")
        (folders[-1] / "by_hand.csv").write_text(f"student,set,task,marks,comment\n{line}\n")
    done = run_by_teacher(["-c", GRADE_FOLDERS, *folders])
    assert done.returncode == 0, done.stdout
    said = json.loads(done.stdout)
    begun = [(folder / "results").exists() for folder in folders]
    return dict(zip(WRONG_BY_HAND, zip(said, begun, strict=True), strict=True))


@pytest.mark.parametrize("line", WRONG_BY_HAND)
def test_a_line_by_hand_that_cannot_be_read_stops_before_anything_is_graded(
    said_of_wrong_lines, line
):
    said, begun = said_of_wrong_lines[line]
    assert said.startswith("Expected line 2 of")
    assert WRONG_BY_HAND[line] in said
    assert not begun


def test_a_mistake_costs_its_own_task_and_a_tampered_or_deleted_test_is_put_back(graded):
    row = graded.grades["ben"]
    assert row["lost"] == "test-1a (2), test-1b (4), test-2a (2), test-2b (4), text-4 (4)"
    assert (row["marks"], row["of"], row["note"]) == ("4", "20", "put back: test-1b")


def test_a_mark_lost_has_a_sentence_in_the_table_and_on_the_page(graded):
    sentence = graded.marks["ben", "test-1a"]["feedback"]
    assert re.match(r"Expected a KL of \d.\d+ nats, but \d.\d+ came; see notebook 05", sentence)
    assert sentence in graded.page
    assert max(len(line) for line in graded.lines if "Expected a KL of" in line) <= 90
    assert "the cell was left as it was handed out; see notebook 04" in graded.page


def test_a_page_of_feedback_shows_no_hidden_test_even_to_a_student_who_prints_them(graded):
    assert len(graded.page) < 500_000
    for line in hidden_lines("ps2"):
        assert line not in graded.page


def test_a_broken_file_gets_no_marks_and_a_note_and_a_strange_name_is_printed(graded):
    row = graded.grades["cem"]
    assert (row["marks"], row["of"]) == ("0", "20")
    assert row["note"].startswith("not a notebook that can be read")
    assert "dia" not in graded.grades
    assert re.search(r"named like no set that was handed out: .*homework\.ipynb", graded.printed)


def test_the_answers_in_words_stand_together(graded):
    assert "### ada lovelace\n\nThe posterior has two peaks." in graded.texts


def test_the_progress_is_printed(graded):
    assert re.search(r"\[1/3\] ada lovelace, ps2: 19 of 20 marks, \d+ s\.", graded.printed)


def test_every_set_has_a_zoo():
    sets = {path.name for path in (ASSIGNMENTS / "source").iterdir()}
    assert all((ASSIGNMENTS.parent / f"tests/assignments/test_{one}.py").exists() for one in sets)
    assert all(cells_of(one, "release") for one in sets)
