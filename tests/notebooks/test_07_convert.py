"""Whitening and curvature as notebook 07 writes them, against the converter's own."""

import numpy as np
import pytest

from tests.notebooks.sketches import cells, definition
from tests.notebooks.test_exercises import refuses, refuses_changed_solution
from vaekit.latent_map import LatentMap
from vaekit.posterior_width import curvature

NOTEBOOK = "07_convert"


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    return rng.exponential(size=(500, 3)) @ rng.normal(size=(3, 3)) + [5.0, -2.0, 30.0]


@pytest.fixture
def curvature_sketch():
    return definition(NOTEBOOK, "curvature_sketch", {"np": np})


@pytest.fixture
def sigma_from():
    return definition(NOTEBOOK, "sigma_from", {"np": np})


def test_the_sketch_whitens_as_the_converter_does(codes):
    mean, whiten, unwhiten = definition(NOTEBOOK, "whitening_sketch", {"np": np})(codes)
    own = LatentMap(codes[:, None])
    own_mean, own_whiten, own_unwhiten = own.mean, own.inverse(), own.axes
    np.testing.assert_allclose(mean, own_mean)
    # The signs of eigenvectors are free; the products do not depend on them.
    np.testing.assert_allclose(whiten @ whiten.T, own_whiten @ own_whiten.T, rtol=1e-3)
    np.testing.assert_allclose(unwhiten.T @ unwhiten, own_unwhiten.T @ own_unwhiten, rtol=1e-3)


def test_the_sketch_finds_the_widths_that_the_converter_finds(curvature_sketch, sigma_from):
    """For a linear decoder with Gaussian noise, where both are exact."""
    z = np.random.default_rng(1).normal(size=(2000, 2))
    weight = np.array([3.0, 40.0])

    def loss(code):
        return 0.5 * np.sum(weight * (z - code) ** 2, axis=1)

    expected = np.tile([1 / 2, 1 / np.sqrt(41)], (2000, 1))
    np.testing.assert_allclose(sigma_from(curvature_sketch(loss, z)), expected, rtol=1e-9)
    found, _ = curvature(lambda c: weight * (c - z[:, None]), z[:, None], np.full(2, 0.1), 2)
    np.testing.assert_allclose(sigma_from(found[:, 0]), expected, rtol=1e-5)


def test_a_loss_that_curves_down_gives_the_width_of_the_prior(curvature_sketch, sigma_from):
    found = curvature_sketch(lambda z: -np.sum(z**2, axis=1), np.ones((4, 2)))
    assert found == pytest.approx(np.full((4, 2), -2.0))
    assert sigma_from(found) == pytest.approx(np.ones((4, 2)))


def test_the_kl_to_an_oblique_posterior_is_lowest_at_the_diagonal_of_the_precision():
    kl = definition(NOTEBOOK, "kl_to_posterior", {"np": np})
    precision = np.array([[3.0, 1.0], [1.0, 2.0]])
    best = 1 / np.sqrt(np.diag(precision))
    assert kl(best, precision) == pytest.approx(0.5 * np.log(6 / 5))
    for factors in ([1.05, 1], [0.95, 1], [1, 1.05], [1, 0.95]):
        assert kl(best * factors, precision) > kl(best, precision)


def test_every_refusal_names_the_way_out():
    printed = {
        cell["id"]: "".join("".join(output.get("text", "")) for output in cell["outputs"])
        for cell in cells(NOTEBOOK)
        if cell["id"] in ("skip", "loss")
    }
    assert "bottleneck=" in printed["skip"]
    assert "likelihood='bernoulli'" in printed["loss"]
    assert "x_train / 255" in printed["loss"]


# ---- claims and exercises ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("[2 / 4, 1 / 4 - 5]", id="the mean is not scaled"),
        pytest.param("[2.0, 1.0 - 5]", id="not divided"),
        pytest.param("[2 / 4, (5 - 1) / 4]", id="the wrong sign"),
    ],
)
def test_the_usual_wrong_mean_heads_are_caught(wrong):
    refuses(NOTEBOOK, 1, f"answer_1 = np.array({wrong})")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param("autoencoder, x / 255", id="scaled inputs"),
        pytest.param("autoencoder, x, likelihood='gaussian'", id="another likelihood"),
    ],
)
def test_the_usual_wrong_conversions_are_caught(arguments):
    source = f"def answer_2(autoencoder, x):\n    return vaekit.to_vae({arguments}, verbose=0)\n"
    refuses(NOTEBOOK, 2, source)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("2 * np.log(sigma)", "np.log(sigma)", id="log sigma for log variance"),
        pytest.param("[whiten, -mean @ whiten]", "[whiten, -mean]", id="the mean is not whitened"),
        pytest.param("np.linalg.inv(whiten), mean", "np.eye(size), 0 * mean", id="not undone"),
        pytest.param("np.linalg.inv(covariance)", "covariance", id="widened, not whitened"),
    ],
)
def test_the_usual_wrong_vaes_by_hand_are_caught(right, wrong):
    refuses_changed_solution(NOTEBOOK, 3, right, wrong)
