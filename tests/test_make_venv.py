"""What goes wrong before anything is installed is said in one sentence."""

import importlib.util
import stat
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


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


def test_nothing_is_set_up_again_when_nothing_changed():
    if not (ROOT / ".venv" / "ready").exists():
        pytest.skip("make has not made .venv here")
    assert subprocess.run(["make", "--question", ".venv/ready"], cwd=ROOT).returncode == 0
