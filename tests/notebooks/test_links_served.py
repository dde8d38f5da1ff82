"""What `make lab` serves: the notebooks' links and pictures, asked for as JupyterLab asks."""

import json
import os
import posixpath
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest

from tests.notebooks.links import local_links
from tests.notebooks.sketches import NOTEBOOKS

ROOT = NOTEBOOKS.parent
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
SECONDS_TO_START = 60


def start_lab(folder):
    """Runs `make lab` without a browser and a token, with settings and logs in ``folder``."""
    arguments = "--no-browser --IdentityProvider.token="
    bin_folder = Path(sys.executable).parent  # jupyter stands beside the Python that runs this
    command = ["make", "lab", "--old-file=.venv/ready", f"BIN={bin_folder}", f"ARGS={arguments}"]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    with open(folder / "log", "w") as log:
        # Jupyter runs below make: one session for both, so that both can be ended together.
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def status(url):
    """The HTTP status of a GET request from JupyterLab's page, or None if nobody answers."""
    # The server gives files to its own pages only, and knows these by the Referer.
    request = urllib.request.Request(url, headers={"Referer": urljoin(url, "/lab")})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return None


def wait_for_server(process, folder):
    """What the server writes about itself (its address, its root) once it answers."""
    give_up = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < give_up and process.poll() is None:
        for path in (folder / "runtime").glob("jpserver-*.json"):
            text = path.read_text()
            if text.endswith("}") and status(json.loads(text)["url"] + "api") == 200:
                return json.loads(text)
        time.sleep(0.1)
    pytest.fail("make lab started no server:\n" + (folder / "log").read_text())


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The server that `make lab` starts: a dict with its address and its root folder."""
    folder = tmp_path_factory.mktemp("lab")
    process = start_lab(folder)
    try:
        server = wait_for_server(process, folder)
        (opened,) = (folder / "runtime").glob("jpserver-file-to-run-*-open.html")
        yield {"url": server["url"], "root": Path(server["root_dir"]), "opened": opened.read_text()}
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def request_of(lab, notebook, link):
    """The address that JupyterLab asks for when ``notebook`` (a path) links or shows ``link``.

    A relative link counts from the notebook's folder, and cannot leave the server's root. The
    document manager asks for the contents of a notebook, and the page for the bytes of a file.
    """
    folder = notebook.parent.relative_to(lab["root"]).as_posix()
    path = posixpath.normpath(posixpath.join("/", folder, link)).lstrip("/")
    if path.endswith(".ipynb"):
        return f"{lab['url']}api/contents/{quote(path)}?content=0"
    return f"{lab['url']}files/{quote(path)}"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_link_and_picture_is_served(lab, name):
    links = local_links(name)
    assert any(link.endswith(".png") for link in links)
    addresses = {link: request_of(lab, NOTEBOOKS / f"{name}.ipynb", link) for link in links}
    statuses = {link: status(address) for link, address in addresses.items()}
    assert statuses == dict.fromkeys(links, 200)


@pytest.mark.slow
def test_the_browser_opens_the_first_notebook(lab):
    assert f"{lab['url']}lab/tree/notebooks/{NAMES[0]}.ipynb" in lab["opened"]
    assert status(f"{lab['url']}files/notebooks/{NAMES[0]}.ipynb") == 200


@pytest.mark.slow
def test_a_link_that_leads_nowhere_is_found(lab):
    address = request_of(lab, NOTEBOOKS / f"{NAMES[0]}.ipynb", "../figures/nothing.png")
    assert status(address) == 404
