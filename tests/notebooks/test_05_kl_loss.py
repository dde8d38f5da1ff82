"""The KL as notebook 05 writes it, against the packaged function and layer."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import vaekit
from tests.notebooks.sketches import cells, definition

NOTEBOOK = "05_kl_loss"


@pytest.fixture
def heads():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 64, 5)) * [[[2.0]], [[1.5]]]  # z_mean, z_log_var; float64


@pytest.fixture
def kl_gaussians():
    return definition(NOTEBOOK, "kl_gaussians", {"np": np})


def test_the_sketch_equals_the_packaged_function(heads):
    sketch = definition(NOTEBOOK, "gaussian_kl_sketch", {"ops": ops})
    got, expected = sketch(*heads), vaekit.losses.gaussian_kl(*heads)
    assert tuple(got.shape) == (64,)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_the_sketch_equals_what_the_layer_adds_to_a_model(heads):
    sketch = definition(NOTEBOOK, "gaussian_kl_sketch", {"ops": ops})
    layer = vaekit.KLDivergence(beta=2.0)
    layer([head.astype("float32") for head in heads])
    np.testing.assert_allclose(layer.losses, [2.0 * np.mean(sketch(*heads))], rtol=1e-5)


def test_line_4_summed_over_latents_equals_the_packaged_function(heads, kl_gaussians):
    z_mean, z_log_var = heads
    summed = kl_gaussians(z_mean, np.exp(0.5 * z_log_var)).sum(axis=1)
    np.testing.assert_allclose(summed, vaekit.losses.gaussian_kl(*heads), rtol=1e-10)


def test_unmask_finds_nothing_in_the_packaged_function_and_the_fault_in_a_wrong_one():
    unmask = definition(NOTEBOOK, "unmask", {"np": np})

    @tf.function(reduce_retracing=True)  # it is called some ten thousand times
    def compiled(mu, sigma):
        return vaekit.losses.gaussian_kl(mu[None], 2 * tf.math.log(sigma)[None])[0]

    def packaged(mu, sigma):
        return compiled(tf.constant(mu), tf.constant(sigma)).numpy()

    truth = {"prior": 0, "slope": 0, "minimum": 0, "sigma": 1, "point": 0.8181472, "twice": 2}
    assert unmask(packaged) == pytest.approx(truth, abs=1e-4)
    assert unmask(lambda mu, sigma: -packaged(mu, sigma))["minimum"] == -np.inf
    assert unmask(lambda mu, sigma: packaged(mu, sigma) / len(mu))["twice"] == pytest.approx(1)


def test_every_formula_but_the_first_is_named_as_wrong_in_the_stored_table():
    (table,) = (cell for cell in cells(NOTEBOOK) if cell["id"] == "table")
    text = "".join("".join(output["text"]) for output in table["outputs"])
    rows = text.splitlines()[2:]
    assert len(rows) == 9
    assert [row.startswith("the derivation") for row in rows] == [
        row.endswith("nothing") for row in rows
    ]
