"""Grades the notebook of a zoo in .venv-teacher; graded_zoo.py calls it.

    .venv-teacher/bin/python tests/assignments/grade_zoo.py FOLDER PYTHON

It is `tools/grade_assignments.py` with a time limit for each submission, without the pages of
feedback, and with its rows in a file, as JSON. FOLDER holds source/, submitted/ and limits.json.
"""

import json
import sys
from pathlib import Path

from traitlets.config import Config

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
sys.path.insert(0, str(Path(__file__).parents[2] / "assignments"))
from grade_assignments import grade
from grading_steps import seconds_allowed


def main(folder, python):
    limits = json.loads((folder / "limits.json").read_text())

    def seconds(cell):
        """The time limit of a cell, by the end of its id."""
        return limits.get(cell.id[-4:]) or seconds_allowed(cell)

    settings = Config()
    settings.Execute.timeout_func = seconds
    rows = grade(
        folder / "source", folder / "submitted", folder, python, settings, with_feedback=False
    )
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
