"""The layer and the two gradients of notebook 03, against the package and exact values."""

import keras
import numpy as np
import pytest
from keras import ops

import vaekit
from tests.notebooks.sketches import definition

NOTEBOOK = "03_sampling_layer"
MU, SIGMA = 0.7, 0.4


@pytest.fixture
def sketch():
    return definition(NOTEBOOK, "SamplingSketch", {"keras": keras, "ops": ops})


@pytest.fixture
def quadrature():
    """Noise and weights: weighted sums are exact means over N(0, 1) for polynomials."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    return nodes, weights / weights.sum()


@pytest.mark.parametrize("shape", [(6, 2), (6, 5, 3), (6, 4, 4, 2)])
def test_the_sketch_draws_what_the_packaged_layer_draws(sketch, shape):
    heads = list(np.random.default_rng(0).normal(size=(2, *shape)).astype("float32"))
    ours, packaged = sketch(seed=3), vaekit.Sampling(seed=3)
    for _ in range(2):
        np.testing.assert_allclose(ours(heads), packaged(heads), rtol=1e-6, atol=1e-6)


def test_the_sketch_draws_what_the_packaged_layer_draws_inside_a_model(sketch):
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    inputs = keras.Input((4,))
    heads = [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)]
    draws = [
        keras.Model(inputs, layer(seed=3)(heads)).predict(x, verbose=0)
        for layer in (sketch, vaekit.Sampling)
    ]
    np.testing.assert_allclose(*draws, rtol=1e-6, atol=1e-6)


def test_the_pathwise_gradient_is_exact_on_average(quadrature):
    epsilon, weights = quadrature
    pathwise = definition(NOTEBOOK, "pathwise", {"np": np})
    mean = pathwise(lambda z: 3 * z**2, MU, SIGMA, epsilon) @ weights  # the loss is z^3
    np.testing.assert_allclose(mean, [3 * MU**2 + 3 * SIGMA**2, 6 * MU * SIGMA], rtol=1e-10)


@pytest.mark.parametrize("baseline", [0.0, 5.0])
def test_the_score_function_is_exact_on_average_whatever_the_baseline(quadrature, baseline):
    epsilon, weights = quadrature
    score_function = definition(NOTEBOOK, "score_function", {"np": np})
    mean = score_function(lambda z: z**3, MU, SIGMA, epsilon, baseline) @ weights
    np.testing.assert_allclose(mean, [3 * MU**2 + 3 * SIGMA**2, 6 * MU * SIGMA], rtol=1e-10)
