"""The sketch of notebook 11 against the package."""

import keras
import numpy as np
import pytest

import vaekit
from tests.notebooks.sketches import definition
from tests.test_conditional import C, X, conditional_vae

NAMES = {"ops": keras.ops, "vaekit": vaekit}


def test_elbo_sketch_is_the_packages_elbo():
    sketch = definition("11_conditional", "elbo_sketch", NAMES)
    vae = conditional_vae(log_var=-30.0)  # the noise is lost in rounding
    epsilon = np.random.default_rng(0).normal(size=(22, 2)).astype("float32")
    inputs = keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(C)
    found = keras.ops.convert_to_numpy(sketch(vae.encoder, vae.decoder, *inputs, epsilon))
    assert found.shape == (22,)
    np.testing.assert_allclose(found, vaekit.evaluation.elbo(vae, [X, C]), rtol=1e-5)


def test_elbo_sketch_scales_the_noise_by_sigma():
    sketch = definition("11_conditional", "elbo_sketch", NAMES)
    vae = conditional_vae(log_var=-2.0)
    inputs = keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(C)
    noise = np.random.default_rng(0).normal(size=(200, 22, 2)).astype("float32")
    draws = [sketch(vae.encoder, vae.decoder, *inputs, epsilon) for epsilon in noise]
    expected = vaekit.evaluation.elbo(vae, [X, C], num_samples=2000, seed=1).mean()
    found = np.array([keras.ops.convert_to_numpy(draw).mean() for draw in draws])
    assert found.mean() == pytest.approx(expected, abs=5 * found.std() / np.sqrt(200))
