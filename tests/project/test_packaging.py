"""pyproject.toml, requirements.lock and environment.yml say the same."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [
    Requirement(line)
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["course"]
]
LOCK_TEXT = (ROOT / "requirements.lock").read_text()


def locked():
    """The pins of the lock: (name, version, marker or None), in order."""
    entry = r"^([a-z0-9._-]+)==(\S+)(?: ; (.+?))? \\$"
    return [
        (name, version, Marker(marker) if marker else None)
        for name, version, marker in re.findall(entry, LOCK_TEXT, flags=re.M)
    ]


def conda_lines():
    """The items of environment.yml's lists, comments and indentation removed."""
    text = (ROOT / "environment.yml").read_text()
    return re.findall(r"^ +- (\S.*)$", text, flags=re.M)


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda r: r.name)
def test_lock_pins_a_version_that_pyproject_allows(requirement):
    versions = [version for name, version, _ in locked() if name == requirement.name]
    assert versions
    assert all(version in requirement.specifier for version in versions)


def test_every_pin_of_the_lock_has_a_hash():
    entries = re.split(r"^(?=[a-z0-9])", LOCK_TEXT, flags=re.M)[1:]
    assert len(entries) == len(locked()) > 50
    assert all("--hash=sha256:" in entry for entry in entries)


def test_lock_names_no_host():
    assert not re.search(r"https?://|file://|--(extra-)?index-url|--find-links", LOCK_TEXT)


def test_conda_pins_what_the_lock_pins():
    # uv installs what the lock pins; with conda, pip does that.
    names = {requirement.name for requirement in DIRECT} - {"uv"}
    expected = {
        (name, version, str(marker) if marker else "")
        for name, version, marker in locked()
        if name in names
    }
    pins = [Requirement(line) for line in conda_lines() if "==" in line]
    found = {(r.name, str(r.specifier)[2:], str(r.marker) if r.marker else "") for r in pins}
    assert found == expected


def test_conda_installs_vaekit_itself():
    assert "-e ." in conda_lines()


def test_conda_and_pyproject_ask_for_the_same_python():
    (line,) = (line for line in conda_lines() if line.startswith("python "))
    assert SpecifierSet(line.removeprefix("python ")) == SpecifierSet(PROJECT["requires-python"])
