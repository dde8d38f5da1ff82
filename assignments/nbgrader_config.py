"""What nbgrader does with the assignments; tools/release_assignments.py says how it is called."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import grading_steps
from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader import preprocessors

c = get_config()  # noqa: F821, nbgrader provides it

# What stands in a release where the source has a solution.
answer_here = 'raise NotImplementedError("Write your answer in place of this line.")'
c.ClearSolutions.code_stub = {"python": answer_here}
c.ClearSolutions.text_stub = "*Write your answer in place of this line.*"

c.Execute.timeout_func = grading_steps.seconds_allowed
c.Execute.iopub_timeout = 60  # how long to wait for the output of a cell that was interrupted

c.Autograde.autograde_preprocessors = [
    preprocessors.Execute,
    grading_steps.ForgiveWarnings,
    preprocessors.LimitOutput,
    preprocessors.SaveAutoGrades,
    preprocessors.CheckCellMetadata,
]
c.GenerateFeedback.preprocessors = [
    preprocessors.GetGrades,
    grading_steps.SayOneSentence,
    preprocessors.ClearHiddenTests,
    CSSHTMLHeaderPreprocessor,
]
