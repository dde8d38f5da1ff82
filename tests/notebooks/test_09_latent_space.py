"""What notebook 09 sketches is what vaekit does, and its sliders move a picture."""

import types

import ipywidgets
import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers
from scipy import stats

from tests.notebooks.sketches import cells, definition
from tests.notebooks.test_exercises import refuses, refuses_changed_solution
from vaekit import likelihoods, plots

NOTEBOOK = "09_latent_space"


@pytest.mark.parametrize("t", [0.0, 0.25, 1.0])
def test_spherical_sketch_equals_the_packaged_path(t):
    slerp_sketch = definition(NOTEBOOK, "slerp_sketch", {"np": np})
    a, b = np.random.default_rng(0).normal(size=(2, 4, 5))
    decoded = []
    vae = types.SimpleNamespace(
        latent_shape=(5,),
        likelihood=likelihoods.Bernoulli(),
        decode=lambda z: decoded.append(z) or np.zeros((len(z), 28, 28, 1)),
    )
    plots.interpolation(vae, a, b, steps=5, spherical=True)
    plt.close("all")
    expected = decoded[0].reshape(4, 5, 5)[:, round(4 * t)]
    np.testing.assert_allclose(slerp_sketch(a, b, t), expected, rtol=1e-5, atol=1e-6)


def test_sliders_draw_the_point_that_they_stand_at(monkeypatch):
    (cell,) = (cell for cell in cells(NOTEBOOK) if cell["id"] == "slider")
    assert cell["source"].count("LIVE = False") == 1
    seen, made = [], []
    plane = types.SimpleNamespace(
        likelihood=likelihoods.Bernoulli(),
        decode=lambda z: seen.append(z) or np.zeros((1, 28, 28, 1)),
    )
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    monkeypatch.setattr(
        ipywidgets, "interact", lambda *args, **sliders: made.append(_built(*args, **sliders))
    )
    source = cell["source"].replace("LIVE = False", "LIVE = True")
    exec(source, {"plane": plane, "plt": plt, "np": np, "ipywidgets": ipywidgets})
    z_1, z_2 = made[0].children[:2]
    z_1.value, z_2.value = 1.5, -0.5
    made[0].update()
    np.testing.assert_allclose(seen[-1], [[1.5, -0.5]])


def _built(function, **sliders):
    """What ``interact`` shows, without a page to show it on."""
    return ipywidgets.interactive(function, {"manual": True}, **sliders)


def test_at_half_time_both_paths_point_in_one_direction():
    slerp_sketch = definition(NOTEBOOK, "slerp_sketch", {"np": np})
    a, b = np.random.default_rng(0).normal(size=(2, 6, 5))
    factors = slerp_sketch(a, b, 0.5) / ((a + b) / 2)
    np.testing.assert_allclose(factors, np.tile(factors[:, :1], 5))
    assert np.all(factors[:, 0] > 1)


def test_the_aggregate_posterior_is_the_mean_of_scipys_gaussians():
    mean, log_var = np.random.default_rng(0).normal(size=(2, 30, 4))
    sigma = np.exp(0.5 * log_var)
    names = {"np": np, "train_mean": mean, "train_log_var": log_var, "train_sigma": sigma}
    log_q = definition(NOTEBOOK, "log_q", names)
    z = np.array([0.3, -1.0, 0.2, 2.0])
    each = [stats.multivariate_normal(mean[i], np.diag(sigma[i] ** 2)).pdf(z) for i in range(30)]
    assert log_q(z) == pytest.approx(np.log(np.mean(each)))


def test_greyness_is_zero_for_black_and_white_and_one_half_for_grey():
    greyness = definition(NOTEBOOK, "greyness", {"np": np})
    assert greyness(np.array([0.0, 1.0, 1.0])) == 0
    assert greyness(np.array([0.5, 0.5])) == 0.5
    assert greyness(np.array([1.0, 0.5])) == pytest.approx(0.25 / 1.5)


@pytest.mark.parametrize("slope", [-0.5, 0.0, 1.0])
def test_slant_is_the_slope_of_a_line_wherever_it_stands_and_however_black(slope):
    slant = definition(NOTEBOOK, "slant", {"np": np})
    images = np.zeros((2, 28, 28, 1))
    for row in range(8, 20, 2):
        images[0, row, 14 - round(slope * (row - 14))] = 1.0
        images[1, row + 2, 12 - round(slope * (row - 14))] = 0.3
    np.testing.assert_allclose(slant(images), slope, atol=1e-12)


def test_the_attribute_vector_takes_the_upper_and_the_lower_quarter():
    upper_minus_lower = definition(NOTEBOOK, "upper_minus_lower", {"np": np})
    values = np.arange(8.0)
    codes = np.stack([values**2, -values], axis=1)
    expected = [(36 + 49) / 2 - (0 + 1) / 2, -6.5 + 0.5]
    np.testing.assert_allclose(upper_minus_lower(codes, values), expected)


def test_the_decoder_has_the_hidden_layers_of_the_encoder_backwards():
    networks = definition(NOTEBOOK, "networks", {"keras": keras, "layers": layers})
    encoder, decoder = networks(3, (20, 10))
    assert [tuple(head.shape) for head in encoder.output] == [(None, 3), (None, 3)]
    assert decoder.output.shape == (None, 28, 28, 1)
    units = [layer.units for layer in decoder.layers if isinstance(layer, layers.Dense)]
    assert units == [10, 20, 784]


def test_an_image_is_clear_if_all_its_neighbours_agree():
    votes = np.array([[1.0, 0.0], [0.8, 0.2]])
    names = {"np": np, "neighbours": types.SimpleNamespace(predict_proba=lambda x: votes)}
    is_clear = definition(NOTEBOOK, "is_clear", names)
    np.testing.assert_array_equal(is_clear(np.zeros((2, 28, 28, 1))), [True, False])


# ---- exercises ---------------------------------------------------------------------------------


WRONG_PATHS = {
    "the length is 1": "z / np.linalg.norm(z, axis=-1, keepdims=True)",
    "the length of one end": (
        "z * np.linalg.norm(a, axis=-1, keepdims=True) / np.linalg.norm(z, axis=-1, keepdims=True)"
    ),
    "the factor of a middle": "z * np.sqrt(2)",
    "the straight path as it is": "z",
    "one length for all rows": "z * np.linalg.norm(a) / np.linalg.norm(z)",
}


@pytest.mark.parametrize("mistake", WRONG_PATHS)
def test_the_usual_wrong_paths_are_caught(mistake):
    path = WRONG_PATHS[mistake]
    refuses(NOTEBOOK, 1, f"def answer_1(a, b, t):\n    z = (1 - t) * a + t * b\n    return {path}")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("z[y == label].mean(axis=0)", "z.mean(axis=0)", id="one mean for all"),
        pytest.param("-= z[y == label].mean(axis=0)", "-= 0", id="no mean"),
        pytest.param("return own[has]", "return 0.5 * own[has]", id="half"),
    ],
)
def test_the_usual_wrong_attribute_vectors_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 2, right, wrong)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("vae.beta.assign(beta)", "vae.beta = beta", id="beta not assigned"),
        pytest.param("vae.beta.assign(beta)", "pass", id="beta not used"),
        pytest.param('logs["reconstruction_loss"]', 'logs["loss"]', id="the whole loss"),
        pytest.param('logs["kl_loss"]]', 'beta * logs["kl_loss"]]', id="the price, not the rate"),
    ],
)
def test_the_usual_wrong_walks_along_the_curve_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 3, right, wrong)
