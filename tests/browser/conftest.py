"""A browser for the tests of this folder: the system's Chromium, driven by playwright.

`make test-browser` runs them. They need no part of the course's environment.
"""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium():
    """The path of a Chromium, or None: $CHROMIUM, or one on the PATH."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    return found if found and Path(found).exists() else None


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="make test-browser installs it")
    executable = find_chromium()
    if executable is None:
        pytest.skip(
            "no Chromium found: install it (on Debian and Ubuntu: apt-get install chromium) or "
            "name it with CHROMIUM=/path/to/chromium in front of make"
        )
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def site():
    """The folder of the built site."""
    folder = ROOT / "docs" / "_build" / "html"
    if not (folder / "index.html").exists():
        pytest.skip("no site found: make docs builds it")
    return folder
