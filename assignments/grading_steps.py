"""Steps of a grading that nbgrader does not have: nbgrader_config.py puts them among its own."""

import re
import textwrap

from nbformat.v4 import new_output
from nbgrader.preprocessors import NbGraderPreprocessor
from nbgrader.utils import is_grade, is_solution

HIDDEN = re.compile(r"BEGIN HIDDEN TESTS(.*?)END HIDDEN TESTS", flags=re.DOTALL)
LINE = 90  # characters of a line of the page for the student
LONGEST_MESSAGE = 300  # characters of an error of the student's own
SECONDS = 120  # A graded cell takes less than 20 on two cores; the rest is for busy machines.
SECONDS_OF_SETUP = 600
INTERRUPTED = ("CellTimeoutError", "KeyboardInterrupt")


def seconds_allowed(cell):
    """How long a cell may run before it is interrupted. The setup is not the student's."""
    return SECONDS_OF_SETUP if cell.get("id") == "setup" else SECONDS


def error_of(cell):
    """The first error that a code cell ended with, or None."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return errors[0] if errors else None


def place_in_course(test_cell):
    """What the first line of a test cell says after its colon: notebook and section."""
    first_line = test_cell.source.splitlines()[0]
    return first_line.partition(":")[2].strip().rstrip(".")


def sentence(test_cell):
    """Why an executed test cell gave no mark: expected, came, where in the course; else ''."""
    error = error_of(test_cell)
    if error is None:
        return ""
    if error.ename == "AssertionError" and error.evalue:
        came = error.evalue
    elif any(output.ename in INTERRUPTED for output in test_cell.outputs if "ename" in output):
        came = "Expected an answer within the time limit, but none came"
    elif error.ename == "NotImplementedError":
        came = "Expected an answer, but the cell was left as it was handed out"
    elif error.ename == "NameError" and error.evalue.endswith("is not defined"):
        came = f"Expected that the cells above define every name, but {error.evalue}"
    else:
        message = " ".join(f"{error.ename}: {error.evalue}".split())[:LONGEST_MESSAGE]
        came = f"Expected that your code runs, but it ended with {message}"
    return f"{came}; see {place_in_course(test_cell)}."


def hidden_lines(notebook):
    """The lines of the hidden tests that stand nowhere else in the tests and are long."""
    hidden, shown = [], ""
    for cell in notebook.cells:
        if is_grade(cell):
            shown += HIDDEN.sub("", cell.source)
            for region in HIDDEN.findall(cell.source):
                hidden += [line.strip() for line in region.splitlines()]
    return {line for line in hidden if len(line) > 15 and line not in shown}


class ForgiveWarnings(NbGraderPreprocessor):
    """A test that passes gives its marks, though it printed a warning or a number on the way.

    nbgrader takes what is printed to stderr for a failure, and a number for partial marks.
    """

    def preprocess_cell(self, cell, resources, index):
        if is_grade(cell) and cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.output_type == "error"]
        return cell, resources


class SayOneSentence(NbGraderPreprocessor):
    """A page of feedback shows a sentence for each test that failed, and no hidden test.

    A traceback shows the lines around it, and a student's code can print what runs beside it. So
    a page shows no output but the sentences, and the student's own errors in one line each.
    """

    def preprocess(self, notebook, resources):
        self.secrets = hidden_lines(notebook)
        return super().preprocess(notebook, resources)

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type != "code":
            return cell, resources
        error = error_of(cell)
        if is_grade(cell):
            text = sentence(cell)
        elif error is not None:
            text = " ".join(f"{error.ename}: {error.evalue}".split())[:LONGEST_MESSAGE]
        else:
            text = ""
        if self.shows_a_secret(text):
            text = "This message was removed, since it shows a line of a hidden test."
        lines = textwrap.fill(text, LINE)
        cell.outputs = [new_output("stream", name="stdout", text=lines)] if text else []
        if not is_grade(cell) and not is_solution(cell) and self.shows_a_secret(cell.source):
            cell.source = "# This cell was removed, since it shows a line of a hidden test."
        return cell, resources

    def shows_a_secret(self, text):
        return any(secret in text for secret in self.secrets)
