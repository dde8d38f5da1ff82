"""The explorer's script decodes as Keras does, from weights that are stored as 16-bit floats."""

import json
import shutil
import subprocess

import keras
import numpy as np
import pytest

import vaekit
from tests.fresh_process import ROOT
from tools import explorer_models

NODE = shutil.which("node")
SCRIPT = ROOT / "docs" / "explorer" / "explorer.js"
pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(NODE is None, reason="needs node, which runs the page's script here"),
]


def run_script(code, given):
    """What the JavaScript expression ``code`` gives; ``page`` is the script, ``given`` the data."""
    program = (
        f"const page = require({json.dumps(str(SCRIPT))});"
        "const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        f"console.log(JSON.stringify({code}));"
    )
    done = subprocess.run(
        [NODE, "-e", program], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def trained():
    """The decoder of a VAE and the codes of some test digits."""
    (x_train, _), (x_test, _) = vaekit.datasets.load_digits()
    keras.utils.set_random_seed(1)
    vae = vaekit.VAE(*explorer_models.network("z_mean", "z_log_var"), beta=0.1)
    vae.compile("adam")
    vae.fit(x_train, batch_size=128, epochs=3, verbose=0)
    return vae.decoder, vae.encoder.predict(x_test[:200], verbose=0)[0]


def test_page_decodes_as_keras_does(trained):
    decoder, codes = trained
    given = {"network": explorer_models.for_the_page("VAE", decoder, codes)}
    images = run_script(
        "(n => n.codes.map(z => Array.from(page.decode(n, z))))(page.readNetwork(given.network))",
        given,
    )
    expected = decoder.predict(codes.astype("float16").astype("float32"), verbose=0)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(images, expected.reshape(len(codes), 784), atol=1e-3)


def test_half_floats_are_read_exactly():
    numbers = np.array([0, -0.0, 1, -2.5, 65504, 6.1e-5, 6e-8, -3e-6, 0.1], "float16")
    stored = explorer_models.as_half_floats(numbers)
    read = run_script("Array.from(page.numbersOfHalfFloats(given))", stored)
    np.testing.assert_array_equal(np.float32(read), numbers.astype("float32"))


def test_draws_are_standard_normal():
    draws = np.array(run_script("Array.from({length: given}, () => page.drawFromPrior())", 20_000))
    # Five standard errors of a mean, of a variance and of a covariance.
    np.testing.assert_allclose(draws.mean(axis=0), 0, atol=5 / 20_000**0.5)
    np.testing.assert_allclose(np.cov(draws.T), np.eye(2), atol=5 * (2 / 20_000) ** 0.5)


def test_path_begins_and_ends_at_its_ends_and_is_even():
    path = run_script("page.codesBetween(given[0], given[1], 10)", [[0, 1], [9, -2]])
    np.testing.assert_allclose(path, np.linspace([0, 1], [9, -2], 10))


def test_window_is_a_square_that_holds_the_codes_and_the_circle():
    codes = [[-10, 0], [2, 30]]
    window = run_script("page.windowOf(given)", codes)
    low = np.array([window["left"], window["bottom"]])
    for corner in [*codes, [-2.5, -2.5], [2.5, 2.5]]:
        assert np.all(low < corner) and np.all(corner < low + window["side"])


def test_data_file_is_a_script_and_small(trained):
    decoder, codes = trained
    stored = explorer_models.for_the_page("VAE", decoder, np.tile(codes, (5, 1)))
    text = explorer_models.script([stored] * 6, np.arange(1000) % 10)
    assert text.startswith("const EXPLORER_DATA = {") and text.endswith("};\n")
    page = sum(path.stat().st_size for path in SCRIPT.parent.iterdir())
    assert len(text) + page < 1_000_000
