"""Makes assignments/release from assignments/source with nbgrader; `make assignments` calls it.

    .venv-teacher/bin/python tools/release_assignments.py [folder]

Solutions and hidden tests are taken out, and the release is written to the folder
(assignments/release by default). The same source gives the same bytes.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

ASSIGNMENTS = Path(__file__).resolve().parent.parent / "assignments"


def course(root, settings=None):
    """nbgrader's interface to a course folder: a step is a folder there, and so is a gradebook.

    ``settings`` are more settings of nbgrader than those of nbgrader_config.py, as a Config.
    """
    # nbgrader starts a program of its environment by name, when it makes a gradebook.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    config = PyFileConfigLoader("nbgrader_config.py", path=str(ASSIGNMENTS)).load_config()
    config.CourseDirectory.root = str(root)
    config.merge(settings or Config())
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def check(result, doing):
    """Raises RuntimeError with what nbgrader said if one of its steps did not succeed."""
    if not result["success"]:
        said = f"{result.get('log', '')}\n{result.get('error', '')}"
        raise RuntimeError(f"{doing} did not succeed:\n{said}")


def generate(nbgrader, problem_set):
    """Writes one release, and the tests of its source into the gradebook if there is one."""
    result = nbgrader.generate_assignment(problem_set, force=True, create=True)
    check(result, f"Generating {problem_set}")


def main(arguments):
    release = Path(arguments[0]) if arguments else ASSIGNMENTS / "release"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(ASSIGNMENTS / "source", root / "source")
        without_gradebook = Config()
        without_gradebook.SaveCells.enabled = False
        without_gradebook.GenerateAssignment.no_database = True
        nbgrader = course(root, without_gradebook)
        for source in sorted((root / "source").iterdir()):
            generate(nbgrader, source.name)
            notebook = root / "release" / source.name / f"{source.name}.ipynb"
            (release / source.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(notebook, release / source.name)
            print(f"{release / source.name / notebook.name}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
