"""Runs code in a new Python that has imported nothing, with every warning an error."""

import os
import subprocess
import sys
from pathlib import Path

import keras

import vaekit

ROOT = Path(vaekit.__file__).parents[1]
# As in pyproject.toml: Keras 3.15's variables lack numpy 2's copy argument.
KERAS_AND_NUMPY = "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"


def end_of_fresh(code, *arguments, cwd=None, **environment):
    """The process that ran the code, once it has ended, however it ended."""
    settings = {
        "KERAS_BACKEND": keras.config.backend(),
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    return subprocess.run(
        [sys.executable, "-W", "error", "-W", KERAS_AND_NUMPY, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_fresh(code, *arguments, cwd=None, **environment):
    """What the code prints; an AssertionError with its traceback if it fails."""
    process = end_of_fresh(code, *arguments, cwd=cwd, **environment)
    assert process.returncode == 0, process.stderr
    return process.stdout
