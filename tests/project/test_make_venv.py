"""The set-up finds a Python and uv, falls back to pip, and says what goes wrong in one sentence."""

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
from collections import namedtuple
from functools import partial
from pathlib import Path
from unittest.mock import ANY

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch, tmp_path):
    """tools/make_venv.py, with a copy of pyproject.toml alone as its project."""
    spec = importlib.util.spec_from_file_location("make_venv", ROOT / "tools" / "make_venv.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_venv.py"])
    monkeypatch.delenv("PYTHON", raising=False)
    return module


def executable(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(path)


def test_unsupported_python_is_named_with_the_supported_ones(tool, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHON", executable(tmp_path / "python3.14", "echo 3 14"))
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 to 3\.13.*python3\.14 \(3\.14\)"):
        tool.main()
    assert not (tmp_path / ".venv").exists()


def test_python_that_does_not_run_is_named(tool, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHON", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match=r"nowhere \(does not run\): install"):
        tool.main()


def test_a_supported_python_on_the_path_is_found(tool, monkeypatch, tmp_path):
    found = executable(tmp_path / "python3.12", "echo 3 12")
    monkeypatch.setattr(sys, "executable", executable(tmp_path / "python3", "echo 3 14"))
    monkeypatch.setattr(tool.shutil, "which", lambda n: found if n == "python3.12" else None)
    assert tool.find_python() == found


def test_missing_venv_module_says_what_to_install(tool, monkeypatch, tmp_path):
    script = 'case "$2" in *ensurepip*) exit 1;; *) echo 3 12;; esac'
    monkeypatch.setenv("PYTHON", executable(tmp_path / "python3.12", script))
    with pytest.raises(SystemExit, match=r"has no venv module: .*apt install python3-venv"):
        tool.main()
    assert not (tmp_path / ".venv").exists()


def test_too_small_a_disk_is_said_before_anything_is_made(tool, monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(tool.shutil, "disk_usage", lambda _: usage(9e9, 8e9, 1e9))
    with pytest.raises(SystemExit, match=r"The disk has 1\.0 GB free, but setting up takes 4"):
        tool.main()
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("line", ["[Errno 28] No space left on device", "failed (os error 28)"])
def test_disk_that_fills_up_on_the_way_is_said(tool, tmp_path, line):
    with pytest.raises(SystemExit, match="The disk is full: free about 4 GB"):
        tool.run(["sh", "-c", f"echo '{line}'; exit 1"], "something else")


def test_failed_step_shows_its_last_lines_and_the_sentence(tool):
    with pytest.raises(SystemExit, match=r"(?s)no route.*check the network"):
        tool.run(["sh", "-c", "echo no route >&2; exit 1"], "check the network")


PIP = """#!/bin/sh
echo "pip $*" >> "$CALLS"
case "$*" in
    *"config list"*) cat "$CONFIGURATION" ;;
    *uv.txt*)
        cat "$(dirname "$0")/../uv.txt" >> "$CALLS"
        [ -n "$NEW_UV" ] && cp "$NEW_UV" "$(dirname "$0")/uv" ;;
esac
"""
LOCK = """zipp==3.0 \\
    --hash=sha256:00
uv==0.13.9 \\
    --hash=sha256:11 \\
    --hash=sha256:22
    # via vaekit (pyproject.toml)
wheel==1.0 \\
    --hash=sha256:33
"""


@pytest.fixture
def set_up(tool, monkeypatch, tmp_path):
    """Runs the tool in an environment whose programs only write down how they are called.

    Takes the shell script of uv, where it stands ("PATH", or "pip": what pip installs), and what
    `pip config list` prints. Returns all calls as text, and of uv's last call the variables that
    tell it where packages are.
    """
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    on_path = tmp_path / "path"
    on_path.mkdir()
    (tmp_path / "requirements.lock").write_text(LOCK)
    calls, variables = tmp_path / "calls", tmp_path / "variables"
    variables.write_text("")
    python = programs / "python"
    python.write_text(PIP)
    python.chmod(0o755)
    for name in list(os.environ):
        if name.startswith(("UV_", "SSL_CERT_FILE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("CONFIGURATION", str(tmp_path / "configuration"))
    monkeypatch.setenv("PATH", f"{on_path}:/usr/bin:/bin")
    monkeypatch.setattr(tool.shutil, "which", partial(shutil.which, path=str(on_path)))

    def run(script="", where="pip", configuration=""):
        (tmp_path / "configuration").write_text(configuration)
        monkeypatch.setenv("NEW_UV", "")
        if script:
            folder = on_path if where == "PATH" else tmp_path
            record = f'echo "uv $*" >> "$CALLS"; env | grep -E "^(UV_|SSL_CERT_FILE)" > {variables}'
            path = executable(folder / "uv", f"{record}\n{script}")
            monkeypatch.setenv("NEW_UV", path if where == "pip" else "")
        tool.main()
        pairs = [line.split("=", 1) for line in variables.read_text().splitlines()]
        return calls.read_text(), dict(pairs)

    return run


def installed(calls, program):
    """The arguments after ``install`` of each call of a program that installs the lock."""
    pattern = rf"^{program} .*install .*-r requirements\.lock$"
    return re.findall(pattern, calls, flags=re.MULTILINE)


def test_uv_on_the_path_installs_and_pip_does_not(set_up, tmp_path):
    calls, _ = set_up("exit 0", where="PATH")
    assert len(installed(calls, "uv")) == 1
    assert f"--python {tmp_path}/.venv/bin/python" in calls
    assert "pip -m pip install" not in calls
    assert (tmp_path / ".venv" / "ready").exists()


def test_uv_of_the_lock_is_installed_with_its_hashes_and_installs_the_rest(set_up, tmp_path):
    calls, _ = set_up("exit 0")
    (first,) = re.findall(r"pip -m pip install .*--require-hashes -r .*uv\.txt", calls)
    assert "--no-deps" in first
    assert [f"sha256:{n}" in calls for n in ("00", "11", "22", "33")] == [False, True, True, False]
    assert len(installed(calls, "uv")) == 1
    assert installed(calls, "pip") == []
    assert (tmp_path / ".venv" / "ready").exists()


def test_uv_that_is_in_the_environment_is_not_installed_again(set_up):
    set_up("exit 0")
    calls, _ = set_up("exit 0")
    assert calls.count("uv.txt") == 1
    assert len(installed(calls, "uv")) == 2


def test_without_uv_pip_installs_everything(set_up, tmp_path):
    calls, _ = set_up()
    assert len(installed(calls, "pip")) == 1
    assert (tmp_path / ".venv" / "ready").exists()


@pytest.mark.parametrize("where", ["PATH", "pip"])
def test_pip_goes_on_where_uv_fails(set_up, tmp_path, capsys, where):
    failing = 'case "$*" in *install*) echo no such registry; exit 2 ;; esac'
    calls, _ = set_up(failing, where)
    assert len(installed(calls, "uv")) == len(installed(calls, "pip")) == 1
    assert re.search(r"no such registry\n.*pip tries", capsys.readouterr().out)
    assert (tmp_path / ".venv" / "ready").exists()


def test_uv_learns_what_pip_is_configured_with(set_up):
    configuration = """:env:.cert='/certificates/mine'
:env:.find-links='/wheels'
global.cert='/certificates/of-all'
global.extra-index-url='file:///one\\nfile:///two'
global.find-links='/elsewhere'
global.index-url='file:///main'
global.trusted-host='one two'
install.index-url='file:///installs'
list.index-url='file:///not-for-installs'
"""
    _, variables = set_up("exit 0", "PATH", configuration)
    assert variables == {
        "SSL_CERT_FILE": "/certificates/mine",
        "UV_DEFAULT_INDEX": "file:///installs",
        "UV_FIND_LINKS": "/wheels",
        "UV_INDEX": "file:///one file:///two",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "one two",
    }


def test_uv_learns_nothing_where_pip_is_not_configured(set_up):
    assert set_up("exit 0", "PATH") == (ANY, {})


def test_what_the_user_tells_uv_comes_before_what_pip_is_told(set_up, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "file:///of-uv")
    _, variables = set_up("exit 0", "PATH", "global.index-url='file:///of-pip'\n")
    assert variables == {"UV_DEFAULT_INDEX": "file:///of-uv"}


def test_nothing_is_set_up_again_when_nothing_changed():
    if not (ROOT / ".venv" / "ready").exists():
        pytest.skip("make has not made .venv here")
    assert subprocess.run(["make", "--question", ".venv/ready"], cwd=ROOT).returncode == 0
