"""JupyterLab itself: a notebook opened in the browser, Run All Cells, and what its model holds.

Cells that are off the screen are not in the page, and a dialog that asks for a kernel looks like a
page without errors: so the result is read from the notebook's model. COURSE_NOTEBOOKS names the
notebooks to run ("01_autoencoder 09_latent_space"); otherwise it is the first.
"""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest

from conftest import ROOT

NAMES = os.environ.get("COURSE_NOTEBOOKS", "01_autoencoder").split()
if NAMES == ["all"]:
    NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
PICTURE = ".jupyter-widgets img, .widget-interact img"
MINUTES = 10  # for one notebook, on a busy machine
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab over a copy of the notebooks, with settings of its own."""
    jupyter = ROOT / ".venv" / "bin" / "jupyter"
    if not jupyter.exists():
        pytest.skip("no .venv found: make lab sets it up")
    folder = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "figures", "benchmarks"):  # 15 reads a file of the last
        shutil.copytree(ROOT / name, folder / name)
    for name, settings in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    port = free_port()
    environment = {
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "IPYTHONDIR": folder / "ipython",
    }
    command = [
        jupyter, "lab", "--no-browser", "--allow-root", "--expose-app-in-browser",
        f"--port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}",
    ]  # fmt: skip
    server = subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, **{name: str(path) for name, path in environment.items()}},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(address, seconds=120):
    end = time.monotonic() + seconds
    while True:
        try:
            return urllib.request.urlopen(f"{address}/api/status", timeout=5)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


# The cells of the notebook that is open, as its model holds them.
CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells"
RUN_ALL = """async () => {
  const widget = window.jupyterapp.shell.currentWidget;
  await widget.context.ready;
  await widget.sessionContext.ready;
  for (const cell of widget.content.model.cells) {
    if (cell.type === "code") cell.clearExecution();
  }
  await window.jupyterapp.commands.execute("notebook:run-all-cells");
}"""

# What the text of notebook 09 tells its reader to do, on the cell of the slider.
SET_LIVE = """async () => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  const index = notebook.widgets.findIndex(
    cell => cell.model.sharedModel.source.includes("LIVE = False"));
  const shared = notebook.widgets[index].model.sharedModel;
  shared.setSource(shared.source.replace("LIVE = False", "LIVE = True"));
  notebook.activeCellIndex = index;
  await window.jupyterapp.commands.execute("notebook:run-cell");
}"""

ANOTHER_PICTURE = """([selector, before]) => {
  const picture = document.querySelector(selector);
  return picture !== null && picture.getAttribute("src") !== before;
}"""


@pytest.fixture
def opened(browser, lab):
    """Opens a notebook in JupyterLab and runs all of its cells."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(MINUTES * 60_000)

    def open_and_run(name):
        tab = context.new_page()
        tab.goto(f"{lab}/lab/tree/notebooks/{name}.ipynb?reset")
        tab.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
        )
        tab.evaluate(RUN_ALL)
        return tab

    yield open_and_run
    context.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_runs_in_jupyterlab(opened, name):
    tab = opened(name)
    code = [cell for cell in tab.evaluate(CELLS) if cell["cell_type"] == "code"]
    written = [cell for cell in code if "".join(cell["source"]).strip()]
    assert len(written) > 20
    counts = [cell["execution_count"] for cell in written]
    assert counts == list(range(1, len(written) + 1))
    outputs = [output for cell in written for output in cell["outputs"]]
    assert [output for output in outputs if output["output_type"] == "error"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    if name == "09_latent_space":
        slider_changes_the_picture(tab)


def slider_changes_the_picture(tab):
    """Makes the cell of the slider live, moves the slider, and waits for another picture."""
    tab.set_default_timeout(60_000)
    tab.evaluate(SET_LIVE)
    handle = tab.locator(".jupyter-widgets .noUi-handle").first
    picture = tab.locator(PICTURE).first
    handle.scroll_into_view_if_needed()
    before = picture.get_attribute("src")
    handle.focus()
    for _ in range(5):
        handle.press("ArrowRight")
    tab.wait_for_function(ANOTHER_PICTURE, arg=[PICTURE, before])
