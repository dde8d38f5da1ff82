"""The sketch, the measurements and the exercises of notebook 11."""

import keras
import numpy as np
import pytest

import vaekit
from tests.notebooks.sketches import definition
from tests.notebooks.test_exercises import refuses, refuses_changed_solution
from tests.test_conditional import C, X, conditional_vae

NOTEBOOK = "11_conditional"
NAMES = {"ops": keras.ops, "vaekit": vaekit}


def test_elbo_sketch_is_the_packages_elbo():
    sketch = definition(NOTEBOOK, "elbo_sketch", NAMES)
    vae = conditional_vae(log_var=-30.0)  # the noise is lost in rounding
    epsilon = np.random.default_rng(0).normal(size=(22, 2)).astype("float32")
    inputs = keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(C)
    found = keras.ops.convert_to_numpy(sketch(vae.encoder, vae.decoder, *inputs, epsilon))
    assert found.shape == (22,)
    np.testing.assert_allclose(found, vaekit.evaluation.elbo(vae, [X, C]), rtol=1e-5)


def test_elbo_sketch_scales_the_noise_by_sigma():
    sketch = definition(NOTEBOOK, "elbo_sketch", NAMES)
    vae = conditional_vae(log_var=-2.0)
    inputs = keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(C)
    noise = np.random.default_rng(0).normal(size=(200, 22, 2)).astype("float32")
    draws = [sketch(vae.encoder, vae.decoder, *inputs, epsilon) for epsilon in noise]
    expected = vaekit.evaluation.elbo(vae, [X, C], num_samples=2000, seed=1).mean()
    found = np.array([keras.ops.convert_to_numpy(draw).mean() for draw in draws])
    assert found.mean() == pytest.approx(expected, abs=5 * found.std() / np.sqrt(200))


NETWORKS = {"keras": keras, "layers": keras.layers, "LATENTS": 3}


@pytest.mark.parametrize(
    ("options", "encoder_hears", "decoder_hears"),
    [
        ({}, True, True),
        ({"in_encoder": False}, False, True),
        ({"in_decoder": False}, True, False),
    ],
)
def test_each_half_uses_the_condition_if_it_is_to(options, encoder_hears, decoder_hears):
    encoder, decoder = definition(NOTEBOOK, "network", NETWORKS)(**options)
    x, z = np.ones((1, 28, 28, 1)), np.ones((1, 3))
    zero, nine = np.eye(10)[[0]], np.eye(10)[[9]]
    assert np.allclose(encoder([x, zero])[0], encoder([x, nine])[0]) != encoder_hears
    assert np.allclose(decoder([z, zero]), decoder([z, nine])) != decoder_hears


def test_without_a_condition_the_network_takes_images_and_codes_alone():
    encoder, decoder = definition(NOTEBOOK, "network", NETWORKS)(condition=0)
    assert encoder(np.ones((2, 28, 28, 1)))[0].shape == (2, 3)
    assert decoder(np.ones((2, 3))).shape == (2, 28, 28, 1)


def test_ink_and_slant_of_strokes_that_are_known():
    handwriting = definition(NOTEBOOK, "handwriting", {"np": np})
    images = np.zeros((3, 28, 28, 1))
    rows = np.arange(4, 24)
    images[0, rows, 10] = 1  # upright
    images[1, rows, rows] = 1  # one column to the right in each row downwards
    images[2, rows, 27 - rows] = 0.5  # to the left, in grey
    ink, slant = handwriting(images)
    np.testing.assert_allclose(ink, [20, 20, 10])
    np.testing.assert_allclose(slant, [0, 1, -1], atol=1e-12)


def test_without_digit_takes_the_mean_of_each_label_off():
    without_digit = definition(NOTEBOOK, "without_digit", {"np": np})
    labels = np.repeat(np.arange(10), 2)
    values = 100.0 * labels + np.tile([0, 2], 10)
    np.testing.assert_allclose(without_digit(values, labels), np.tile([-1, 1], 10))


def test_the_lower_left_quadrant_is_below_and_to_the_left():
    lower_left = definition(NOTEBOOK, "lower_left", {})
    image = np.zeros((1, 28, 28, 1))
    image[0, 20:, :3] = 1
    assert lower_left(image).shape == (1, 196)
    assert lower_left(image).sum() == image.sum() == 24


# ---- exercises --------------------------------------------------------------------------------


def test_equal_frequencies_are_caught():
    refuses(NOTEBOOK, 1, "answer_1 = np.log(4)")


WRONG_BOUNDS = {
    "the label is not paid for": "logsumexp(given, axis=0)",
    "exp underflows": "np.log(np.mean(np.exp(given), axis=0))",
    "a mean of logarithms": "given.mean(axis=0)",
    "the best label alone": "given.max(axis=0)",
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("mistake", WRONG_BOUNDS)
def test_the_usual_wrong_bounds_are_caught(mistake):
    refuses(NOTEBOOK, 2, f"answer_2 = lambda given: {WRONG_BOUNDS[mistake]}")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("()([z, c])", "()([z, 0 * c])", id="the decoder does not see c"),
        pytest.param("np.arange(300) % 10", "np.arange(300) // 30", id="another order"),
        pytest.param("return vae.likelihood.sample(p, seed=SEED)", "return p", id="means"),
        pytest.param("4.0, 1.0", "40.0, 40.0", id="the decoder does not use z"),
    ],
)
def test_the_usual_wrong_ways_to_ask_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 3, right, wrong)
