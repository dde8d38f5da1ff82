"""Grades a folder of submissions with nbgrader; `make grade SUBMITTED=folder` calls it.

    .venv-teacher/bin/python tools/grade_assignments.py folder --python .venv/bin/python

The folder holds one folder a student, with the notebooks as they were handed out: ada/ps1.ipynb
or ada/ps1/ps1.ipynb. Results are written to the folder `assignments`, or to --results:

* grades.csv: one line for each submission, with its marks and what was lost
* marks.csv: one line for each task of each submission, with the sentence of the feedback
* texts.md: the answers that are marked by hand, one task after the other
* feedback/ada/ps1/ps1.html: the page for the student
* autograded/ada/ps1/ps1.ipynb: the executed notebook, for the teacher only

The marks of texts are read from by_hand.csv in the folder of submissions, where there is one.

The notebooks run in the Python of the course, not in nbgrader's own.
"""

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from sqlalchemy.exc import SAWarning

sys.path.insert(0, str(Path(__file__).resolve().parent))
from release_assignments import ASSIGNMENTS, check, course, generate

# nbgrader 0.9 asks its gradebook in a way that sqlalchemy warns about at each submission.
warnings.simplefilter("ignore", SAWarning)


def find_submissions(folder, problem_sets):
    """A dict of (student, problem set) -> path, and a list of the notebooks that fit no set."""
    found, strange = {}, []
    for path in sorted(folder.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        parts = path.relative_to(folder).parts
        is_named_as_handed_out = path.stem in problem_sets and (
            len(parts) == 2 or (len(parts) == 3 and parts[1] == path.stem)
        )
        if is_named_as_handed_out and (parts[0], path.stem) not in found:
            found[parts[0], path.stem] = path
        else:
            strange.append(path)
    return found, strange


def grade_id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def with_missing_cells(submitted, released):
    """The submitted notebook with each cell of the release in it, and the names of those added.

    nbgrader restores a test that was changed. It needs its metadata for that, and the cell. Some
    programs drop the metadata, and the ids of the cells are the same names.
    """
    names = [cell.get("id") for cell in released.cells]
    handed_in, extra, previous = {}, {}, None
    for cell in submitted.cells:
        name = grade_id(cell) or cell.get("id")
        if name in names and name not in handed_in:
            handed_in[name] = cell
            previous = name
        else:
            cell.metadata.pop("nbgrader", None)  # a copy has no marks
            extra.setdefault(previous, []).append(cell)

    complete = nbformat.v4.new_notebook(metadata=released.metadata)
    complete.cells.extend(extra.get(None, []))
    added = []
    for cell in released.cells:
        name = cell.id
        kept = handed_in.get(name, cell)
        if grade_id(cell):
            kept.metadata["nbgrader"] = cell.metadata["nbgrader"]
            if name not in handed_in:
                added.append(name)
        kept["id"] = name
        complete.cells.append(kept)
        complete.cells.extend(extra.get(name, []))
    for number, cell in enumerate(complete.cells):
        if cell.get("id") not in names:
            cell["id"] = f"student-{number}"
    return complete, added


def read_notebook(path):
    """A notebook in the newest format; raises ValueError if the file holds none."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:
        # A broken file raises whatever the step that stumbles over it raises.
        reason = str(error).splitlines()[0][:100]
        raise ValueError(f"not a notebook that can be read ({reason})") from error
    return notebook


def write_kernel(folder, python):
    """Makes jupyter start notebooks in the course's Python; `folder` must outlive them."""
    kernel = folder / "kernels" / "python3"
    kernel.mkdir(parents=True)
    # Not resolved: the link in an environment is what makes Python see its packages.
    command = [os.path.abspath(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    # Otherwise it warns at each start that it talks to this machine without encryption.
    command.append("--log-level=ERROR")
    spec = {"argv": command, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    os.environ["JUPYTER_PATH"] = str(folder)


def points_by_hand(source, problem_sets):
    """The marks of the answers in words: a dict of (set, task) -> how many there are."""
    points = {}
    for problem_set in problem_sets:
        for cell in nbformat.read(source / problem_set / f"{problem_set}.ipynb", 4).cells:
            if cell.cell_type == "markdown" and cell.metadata.get("nbgrader", {}).get("grade"):
                points[problem_set, grade_id(cell)] = cell.metadata["nbgrader"]["points"]
    return points


def read_by_hand(path, points, found):
    """The marks given by hand: a dict of (student, set, task) -> (marks, comment).

    Stops with a sentence at a line that cannot be meant, before anything is graded.
    """
    given = {}
    if not path.exists():
        return given
    with open(path, newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                student, problem_set, task = row["student"], row["set"], row["task"]
                marks = float(row["marks"])
            except (KeyError, TypeError, ValueError):
                sys.exit(
                    f"Expected line {number} of {path} to hold student, set, task, a number of "
                    f"marks and a comment, below a line with these names, but found {row}."
                )
            most = points.get((problem_set, task))
            if (student, problem_set) not in found or most is None or not 0 <= marks <= most:
                texts = ", ".join(f"{name} {text}: {n:g}" for (name, text), n in points.items())
                sys.exit(
                    f"Expected line {number} of {path} to give a text that was handed in no more "
                    f"than its marks ({texts}), but found {row}."
                )
            given[student, problem_set, task] = marks, row.get("comment") or ""
    return given


def give_by_hand(root, student, problem_set, given):
    """Puts the marks given by hand for one submission into the gradebook."""
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        submission = gradebook.find_submission_notebook(problem_set, problem_set, student)
        for grade in submission.grades:
            if (student, problem_set, grade.name) in given:
                grade.manual_score, comment = given[student, problem_set, grade.name]
                grade.needs_manual_grade = False
                place = grade.name, problem_set, problem_set, student
                gradebook.find_comment(*place).manual_comment = comment
        gradebook.db.commit()


def read_marks(root, student, problem_set):
    """A list of dicts, one for each graded cell of one submission, in the notebook's order."""
    from grading_steps import sentence  # nbgrader_config.py has put it on the path

    path = root / "autograded" / student / problem_set / f"{problem_set}.ipynb"
    cells = {grade_id(cell): cell for cell in nbformat.read(path, as_version=4).cells}
    rows = []
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        submission = gradebook.find_submission_notebook(problem_set, problem_set, student)
        for grade in submission.grades:
            cell = cells[grade.name]
            by_hand = grade.needs_manual_grade  # and not given yet
            row = {"student": student, "set": problem_set, "task": grade.name}
            row["marks"] = "" if by_hand else f"{grade.score:g}"
            row["of"] = f"{grade.max_score:g}"
            row["feedback"] = sentence(cell) if cell.cell_type == "code" else ""
            was_given = grade.manual_score is not None
            row["text"] = cell.source if by_hand or was_given else ""
            rows.append(row)
    order = list(cells)
    return sorted(rows, key=lambda row: order.index(row["task"]))


def rows_of_none(root, student, problem_set, note):
    """The rows of a submission that cannot be read: no marks, and the reason as feedback."""
    released = nbformat.read(root / "release" / problem_set / f"{problem_set}.ipynb", 4)
    rows = []
    for cell in released.cells:
        points = cell.metadata.get("nbgrader", {}).get("points")
        if points is not None:
            row = {"student": student, "set": problem_set, "task": cell.id, "marks": "0"}
            rows.append({**row, "of": f"{points:g}", "feedback": note, "text": ""})
    return rows


def summary(student, problem_set, rows, note):
    """The line of grades.csv: the marks that nbgrader gave, those that are open, those lost."""
    graded = [row for row in rows if row["marks"]]
    lost = [row for row in graded if float(row["marks"]) < float(row["of"])]
    return {
        "student": student,
        "set": problem_set,
        "marks": f"{sum(float(row['marks']) for row in graded):g}",
        "of": f"{sum(float(row['of']) for row in graded):g}",
        "to mark by hand": f"{sum(float(row['of']) for row in rows if not row['marks']):g}",
        "lost": ", ".join(
            f"{row['task']} ({float(row['of']) - float(row['marks']):g})" for row in lost
        ),
        "note": note,
    }


def write_csv(path, rows, columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def write_texts(path, rows):
    """The answers in words, each task's one below the other, so that they can be compared."""
    lines = ["# Answers to mark by hand", ""]
    for task in sorted({(row["set"], row["task"], row["of"]) for row in rows if row["text"]}):
        lines += ["## {}, {}: {} marks".format(*task), ""]
        for row in rows:
            if (row["set"], row["task"], row["of"]) == task and row["text"]:
                lines += [f"### {row['student']}", "", row["text"], ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def grade_one(nbgrader, root, student, problem_set, path, by_hand, with_feedback):
    """Grades one submission and may write its feedback; returns its rows and a note."""
    released = nbformat.read(root / "release" / problem_set / f"{problem_set}.ipynb", 4)
    complete, added = with_missing_cells(read_notebook(path), released)
    folder = root / "submitted" / student / problem_set
    folder.mkdir(parents=True)
    nbformat.write(complete, folder / f"{problem_set}.ipynb")
    result = nbgrader.autograde(problem_set, student, force=True, create=True)
    check(result, f"Grading {student}, {problem_set}")
    give_by_hand(root, student, problem_set, by_hand)
    if with_feedback:
        result = nbgrader.generate_feedback(problem_set, student, force=True)
        check(result, f"Writing the feedback of {student}, {problem_set}")
    rows = read_marks(root, student, problem_set)
    graded = [row["task"] for row in rows]
    if set(graded) <= set(added):
        return rows, "no cell of the set was recognised: look at the notebook"
    return rows, f"put back: {', '.join(added)}" if added else ""


def grade(source, submitted, results, python, settings=None, with_feedback=True):
    """Grades all submissions in a folder; writes the results; says how far it is."""
    problem_sets = sorted(path.name for path in source.iterdir() if path.is_dir())
    found, strange = find_submissions(submitted, problem_sets)
    for path in strange:
        print(f"left out, as it is named like no set that was handed out: {path}", flush=True)
    if not found:
        sys.exit(
            f"Expected {submitted} to hold submissions like ada/{problem_sets[0]}.ipynb, one "
            "folder a student, but found none: see assignments/README.md."
        )
    points = points_by_hand(source, problem_sets)
    by_hand = read_by_hand(submitted / "by_hand.csv", points, found)
    results.mkdir(parents=True, exist_ok=True)
    all_rows, summaries = [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_kernel(root / "jupyter", python)
        shutil.copytree(source, root / "source")
        nbgrader = course(root, settings)
        for problem_set in sorted({problem_set for _, problem_set in found}):
            generate(nbgrader, problem_set)
        for number, ((student, problem_set), path) in enumerate(found.items(), 1):
            start = time.monotonic()
            try:
                rows, note = grade_one(
                    nbgrader, root, student, problem_set, path, by_hand, with_feedback
                )
            except (ValueError, RuntimeError) as error:
                note, _, details = str(error).partition("\n")
                print(details, file=sys.stderr)
                rows = rows_of_none(root, student, problem_set, note)
            line = summary(student, problem_set, rows, note)
            all_rows += rows
            summaries.append(line)
            took = time.monotonic() - start
            print(
                f"[{number}/{len(found)}] {student}, {problem_set}: {line['marks']} of "
                f"{line['of']} marks, {took:.0f} s. {note}".rstrip(),
                flush=True,
            )
        for step in ("feedback", "autograded"):
            shutil.rmtree(results / step, ignore_errors=True)
            if (root / step).exists():
                shutil.copytree(root / step, results / step)
    columns = ["student", "set", "marks", "of", "to mark by hand", "lost", "note"]
    write_csv(results / "grades.csv", summaries, columns)
    columns = ["student", "set", "task", "marks", "of", "feedback"]
    write_csv(results / "marks.csv", all_rows, columns)
    write_texts(results / "texts.md", all_rows)
    print(f"Written: {results / 'grades.csv'}, marks.csv, texts.md and feedback/ beside it.")
    return all_rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submitted", type=Path)
    parser.add_argument("--python", default=".venv/bin/python", help="the course's Python")
    parser.add_argument("--source", type=Path, default=ASSIGNMENTS / "source")
    parser.add_argument("--results", type=Path, default=ASSIGNMENTS)
    given = parser.parse_args()
    if not given.submitted.is_dir():
        sys.exit(
            f"Expected a folder of submissions, but {given.submitted} is none: "
            "call make grade SUBMITTED=folder."
        )
    grade(given.source, given.submitted, given.results, given.python)


if __name__ == "__main__":
    main()
