"""Code that must run in a Python process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[1])


def run_python(script, *args, options=(), **environment):
    """Runs ``script`` where ``vaekit`` and ``tests`` can be imported; returns the ended process."""
    quiet = {"PYTHONPATH": ROOT, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, *options, "-c", script, *map(str, args)],
        cwd=ROOT,
        env={**os.environ, **quiet, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def printed_by(script, *args, **kwargs):
    """The last line that ``script`` prints, once it has ended well."""
    done = run_python(script, *args, **kwargs)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip().splitlines()[-1]
