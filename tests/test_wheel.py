"""The wheel holds all that vaekit needs: it works where the project's folder is not."""

import os
import subprocess
import sys
import zipfile

import pytest

from tests.fresh_process import ROOT, run_fresh

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
USE = """
import sys

import keras
import numpy as np

import vaekit

assert vaekit.__file__.startswith(sys.argv[1]), vaekit.__file__
dense = keras.layers.Dense
autoencoder = keras.Sequential([keras.Input((12,)), dense(3), dense(12, activation="sigmoid")])
autoencoder.compile("adam", "binary_crossentropy")
x = np.random.default_rng(0).random((64, 12)).astype("float32")
autoencoder.fit(x, x, verbose=0)
vae = vaekit.to_vae(autoencoder, x)
given = autoencoder.predict(x, verbose=0)
np.testing.assert_allclose(vae.predict(x, verbose=0), given, atol=1e-4)
vae.fit(x, verbose=0)
vae.save("vae.keras")
loaded = keras.models.load_model("vae.keras")
np.testing.assert_array_equal(loaded.predict(x, verbose=0), vae.predict(x, verbose=0))
print(*vae.sample(5).shape)
"""


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory):
    """A folder with what the wheel holds and nothing else of the project."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "vaekit", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in listed.stdout.split():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=source, check=True,
                   capture_output=True)  # fmt: skip
    (wheel,) = folder.glob("vaekit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.mark.slow
def test_wheel_works_on_this_backend(unpacked_wheel, tmp_path):
    printed = run_fresh(USE, unpacked_wheel, cwd=tmp_path, PYTHONPATH=os.fspath(unpacked_wheel))
    assert printed.split() == ["5", "12"]


def test_wheel_holds_the_package_and_its_licence_alone(unpacked_wheel):
    packaged = {path.relative_to(unpacked_wheel) for path in unpacked_wheel.rglob("*.py")}
    own = {path.relative_to(ROOT) for path in (ROOT / "vaekit").rglob("*.py")}
    assert packaged == own
    (metadata,) = unpacked_wheel.glob("vaekit-*.dist-info")
    assert list(metadata.rglob("LICENSE"))
