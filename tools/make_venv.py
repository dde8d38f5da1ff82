"""Makes .venv from requirements.lock; called by make, needs nothing but a Python.

    python3 tools/make_venv.py               .venv: the course, its tests and vaekit
    python3 tools/make_venv.py backends      .venv-backends: vaekit's tests on JAX and PyTorch
    python3 tools/make_venv.py bench         .venv-bench: the benchmark's peers on JAX and PyTorch

Takes the first Python that TensorFlow has wheels for: $PYTHON, the one that runs this file, or
one on the PATH. Everything that can go wrong is said in one sentence with what to do.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FREE_GB = 4.0  # .venv takes about 2, the downloads on the way another 1
# What pip installs into each environment, one call after the other.
INSTALLS = {
    "": [
        ["--require-hashes", "-r", "requirements.lock"],
        ["--no-deps", "--no-build-isolation", "-e", "."],
    ],
    "backends": [["-e", ".[backends]"]],
    "bench": [["-r", "benchmarks/requirements.txt"]],
}


def supported():
    """The lowest minor version of Python 3 that works, and the first that does not."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    low, high = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', text).groups()
    return int(low), int(high)


def version_of(python):
    """The (major, minor) of a Python executable, or None if it does not run."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True)
    except OSError:
        return None
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else None


def find_python():
    """The path of a supported Python; stops with a sentence if there is none."""
    low, high = supported()
    asked = os.environ.get("PYTHON")
    names = [f"python3.{minor}" for minor in reversed(range(low, high))]
    candidates = [asked] if asked else [sys.executable, *filter(None, map(shutil.which, names))]
    versions = {python: version_of(python) for python in candidates}
    for python, version in versions.items():
        if version and version[0] == 3 and low <= version[1] < high:
            return python
    found = ", ".join(
        "{} ({})".format(python, "{}.{}".format(*version) if version else "does not run")
        for python, version in versions.items()
    )
    newest = f"3.{high - 1}"
    sys.exit(
        f"vaekit needs Python 3.{low} to {newest}, as TensorFlow has no wheels for others, but "
        f"found {found}: install one of these, or name it with PYTHON=/path/to/python{newest} in "
        "front of make."
    )


def run(command, problem):
    """Runs a command; if it fails, shows the end of what it printed and one sentence."""
    done = subprocess.run(
        command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    if done.returncode == 0:
        return
    if "No space left on device" in done.stdout or "os error 28" in done.stdout:
        problem = f"The disk is full: free about {FREE_GB:g} GB and run make again."
    sys.exit("{}\n\n{}".format("\n".join(done.stdout.splitlines()[-12:]), problem))


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    venv = ROOT / "-".join(filter(None, (".venv", name)))
    python = find_python()
    if (
        version_of(python)
        and subprocess.run(
            [python, "-c", "import venv, ensurepip"], stderr=subprocess.DEVNULL
        ).returncode
    ):
        sys.exit(
            f"{python} has no venv module: install it (on Debian and Ubuntu: "
            "apt install python3-venv) and run make again."
        )
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    inside = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    if subprocess.run(
        [str(inside), "-m", "pip", "--version"] if inside.exists() else ["false"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ).returncode:  # fmt: skip
        if free < FREE_GB:
            sys.exit(
                f"The disk has {free:.1f} GB free, but setting up takes {FREE_GB:g}: free some "
                "space and run make again."
            )
        print(f"Setting up {venv.name}: once, one to three minutes.", flush=True)
        run(
            [python, "-m", "venv", "--clear", str(venv)],
            f"{python} could not make {venv.name}: see above.",
        )
    uv = shutil.which("uv")
    if uv:
        install = [uv, "pip", "install", "--python", str(inside)]
    else:
        install = [str(inside), "-m", "pip", "install", "--disable-pip-version-check"]
    failed = "The packages could not be installed: check the network and run make again."
    for packages in INSTALLS[name]:
        run([*install, *packages], failed)
    (venv / "ready").write_text("Made by tools/make_venv.py; make compares the dates.\n")


if __name__ == "__main__":
    main()
