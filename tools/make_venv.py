"""Makes .venv from requirements.lock; called by make, needs nothing but a Python.

    python3 tools/make_venv.py               .venv: the course, its tests and vaekit
    python3 tools/make_venv.py backends      .venv-backends: vaekit's tests on JAX and PyTorch
    python3 tools/make_venv.py bench         .venv-bench: the benchmark's peers on JAX and PyTorch
    python3 tools/make_venv.py docs          .venv-docs: what builds the site
    python3 tools/make_venv.py browser       .venv-browser: what drives a browser over the pages
    python3 tools/make_venv.py teacher       .venv-teacher: what grades the assignments

Takes the first Python that TensorFlow has wheels for: $PYTHON, the one that runs this file, or
one on the PATH. Packages are installed by uv, which is faster than pip: the one on the PATH, or
the one that the lock pins. Where uv does not succeed, pip installs them. Everything that can go
wrong is said in one sentence with what to do.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FREE_GB = 4.0  # .venv takes about 2, the downloads on the way another 1
# What is installed into each environment, one call after the other.
INSTALLS = {
    "": [
        ["--require-hashes", "-r", "requirements.lock"],
        ["--no-deps", "--no-build-isolation", "-e", "."],
    ],
    "backends": [["-e", ".[backends]"]],
    "bench": [["-r", "benchmarks/requirements.txt"]],
    "docs": [["--require-hashes", "-r", "docs/requirements.lock"]],
    "browser": [["--require-hashes", "-r", "tests/browser/requirements.lock"]],
    "teacher": [["--require-hashes", "-r", "assignments/requirements.lock"]],
}
# The variable in which uv expects each setting of pip, and what it puts between several values.
PIP_TO_UV = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
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


def capture(command, environment=None):
    """Runs a command in the project; returns its exit code and all that it printed."""
    done = subprocess.run(
        command, cwd=str(ROOT), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    if "No space left on device" in done.stdout or "os error 28" in done.stdout:
        problem = f"The disk is full: free about {FREE_GB:g} GB and run make again."
        sys.exit(f"{last_lines(done.stdout)}\n\n{problem}")
    return done.returncode, done.stdout


def run(command, problem):
    """Runs a command; if it fails, shows the end of what it printed and one sentence."""
    code, printed = capture(command)
    if code != 0:
        sys.exit(f"{last_lines(printed)}\n\n{problem}")


def last_lines(text, count=12):
    return "\n".join(text.splitlines()[-count:])


def succeeds(command):
    """Whether a command runs and ends well; shows nothing of what it prints."""
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return done.returncode == 0


def executable(venv, name):
    """The path of a program of the environment."""
    return str(venv / ("Scripts" if os.name == "nt" else "bin") / name)


def make_empty(venv):
    """Makes an environment that holds pip alone; stops with a sentence if it cannot."""
    python = find_python()
    if not succeeds([python, "-c", "import venv, ensurepip"]):
        sys.exit(
            f"{python} has no venv module: install it (on Debian and Ubuntu: "
            "apt install python3-venv) and run make again."
        )
    free = shutil.disk_usage(str(ROOT)).free / 1e9
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


def locked_entry(package):
    """The lines of requirements.lock that pin a package, its hashes included."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return re.search(rf"^{package}==.*\n(?:[ ].*\n)*", lock, flags=re.MULTILINE).group()


def find_uv(venv):
    """The path of uv: on the PATH, in the environment, or installed there; None without one."""
    on_path = shutil.which("uv")
    if on_path:
        return on_path
    uv = executable(venv, "uv")
    if succeeds([uv, "--version"]):
        return uv
    # pip takes hashes from a file alone.
    entry = venv / "uv.txt"
    entry.write_text(locked_entry("uv"), encoding="utf-8")
    code, _ = capture([*pip_install(venv), "--no-deps", "--require-hashes", "-r", str(entry)])
    return uv if code == 0 else None


def pip_settings(venv):
    """What pip is configured with, by its files and variables: a dict of name -> text."""
    pip = [executable(venv, "python"), "-m", "pip"]
    done = subprocess.run([*pip, "config", "list"], stdout=subprocess.PIPE, text=True)
    # A line is "global.index-url='...'". Of one name, pip takes the last of these sections.
    sections = {"global": {}, "install": {}, ":env:": {}}
    for section, name, value in re.findall(r"^(.+?)\.([a-z-]+)=(.+)$", done.stdout, re.MULTILINE):
        if section in sections:
            sections[section][name] = ast.literal_eval(value)
    return {**sections["global"], **sections["install"], **sections[":env:"]}


def uv_environment(venv):
    """The environment's variables for uv: it does not read pip's configuration by itself."""
    settings = pip_settings(venv)
    variables = {}
    for name, (variable, separator) in PIP_TO_UV.items():
        if settings.get(name):
            variables[variable] = separator.join(settings[name].split())
    if "UV_INDEX" in variables:
        # uv would stop at the first registry that has a package: pip looks into all of them.
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return {**variables, **os.environ}  # what the user tells uv directly comes first


def pip_install(venv):
    return [executable(venv, "python"), "-m", "pip", "install", "--disable-pip-version-check"]


def install(venv, packages):
    """Installs packages into an environment: with uv, or with pip where uv does not succeed.

    ``packages`` are arguments that both understand after ``install``.
    """
    uv = find_uv(venv)
    if uv:
        command = [uv, "pip", "install", "--python", executable(venv, "python"), *packages]
        code, printed = capture(command, uv_environment(venv))
        if code == 0:
            return
        print(f"{last_lines(printed, 3)}\nuv did not succeed: pip tries.", flush=True)
    run(
        [*pip_install(venv), *packages],
        "The packages could not be installed: check the network and run make again.",
    )


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    venv = ROOT / (f".venv-{name}" if name else ".venv")
    if not succeeds([executable(venv, "python"), "-m", "pip", "--version"]):
        make_empty(venv)
    for packages in INSTALLS[name]:
        install(venv, packages)
    (venv / "ready").write_text("Made by tools/make_venv.py; make compares the dates.\n")


if __name__ == "__main__":
    main()
