"""The README is true: its code runs when pasted in order, and its files are there."""

import os
import re
import subprocess
import sys

import pytest

from tests.fresh_process import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL))


@pytest.mark.slow
@pytest.mark.tensorflow
def test_code_runs_when_it_is_pasted(tmp_path):
    """In an empty folder; one epoch shows as much as twenty that the lines run."""
    quick = re.sub(r"epochs=\d+", "epochs=1, verbose=0", CODE)
    assert "vaekit.to_vae(" in quick and "vaekit.VAE(" in quick
    settings = {"MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-c", quick], cwd=tmp_path, env={**os.environ, **settings}, check=True
    )
    assert (tmp_path / "vae.keras").exists()


def test_every_link_to_a_file_leads_there():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(links) > 30
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", README + contributing))
    assert {"lab", "test", "docs"} <= named
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.M)] == []


def test_citation_names_the_version_of_the_package():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M).group(1)
    assert f"version: {version}\n" in citation
